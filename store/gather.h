// From verdicts to a batch: gathers what a batch of verdicts writes: each conversation once, each member once, stays in order. Pure.
#pragma once

#include <unordered_map>
#include <vector>

#include "chat/fold.h"
#include "store/store.h"

namespace parley::store {

// What a record may change beside its verdict.
struct Before {
  chat::Kind kind;
  bool history_for_new_members;
};
inline Before before(const chat::ConversationState& state) { return {state.kind, state.settings.history_for_new_members}; }

class Gather {
 public:
  Gather(chat::Partition partition, chat::Offset expected) {
    batch_.partition = partition;
    batch_.expected = expected;
  }

  void take(const chat::Record& record, chat::Offset offset, const Before& was, const chat::ConversationState& is, chat::Verdict verdict);

  // `state_of(id)` gives the state of a conversation at the end of the batch.
  template <class StateOf>
  Batch finish(chat::Offset next, StateOf&& state_of) {
    batch_.next = next;
    for (ConversationWrite& write : batch_.conversations) complete(write, state_of(write.id));
    return std::move(batch_);
  }

 private:
  ConversationWrite& write(const chat::ConversationId& id, chat::Offset offset);
  void touch(ConversationWrite& write, const chat::UserId& user);
  static void complete(ConversationWrite& write, const chat::ConversationState& state);

  Batch batch_;
  std::unordered_map<chat::ConversationId, std::size_t> index_;
};

}  // namespace parley::store
