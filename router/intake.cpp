#include "router/intake.h"

#include <algorithm>

#include "chat/rules.h"
#include "parley/log/v1/record.pb.h"

namespace parley::router {

using chat::Rule;

Intake::Intake(Partition partition, Offset start, Offset deliver_from, std::uint64_t epoch, std::size_t parked_bytes, chat::TimeMs now, Fanout& fanout,
               Counters& counters)
    : partition_(partition),
      start_(start),
      deliver_from_(deliver_from),
      next_(start),
      epoch_(epoch),
      parking_(parked_bytes),
      progress_(std::max(start, deliver_from), now),
      fanout_(fanout),
      counters_(counters) {}

bool Intake::take(const eventlog::Entry& entry, std::vector<chat::ConversationId>& to_load) {
  if (stopped_) return false;
  if (entry.offset < next_) return true;  // the consumer was moved; this one was taken before
  auto record = chat::decode_record(entry.key, entry.value);
  if (!record && record.error() == chat::DecodeError::newer_version) {
    stopped_ = true;
    return false;
  }
  next_ = entry.offset.next();
  ++counters_.records;
  if (!record) {
    malformed(entry);
    return true;
  }
  const chat::ConversationId conversation = record->conversation;
  if (conversations_.holds(conversation)) {
    outcome(conversation, *record, entry.offset, entry.time, entry.traceparent);
  } else if (parking_.park(conversation, entry)) {
    to_load.push_back(conversation);
  }
  return true;
}

// R1: folded as Rejected{internal} on every side, which changes nothing; the sender is told if it can be found out who he is.
void Intake::malformed(const eventlog::Entry& entry) {
  ++counters_.malformed;
  if (entry.offset < deliver_from_) return;
  auto conversation = chat::parse_id<chat::ConversationId>(entry.key);
  log::v1::Record record;
  if (!record.ParseFromArray(entry.value.data(), static_cast<int>(entry.value.size())) || !record.has_origin()) return;
  chat::Origin origin{record.origin().gateway(), record.origin().connection(), record.origin().attempt()};
  fanout_.reject({partition_, entry.offset, conversation.value_or(chat::ConversationId{}), nullptr, entry.traceparent}, origin,
                 chat::RequestId::from_bytes(record.id()).value_or(chat::RequestId{}), record.id_is_op(), chat::Code::internal);
}

void Intake::reached(Offset end) {
  if (!stopped_) next_ = std::max(next_, end);
}

void Intake::outcome(const chat::ConversationId& conversation, const chat::Record& record, Offset offset, chat::TimeMs time, std::string_view traceparent) {
  if (auto out = conversations_.outcome(conversation, record, offset, time)) send({partition_, offset, conversation, &record, traceparent}, *out);
}

Offset Intake::needs(const chat::ConversationId& conversation) const {
  Offset least;
  if (chat::on(Rule::floor)) least = std::max(least, floor_);
  if (chat::on(Rule::o_ge_s)) least = std::max(least, start_);
  if (const auto dropped_to = parking_.run(conversation).dropped_to) least = std::max(least, dropped_to->next());
  return least;
}

Admission Intake::admit(const chat::ConversationId& conversation, store::ColdLoad load, Offset floor_when_asked) {
  const Offset position = load.position;
  if (position < floor_when_asked && chat::on(Rule::floor)) return Admission::went_back;
  if (position < needs(conversation)) return Admission::too_old;

  ParkedRun run = parking_.take(conversation);
  const std::optional<Offset> dropped_to = run.dropped_to;
  conversations_.admit(conversation, std::move(load));
  known_ = std::max(known_, position);
  if (dropped_to)
    for (const auto& [offset, out] : conversations_.stored(conversation, run.first, *dropped_to)) send({partition_, offset, conversation, nullptr, {}}, out);
  for (const ParkedRecord& parked : run.records) outcome(conversation, parked.record, parked.offset, parked.time, parked.traceparent);
  return Admission::admitted;
}

void Intake::evict(Conversations::Room keep) {
  std::size_t evicted = conversations_.evict(keep, known_);
  if (evicted == 0) return;
  floor_ = std::max(floor_, known_);
  counters_.evictions += evicted;
}

Offset Intake::upto() const {
  auto first = parking_.first();
  return first && chat::on(Rule::upto_parked) ? std::min(next_, *first) : next_;
}

}  // namespace parley::router
