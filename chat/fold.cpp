#include "chat/fold.h"

#include <algorithm>

#include "chat/fold_steps.h"
#include "chat/rules.h"
#include "chat/sha256.h"

namespace parley::chat {
namespace {

using fold_steps::admit;
using fold_steps::emit;
using fold_steps::in_force;
using fold_steps::Step;

Digest digest(std::initializer_list<std::string_view> pieces) {
  const Sha256 whole = sha256(pieces);
  Digest cut;
  std::copy_n(whole.begin(), cut.size(), cut.begin());
  return cut;
}

// R8: what this id already did, or that it cannot be known any more. Before any authorisation (D55).
std::optional<Verdict> repeated(const Step& step) {
  const Record& r = step.record;
  if (!r.id) return std::nullopt;
  if (on(Rule::window)) {
    // The newest: a schedule that fired is answered with its message.
    if (const Consumed* earlier = step.state.window.find(r.actor, r.id)) {
      const bool differs = earlier->payload_hash != 0 && r.payload_hash != 0 && earlier->payload_hash != r.payload_hash;
      if (differs) return Rejected{Code::conflict};
      return Duplicate{earlier->seq};
    }
  }
  if (on(Rule::since) && step.state.left && *step.state.left >= r.since) return Rejected{Code::stale};
  return std::nullopt;
}

// A direct or self conversation comes into being with what is first said in it.
void found(ConversationState& state, const UserId& a, const UserId& b) {
  state.kind = a == b ? Kind::self : Kind::direct;
  for (const UserId& user : {a, b}) state.members[user].stay_from = Seq{1};
}

// Existence and membership of one who writes into `conversation`, given by id or by `peer` (directTo).
struct Entry {
  Code code = Code::ok;
  bool founds = false;
};
Entry enter(const Step& step, const std::optional<UserId>& peer) {
  const ConversationId& conversation = step.record.conversation;
  if (peer && conversation != direct_conversation(step.record.actor, *peer)) return {Code::invalid};
  if (peer && step.state.kind == Kind::none) return {Code::ok, true};
  return {admit(step)};
}

// Right to speak (D35, D22): blocked, muted, @all.
Code may_speak(const Step& step, const UserId& user, bool mention_all) {
  const ConversationState& s = step.state;
  if (s.kind == Kind::direct) return s.blockers.empty() ? Code::ok : Code::blocked;
  const Member* member = s.member(user);
  if (s.kind != Kind::group || member == nullptr) return Code::ok;
  if (in_force(member->muted_until, step.time)) return Code::muted;
  if (member->role != Role::member) return Code::ok;
  if (in_force(s.all_muted_until, step.time)) return Code::muted;
  return mention_all && s.settings.mention_all_admins ? Code::forbidden : Code::ok;
}

Event say(const Step& step, std::string_view body) {
  Event event = emit(step, EventKind::message, std::string(body));
  // R4, D29: one has read what one wrote.
  Member& sender = step.state.members.at(event.sender);
  sender.read_seq = event.seq;
  sender.read_number = *event.number;
  sender.delivered_seq = std::max(sender.delivered_seq, event.seq);
  return event;
}

Verdict apply(const Step&, const op::Unsupported&) { return Rejected{Code::unsupported}; }

Verdict apply(const Step& step, const op::Send& send) {
  if (!step.record.id) return Rejected{Code::invalid};
  const Entry entry = enter(step, send.peer);
  if (entry.code != Code::ok) return Rejected{entry.code};
  if (entry.founds) {
    found(step.state, step.record.actor, *send.peer);
  } else if (const Code code = may_speak(step, step.record.actor, send.mention_all); code != Code::ok) {
    return Rejected{code};
  }
  return say(step, send.body);
}

Mark mark_of(const UserId& user, const Member& member) { return {user, member.read_seq, member.read_number, member.delivered_seq}; }

// D30: monotonic, clamped to what there is; the answer is the present mark in any case.
Verdict apply(const Step& step, const op::MarkRead& mark) {
  if (const Code code = admit(step); code != Code::ok) return Rejected{code};
  Member& member = step.state.members.at(step.record.actor);
  member.read_seq = std::max(member.read_seq, std::min(mark.seq, step.state.last_seq));
  member.read_number = std::max(member.read_number, std::min(mark.number, step.state.last_number));
  member.delivered_seq = std::max(member.delivered_seq, member.read_seq);  // D31
  return mark_of(step.record.actor, member);
}

Verdict apply(const Step& step, const op::Delivered& delivered) {
  if (const Code code = admit(step); code != Code::ok) return Rejected{code};
  Member& member = step.state.members.at(step.record.actor);
  member.delivered_seq = std::max(member.delivered_seq, std::min(delivered.seq, step.state.last_seq));
  return mark_of(step.record.actor, member);
}

Verdict apply(const Step& step, const op::Create& create) { return fold_steps::create(step, create); }
Verdict apply(const Step& step, const op::Update& update) { return fold_steps::update(step, update); }
Verdict apply(const Step& step, const op::Add& add) { return fold_steps::add(step, add); }
Verdict apply(const Step& step, const op::Remove& remove) { return fold_steps::remove(step, remove); }
Verdict apply(const Step& step, const op::SetRole& set) { return fold_steps::set_role(step, set); }
Verdict apply(const Step& step, const op::Mute& mute) { return fold_steps::mute(step, mute); }
Verdict apply(const Step& step, const op::Leave&) { return fold_steps::leave(step); }
Verdict apply(const Step& step, const op::Dissolve&) { return fold_steps::dissolve(step); }

// R5: in the order of the direct conversation, so that what is sent after the answer is refused.
Verdict apply(const Step& step, const op::Block& block) {
  ConversationState& s = step.state;
  const UserId& actor = step.record.actor;
  const Entry entry = enter(step, block.peer);
  if (entry.code != Code::ok) return Rejected{entry.code};
  if (s.kind == Kind::group || s.kind == Kind::self || block.peer == actor) return Rejected{Code::forbidden};
  if (entry.founds) {
    if (block.off) return Nothing{};
    found(s, actor, *block.peer);
  }
  const auto at = std::ranges::lower_bound(s.blockers, actor);
  const bool blocks = at != s.blockers.end() && *at == actor;
  if (block.off && blocks) s.blockers.erase(at);
  if (!block.off && !blocks) s.blockers.insert(at, actor);
  return Nothing{};
}

// R10. Whether one may speak is asked again when it fires.
Verdict apply(const Step& step, const op::Schedule& schedule) {
  const Record& r = step.record;
  if (!r.id) return Rejected{Code::invalid};
  const Entry entry = enter(step, schedule.peer);
  if (entry.code != Code::ok) return Rejected{entry.code};
  if (entry.founds) {
    found(step.state, r.actor, *schedule.peer);
  } else if (const Code code = may_speak(step, r.actor, false); code != Code::ok) {
    return Rejected{code};
  }
  if (step.state.pending.size() >= kPendingSchedules) return Rejected{Code::rate_limited};
  step.state.pending.emplace_back(r.actor, r.id);
  if (on(Rule::sched_id)) consume(step.state, {r.actor, r.id, Seq{0}, step.offset, r.payload_hash});
  return Nothing{};
}

bool end_pending(ConversationState& state, const UserId& user, const RequestId& id) {
  const auto at = std::ranges::find(state.pending, std::pair{user, id});
  if (at == state.pending.end()) return false;
  state.pending.erase(at);
  return true;
}

// R10: counts for a pending schedule only, so any number of persisters may fire it any number of times. One who may not speak any
// more says nothing, and the schedule is over.
Verdict apply(const Step& step, const op::Fire& fire) {
  const Record& r = step.record;
  if (!end_pending(step.state, r.actor, r.id) && on(Rule::pending)) return Nothing{};
  if (step.state.member(r.actor) == nullptr || may_speak(step, r.actor, false) != Code::ok) return Nothing{};
  return say(step, fire.body);
}

Verdict apply(const Step& step, const op::Cancel& cancel) {
  if (const Code code = admit(step); code != Code::ok) return Rejected{code};
  if (!end_pending(step.state, step.record.actor, cancel.scheduled)) return Rejected{Code::not_found};
  return Nothing{};
}

// D44, D50: account-level events stand in the user's own conversation, with a seq and without a number.
Verdict apply(const Step& step, const op::Account& account) {
  const Record& r = step.record;
  if (r.conversation != direct_conversation(r.actor, r.actor)) return Rejected{Code::forbidden};
  if (step.state.kind == Kind::none) found(step.state, r.actor, r.actor);
  return emit(step, EventKind::account, std::string(account.body));
}

bool checked_for_repeats(const Operation& operation) {
  // A fire bears the id of its schedule, which is what it must be; the others bear none (R8) and are their own repeats.
  return !std::holds_alternative<op::Fire>(operation) && !std::holds_alternative<op::MarkRead>(operation) &&
         !std::holds_alternative<op::Delivered>(operation) && !std::holds_alternative<op::Block>(operation) && !std::holds_alternative<op::Cancel>(operation);
}

template <class T>
void append_big_endian(std::string& out, T value) {
  for (int shift = 56; shift >= 0; shift -= 8) out.push_back(static_cast<char>(static_cast<std::uint64_t>(value) >> shift));
}

std::string_view view(const std::array<std::uint8_t, 16>& bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

}  // namespace

namespace fold_steps {

Event emit(const Step& step, EventKind kind, std::string body) {
  ConversationState& s = step.state;
  const Record& r = step.record;
  Event event;
  event.conversation = r.conversation;
  event.seq = s.last_seq.next();
  if (kind == EventKind::message) event.number = s.last_number.next();
  event.time = step.time;
  event.sender = r.actor;
  event.device = std::string(r.device);
  event.id = r.id;
  event.id_is_op = r.id_is_op;
  event.kind = kind;
  event.salt = r.salt;
  event.payload_hash = r.payload_hash;
  event.body = std::move(body);
  event.body_hash = body_hash(event.salt, event.body);
  event.chain = chain_next(s.chain, event);
  if (event.seq == Seq{1}) {
    for (const auto& [user, member] : s.members) event.stays.push_back({user, true});
  }

  s.last_seq = event.seq;
  s.last_time = event.time;
  s.chain = event.chain;
  if (event.number) {
    s.last_number = *event.number;
    s.last_message_seq = event.seq;
  }
  if (r.id) consume(s, {r.actor, r.id, event.seq, step.offset, r.payload_hash});
  return event;
}

Code admit(const Step& step) {
  if (step.state.kind == Kind::none) return Code::not_found;
  return step.state.member(step.record.actor) != nullptr ? Code::ok : Code::not_member;
}

}  // namespace fold_steps

Verdict fold(ConversationState& state, const Record& record, Offset offset, TimeMs log_time) {
  const Step step{state, record, offset, std::max(log_time, state.last_time)};
  if (checked_for_repeats(record.op)) {
    if (auto verdict = repeated(step)) return *std::move(verdict);
  }
  return std::visit([&](const auto& operation) { return apply(step, operation); }, record.op);
}

Verdict fold_entry(ConversationState& state, std::string_view key, std::string_view value, Offset offset, TimeMs log_time) {
  const auto record = decode_record(key, value);
  if (!record) return Rejected{Code::internal};
  return fold(state, *record, offset, log_time);
}

Digest body_hash(const std::array<std::uint8_t, 16>& salt, std::string_view body) { return digest({view(salt), body}); }

Digest chain_next(const Digest& previous, const Event& event) {
  std::string bytes;
  bytes.reserve(89);
  bytes.append(view(previous));
  append_big_endian(bytes, event.seq.value);
  append_big_endian(bytes, event.number ? event.number->value : 0);
  append_big_endian(bytes, event.time.value);
  bytes.append(event.sender.view());
  bytes.push_back(static_cast<char>(event.kind));
  bytes.append(event.id.view());
  bytes.append(view(event.body_hash));
  return digest({bytes});
}

}  // namespace parley::chat
