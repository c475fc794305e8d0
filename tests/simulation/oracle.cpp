#include "tests/simulation/oracle.h"

#include <algorithm>

#include "tests/simulation/violation.h"

namespace parley::simulation {
namespace {

std::string_view raw(const chat::Digest& digest) { return {reinterpret_cast<const char*>(digest.data()), digest.size()}; }

std::string word(const chat::Verdict& verdict) {
  if (const auto* event = std::get_if<chat::Event>(&verdict)) return fmt::format("event #{}", event->seq.value);
  if (const auto* mark = std::get_if<chat::Mark>(&verdict)) return fmt::format("mark {}", mark->read_number.value);
  if (const auto* rejected = std::get_if<chat::Rejected>(&verdict)) return fmt::format("rejected {}", chat::name(rejected->code));
  if (const auto* duplicate = std::get_if<chat::Duplicate>(&verdict)) return fmt::format("duplicate of #{}", duplicate->of_seq.value);
  return "nothing";
}

}  // namespace

void Oracle::sync() {
  for (std::uint32_t p = 0; p < kPartitions; ++p) {
    while (const auto entry = broker_.at_or_after({p}, next_[p])) {
      next_[p] = entry->offset.next();
      fold(*entry, p);
    }
  }
}

void Oracle::fold(const eventlog::Entry& entry, std::uint32_t partition) {
  Outcome& out = outcomes_[partition][entry.offset];
  const auto conversation = chat::parse_id<chat::ConversationId>(entry.key);
  const std::size_t talk = conversation ? cast_.talk(*conversation) : kConversations;
  need(talk < kConversations, "a record for a conversation that nobody knows: {}", entry.key);
  out.conversation = *conversation;
  const auto record = chat::decode_record(entry.key, entry.value);
  if (!record) {
    out.verdict = chat::Rejected{chat::Code::internal};
    return;
  }
  if (record->fold_version > chat::kFoldVersion) newer_[partition][entry.offset] = record->fold_version;
  One& one = talks_[talk];
  out.verdict = chat::fold(one.state, *record, entry.offset, entry.time);
  out.is_mark = std::holds_alternative<chat::op::MarkRead>(record->op) || std::holds_alternative<chat::op::Delivered>(record->op);
  if (const auto* rejected = std::get_if<chat::Rejected>(&out.verdict); rejected != nullptr && rejected->code != chat::Code::stale) {
    rejected_.insert(number_of(record->id));
  }
  const auto* event = std::get_if<chat::Event>(&out.verdict);
  if (event == nullptr) return;
  need(event->seq.value == one.events.size() + 1, "{}: seq {} after {}", kTalkNames[talk], event->seq.value, one.events.size());
  const std::uint64_t before = one.events.empty() ? 0 : one.state.last_number.value - (event->number ? 1 : 0);
  one.events.push_back(*event);
  one.offsets.push_back(entry.offset);
  for (const chat::StayChange& change : event->stays) {
    auto& stays = one.stays[change.user];
    if (change.begins) {
      stays.push_back({event->seq.value, std::nullopt, before});
    } else {
      stays.back().to = event->seq.value;
    }
  }
  watch(talk, *record, *event);
}

void Oracle::watch(std::size_t talk, const chat::Record& record, const chat::Event& event) {
  if (!event.id) return;
  const std::tuple key{talk, event.sender, event.id};
  const std::uint64_t n = number_of(event.id);
  need(seen_.insert(key).second, "visible duplicate: {} of {}#{}", n, kTalkNames[talk], event.seq.value);
  made_by_[key] = record.origin.connection;
  need(!late_.contains(n), "send {}, made after the block was answered, is accepted", n);
  need(!cancelled_.contains(n), "schedule {} fires after its cancelling was answered", n);
  need(!final_.contains(n), "{} was finally refused and sent once, yet is stored as {}#{}", n, kTalkNames[talk], event.seq.value);
  const auto device = device_of_.find(n);
  if (device == device_of_.end() || rejected_.contains(n) || !std::holds_alternative<chat::op::Send>(record.op)) return;
  std::uint64_t& last = order_[{device->second, talk}];
  need(last < n, "order: {} of device {} in {} comes after {}", n, kDeviceNames[device->second], kTalkNames[talk], last);
  last = n;
}

bool Oracle::sees(std::size_t talk, const chat::UserId& user, std::uint64_t seq) const {
  const auto at = talks_[talk].stays.find(user);
  return at != talks_[talk].stays.end() && std::ranges::any_of(at->second, [&](const Stay& stay) { return stay.from <= seq && (!stay.to || seq <= *stay.to); });
}

std::uint64_t Oracle::number_at_join(std::size_t talk, const chat::UserId& user) const {
  const auto at = talks_[talk].stays.find(user);
  return at == talks_[talk].stays.end() ? 0 : at->second.back().number;
}

std::optional<std::uint64_t> Oracle::present_stay(std::size_t talk, const chat::UserId& user) const {
  const auto at = talks_[talk].stays.find(user);
  if (at == talks_[talk].stays.end() || at->second.back().to) return std::nullopt;
  return at->second.back().from;
}

bool Oracle::had_left(std::size_t talk, const chat::UserId& user, chat::Offset position) const {
  const One& one = talks_[talk];
  const auto at = one.stays.find(user);
  return at != one.stays.end() && at->second.back().to && one.offsets[*at->second.back().to - 1] < position;
}

std::uint64_t Oracle::made_by(std::size_t talk, const chat::UserId& user, const chat::RequestId& id) const {
  const auto at = made_by_.find({talk, user, id});
  return at == made_by_.end() ? 0 : at->second;
}

void Oracle::judge_delivery(const link::v1::Delivery& delivery, std::size_t router) const {
  const auto at = outcomes_[delivery.partition()].find({delivery.offset()});
  need(at != outcomes_[delivery.partition()].end(), "router {} tells of an offset that is not in the log", router);
  const Outcome& is = at->second;
  const auto diverged = [&](std::string_view told) {
    need(false, "fold diverged at router {}: p{}@{} is told as {}, is {}", router, delivery.partition(), delivery.offset(), told, word(is.verdict));
  };
  const auto* event = std::get_if<chat::Event>(&is.verdict);
  const auto* mark = std::get_if<chat::Mark>(&is.verdict);
  const auto* rejected = std::get_if<chat::Rejected>(&is.verdict);
  const auto* duplicate = std::get_if<chat::Duplicate>(&is.verdict);
  switch (delivery.outcome_case()) {
    case link::v1::Delivery::kEvent: {
      const auto& told = delivery.event();
      if (event == nullptr || told.seq() != event->seq.value || told.chain() != raw(event->chain) || told.body() != event->body ||
          told.number() != (event->number ? event->number->value : 0) || told.time_ms() != event->time.value)
        diverged(fmt::format("event #{}", told.seq()));
      const std::size_t talk = cast_.talk(is.conversation);
      for (std::size_t i = 0; i + 16 <= delivery.users().size(); i += 16) {
        const auto user = *chat::UserId::from_bytes(std::string_view(delivery.users()).substr(i, 16));
        need(sees(talk, user, told.seq()), "router {} delivers {}#{} to someone outside the stay", router, kTalkNames[talk], told.seq());
      }
      return;
    }
    case link::v1::Delivery::kMark: {
      // Where the record lies below what was loaded it is answered with the present mark, even if it was refused then (R18).
      const chat::Member* member = state(cast_.talk(is.conversation)).member(*chat::UserId::from_bytes(delivery.actor()));
      const std::uint64_t told = delivery.mark().read_number();
      if ((mark == nullptr && !is.is_mark) || (mark != nullptr && told < mark->read_number.value) || (member != nullptr && told > member->read_number.value))
        diverged(fmt::format("mark {}", told));
      return;
    }
    case link::v1::Delivery::kRejected:
      if (rejected == nullptr || delivery.rejected().code() != static_cast<std::uint32_t>(rejected->code)) diverged("rejected");
      return;
    case link::v1::Delivery::kDuplicate:
      if (duplicate == nullptr || delivery.duplicate().of_seq() != duplicate->of_seq.value) diverged("duplicate");
      return;
    default:
      if (!std::holds_alternative<chat::Nothing>(is.verdict)) diverged("nothing");
  }
}

void Oracle::judge_batch(const store::Batch& batch) const {
  const auto& outcomes = outcomes_[batch.partition.value];
  auto stored = batch.events.begin();
  for (auto at = outcomes.lower_bound(batch.expected); at != outcomes.end() && at->first < batch.next; ++at) {
    const auto* event = std::get_if<chat::Event>(&at->second.verdict);
    const bool has = stored != batch.events.end() && stored->offset == at->first;
    need(has == (event != nullptr), "fold diverged at a persister: p{}@{} is {}", batch.partition.value, at->first.value, word(at->second.verdict));
    if (event == nullptr) continue;
    need(stored->event.seq == event->seq && stored->event.chain == event->chain && stored->event.body == event->body,
         "fold diverged at a persister: p{}@{} is {}, stored as #{}", batch.partition.value, at->first.value, word(at->second.verdict),
         stored->event.seq.value);
    ++stored;
  }
  need(stored == batch.events.end(), "a persister stores an event at an offset that made none");
}

void Oracle::judge_known(std::uint32_t partition, chat::Offset from, chat::Offset to, std::uint32_t knows, std::string_view who) const {
  const auto& newer = newer_[partition];
  for (auto at = newer.lower_bound(from); at != newer.end() && at->first < to; ++at) {
    need(at->second <= knows, "{} goes past p{}@{}, which bears a fold that it does not know (R6)", who, partition, at->first.value);
  }
}

void Oracle::judge_told(std::size_t talk, std::uint64_t seq, const chat::RequestId& id, std::string_view chain, std::string_view who) const {
  need(talk < kConversations && seq > 0 && seq <= events(talk).size(), "{} is told of {}#{}, which is not in the log", who,
       talk < kConversations ? kTalkNames[talk] : "?", seq);
  const chat::Event& event = events(talk)[seq - 1];
  need(!id || event.id == id, "{}: the answer to {} names {}#{} of {}", who, number_of(id), kTalkNames[talk], seq, number_of(event.id));
  need(chain.empty() || chain == raw(event.chain), "{} gets another event as {}#{}", who, kTalkNames[talk], seq);
}

void Oracle::judge_store(const store::memory::Data& data) const {
  for (std::size_t talk = 0; talk < kConversations; ++talk) {
    const store::memory::Conversation* there = data.find(cast_.ids[talk]);
    const One& one = talks_[talk];
    need((there == nullptr) == (one.state.kind == chat::Kind::none), "PostgreSQL and the fold of the log do not agree that {} exists", kTalkNames[talk]);
    if (there == nullptr) continue;
    need(there->events.size() == one.events.size(), "PostgreSQL has {} events of {}, the log {}", there->events.size(), kTalkNames[talk], one.events.size());
    for (std::size_t i = 0; i < one.events.size(); ++i) {
      const auto at = there->events.find(one.events[i].seq);
      need(at != there->events.end() && at->second.event.chain == one.events[i].chain && at->second.offset == one.offsets[i] &&
               at->second.event.body == one.events[i].body,
           "PostgreSQL differs from the fold of the log in {}#{}", kTalkNames[talk], i + 1);
    }
    // Byte for byte, with the window and the pending schedules made of rows.
    need(chat::encode_state(there->whole()) == chat::encode_state(one.state), "the state that PostgreSQL gives of {} is not the fold's", kTalkNames[talk]);
  }
}

}  // namespace parley::simulation
