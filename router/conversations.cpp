#include "router/conversations.h"

#include <algorithm>

#include "chat/limits.h"
#include "chat/rules.h"

namespace parley::router {

namespace {

using chat::Rule;

bool within(const std::vector<store::Stay>& stays, chat::Seq seq) {
  return std::ranges::any_of(stays, [seq](const store::Stay& stay) { return stay.from <= seq && (!stay.to || seq <= *stay.to); });
}

std::vector<chat::UserId> everyone(const chat::ConversationState& state) {
  std::vector<chat::UserId> users;
  users.reserve(state.members.size());
  for (const auto& [user, member] : state.members) users.push_back(user);
  return users;
}

// Receipts go to the others only where that stays cheap (R22).
bool receipts(const chat::ConversationState& state) { return state.kind != chat::Kind::self && state.members.size() <= chat::kReceiptMembers; }

// What was read goes to the reader's own connections always (D30), what was delivered to the others only (D31).
std::vector<chat::UserId> told_of_mark(const chat::ConversationState& state, const chat::Record& record) {
  std::vector<chat::UserId> users;
  if (receipts(state)) users = everyone(state);
  std::erase(users, record.actor);
  if (!std::holds_alternative<chat::op::Delivered>(record.op)) users.push_back(record.actor);
  return users;
}

// After the fold: the members, and those whose stay ended with this very event, who still see it.
std::vector<chat::UserId> recipients(const chat::ConversationState& state, const chat::Record& record, const chat::Verdict& verdict) {
  if (const auto* event = std::get_if<chat::Event>(&verdict)) {
    std::vector<chat::UserId> users = everyone(state);
    for (const chat::StayChange& change : event->stays)
      if (!change.begins && !state.member(change.user)) users.push_back(change.user);
    return users;
  }
  if (std::holds_alternative<chat::Mark>(verdict)) return told_of_mark(state, record);
  return {};
}

}  // namespace

void Conversations::admit(const chat::ConversationId& conversation, store::ColdLoad load) {
  recent_.push_front(conversation);
  const auto [held, fresh] = cached_.insert_or_assign(conversation, Held{.state = std::move(load.state),
                                                                         .position = load.position,
                                                                         .last_record = {},
                                                                         .stored = std::move(load.events),
                                                                         .stays = std::move(load.stays),
                                                                         .used = recent_.begin(),
                                                                         .bytes = 0});
  weigh(held->second);
}

void Conversations::weigh(Held& held) {
  std::size_t bytes = sizeof held + chat::memory_of(held.state) + held.stays.size() * (sizeof held.stays[0] + sizeof(store::Stay));
  for (const store::StoredEvent& event : held.stored) bytes += sizeof event + event.event.body.size();
  bytes_ = bytes_ - held.bytes + bytes;
  held.bytes = bytes;
}

std::optional<Outcome> Conversations::outcome(const chat::ConversationId& conversation, const chat::Record& record, chat::Offset offset,
                                              chat::TimeMs log_time) {
  Held& held = cached_.at(conversation);
  recent_.splice(recent_.begin(), recent_, held.used);
  held.last_record = std::max(held.last_record, offset);
  if (offset < held.position && chat::on(Rule::oc)) return below(held, record, offset);
  if (!held.stored.empty()) held.stored = {}, held.stays = {};
  Outcome out{chat::fold(held.state, record, offset, log_time), {}};
  weigh(held);
  out.recipients = recipients(held.state, record, out.verdict);
  out.receipts = receipts(held.state);
  return out;
}

// R18: O_c lies above this record. PostgreSQL tells what it did, as far as that can still be told.
std::optional<Outcome> Conversations::below(const Held& held, const chat::Record& record, chat::Offset offset) const {
  auto it = std::ranges::lower_bound(held.stored, offset, {}, &store::StoredEvent::offset);
  if (it != held.stored.end() && it->offset == offset) return of_stored(held, *it);
  const chat::Member* actor = held.state.member(record.actor);
  if (std::holds_alternative<chat::op::MarkRead>(record.op) || std::holds_alternative<chat::op::Delivered>(record.op)) {
    if (!actor) return std::nullopt;
    return Outcome{chat::Mark{record.actor, actor->read_seq, actor->read_number, actor->delivered_seq}, told_of_mark(held.state, record)};
  }
  if (const auto* block = std::get_if<chat::op::Block>(&record.op)) {
    // The blocker waits for this before he is told that the block is in force (R5).
    bool blocks = std::ranges::find(held.state.blockers, record.actor) != held.state.blockers.end();
    if (blocks != block->off) return Outcome{chat::Nothing{}, {}};
  }
  return std::nullopt;
}

Outcome Conversations::of_stored(const Held& held, const store::StoredEvent& event) const {
  Outcome out{event.event, {}};
  out.receipts = receipts(held.state);
  if (!chat::on(Rule::stay)) {
    out.recipients = everyone(held.state);
    return out;
  }
  for (const auto& [user, stays] : held.stays)
    if (within(stays, event.event.seq)) out.recipients.push_back(user);
  return out;
}

std::vector<std::pair<chat::Offset, Outcome>> Conversations::stored(const chat::ConversationId& conversation, chat::Offset first, chat::Offset last) {
  Held& held = cached_.at(conversation);
  held.last_record = std::max(held.last_record, last);
  std::vector<std::pair<chat::Offset, Outcome>> outcomes;
  for (const store::StoredEvent& event : held.stored)
    if (first <= event.offset && event.offset <= last) outcomes.emplace_back(event.offset, of_stored(held, event));
  return outcomes;
}

std::size_t Conversations::evict(Room keep, chat::Offset known) {
  std::size_t evicted = 0;
  // Those used longest ago are the likeliest to be persisted: a walk this long finds enough of them or there are few.
  std::size_t steps = 256 + (cached_.size() > keep.conversations ? 2 * (cached_.size() - keep.conversations) : 0);
  for (auto it = recent_.end(); (cached_.size() > keep.conversations || bytes_ > keep.bytes) && it != recent_.begin() && steps-- > 0;) {
    --it;
    auto held = cached_.find(*it);
    if (held->second.last_record >= known && chat::on(Rule::evict_known)) continue;
    bytes_ -= held->second.bytes;
    cached_.erase(held);
    it = recent_.erase(it);
    ++evicted;
  }
  return evicted;
}

const chat::ConversationState* Conversations::state(const chat::ConversationId& conversation) const {
  auto it = cached_.find(conversation);
  return it == cached_.end() ? nullptr : &it->second.state;
}

}  // namespace parley::router
