// Writes a history into a store for its contract tests: records in, folded by the real fold, gathered, committed. Keeps the
// folded states, which are the truth that the store is compared with.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <string>

#include "chat/fold.h"
#include "store/gather.h"
#include "store/store.h"

namespace parley::store {

template <class T>
T id_of(std::uint64_t n) {
  T id;
  for (int i = 0; i < 8; ++i) id.bytes[static_cast<std::size_t>(15 - i)] = static_cast<std::uint8_t>(n >> (8 * i));
  id.bytes[6] = 0x70;
  return id;
}
inline UserId user(std::uint64_t n) { return id_of<UserId>(0xA000 + n); }
inline RequestId request(std::uint64_t n) { return id_of<RequestId>(n); }

class Feed {
 public:
  // Several feeds of one store must have partitions of their own.
  Feed(Partition partition, std::uint32_t partitions) : partition_(partition), partitions_(partitions) {}

  Offset next() const { return next_; }
  Partition partition() const { return partition_; }
  std::uint32_t partitions() const { return partitions_; }
  const std::map<ConversationId, chat::ConversationState>& states() const { return states_; }

  // Appends one record; nil id: none.
  chat::Verdict say(ConversationId conversation, UserId actor, chat::Operation op, RequestId id = {}, std::uint64_t payload_hash = 0) {
    chat::Record record;
    record.conversation = conversation;
    record.actor = actor;
    record.device = "phone";
    record.id = id;
    record.since = next_;
    record.salt[0] = static_cast<std::uint8_t>(next_.value);
    record.payload_hash = payload_hash;
    record.op = std::move(op);
    chat::ConversationState& state = states_[conversation];
    const Before was = before(state);
    chat::Verdict verdict = chat::fold(state, record, next_, TimeMs{1'000'000 + next_.value * 10});
    gather_.take(record, next_, was, state, verdict);
    ++next_;
    return verdict;
  }

  // ---- what tests say often; each with an id of its own ----
  Seq send(ConversationId conversation, UserId actor, std::string_view body, std::optional<UserId> peer = std::nullopt) {
    return seq_of(say(conversation, actor, chat::op::Send{peer, body, false}, fresh()));
  }
  ConversationId direct(UserId a, UserId b, std::string_view body) {
    const ConversationId id = chat::direct_conversation(a, b);
    send(id, a, body, b);
    return id;
  }
  ConversationId group(UserId owner, std::vector<UserId> members) {
    const RequestId op = fresh();
    const ConversationId id = chat::group_conversation(owner, op);
    say(id, owner, chat::op::Create{"a title", std::move(members)}, op);
    return id;
  }
  Seq add(ConversationId conversation, UserId actor, UserId who) { return seq_of(say(conversation, actor, chat::op::Add{{who}}, fresh())); }
  Seq remove(ConversationId conversation, UserId actor, UserId who) { return seq_of(say(conversation, actor, chat::op::Remove{{who}}, fresh())); }
  Seq open_past(ConversationId conversation, UserId actor, bool on) {
    chat::op::Update update;
    update.history_for_new_members = on;
    return seq_of(say(conversation, actor, update, fresh()));
  }
  RequestId fresh() { return request(0x1'0000 * (partition_.value + 1) + ++ids_); }

  // What was said since the last batch.
  Batch take() {
    Batch batch = gather_.finish(next_, [&](const ConversationId& id) -> const chat::ConversationState& { return states_.at(id); });
    gather_ = Gather(partition_, next_);
    return batch;
  }
  void commit(Writer& writer) {
    const auto done = writer.commit(take());
    ASSERT_TRUE(done) << done.error().message;
  }

 private:
  static Seq seq_of(const chat::Verdict& verdict) {
    const auto* event = std::get_if<chat::Event>(&verdict);
    return event == nullptr ? Seq{} : event->seq;
  }

  Partition partition_;
  std::uint32_t partitions_;
  Offset next_;
  std::uint64_t ids_ = 0;
  std::map<ConversationId, chat::ConversationState> states_;
  Gather gather_{partition_, Offset{}};
};

}  // namespace parley::store
