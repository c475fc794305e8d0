// Groups: who is in, what they may do, what the group is called (D35-D37). The bodies of these events are made here.
#include <algorithm>

#include "chat/fold_steps.h"
#include "chat/wire.h"

namespace parley::chat::fold_steps {
namespace {

using wire::Writer;

// parley.client.v1.Event{membership{...}}.
struct Membership {
  std::string_view change;
  std::span<const UserId> users;
  std::string_view role = {};
  TimeMs until = {};
  std::string_view title = {};
};
std::string body_of(const Membership& m) {
  std::string inner, body;
  Writer w(inner);
  w.bytes(1, m.change);
  for (const UserId& user : m.users) w.bytes_even_if_empty(2, to_text(user));
  w.bytes(3, m.role);
  w.number(4, m.until.value);
  w.bytes(5, m.title);
  Writer(body).bytes_even_if_empty(15, inner);
  return body;
}

// parley.client.v1.Event{conversation_changed{...}} of what an update really changes; empty where nothing does.
std::string body_of(const op::Update& changed) {
  std::string settings, inner, body;
  Writer s(settings), w(inner);
  if (changed.history_for_new_members) s.number_even_if_zero(1, *changed.history_for_new_members);
  if (changed.members_may_add) s.number_even_if_zero(2, *changed.members_may_add);
  if (changed.mention_all_admins) s.number_even_if_zero(3, *changed.mention_all_admins);
  if (changed.title) w.bytes_even_if_empty(1, *changed.title);
  if (changed.notice) w.bytes_even_if_empty(2, *changed.notice);
  if (changed.avatar) w.bytes_even_if_empty(3, *changed.avatar);
  if (changed.description) w.bytes_even_if_empty(4, *changed.description);
  w.bytes(5, settings);
  if (!inner.empty()) Writer(body).bytes_even_if_empty(16, inner);
  return body;
}

std::string body_of_dissolved() {
  std::string inner, body;
  Writer(inner).number(6, 1);
  Writer(body).bytes_even_if_empty(16, inner);
  return body;
}

// Those of `users` for whom `wanted` holds, each once, in the order given.
template <class Wanted>
std::vector<UserId> pick(std::span<const UserId> users, Wanted&& wanted) {
  std::vector<UserId> picked;
  std::vector<UserId> seen(users.begin(), users.end());
  std::ranges::sort(seen);
  const bool repeats = std::ranges::adjacent_find(seen) != seen.end();
  for (const UserId& user : users) {
    if (!wanted(user)) continue;
    if (repeats && std::ranges::find(picked, user) != picked.end()) continue;
    picked.push_back(user);
  }
  return picked;
}

void join(ConversationState& state, const UserId& user, Role role, Seq event) {
  // unread starts at zero: what was said before the join is not counted against the newcomer.
  state.members[user] =
      Member{.role = role, .stay_from = event, .muted_until = std::nullopt, .read_seq = event, .read_number = state.last_number, .delivered_seq = event};
}

Event membership(const Step& step, const Membership& m) { return emit(step, EventKind::membership, body_of(m)); }

// Existence, membership, and that this is a group at all (D35: forbidden on direct and self).
Code admit_to_group(const Step& step) {
  if (const Code code = admit(step); code != Code::ok) return code;
  return step.state.kind == Kind::group ? Code::ok : Code::forbidden;
}

Role role_of_actor(const Step& step) { return step.state.members.at(step.record.actor).role; }

// D35: an admin acts on members, the owner on members and admins; nobody on the owner or on himself.
bool outranks(const Step& step, const UserId& actor, const UserId& target, Role target_role) {
  return actor != target && role_of_actor(step) > target_role && target_role != Role::owner;
}

}  // namespace

Verdict create(const Step& step, const op::Create& create) {
  const Record& r = step.record;
  if (!r.id || r.conversation != group_conversation(r.actor, r.id)) return Rejected{Code::invalid};
  // The same creation whose id has left the window: the id of the conversation itself remembers it (D18).
  if (step.state.kind != Kind::none) return Duplicate{Seq{1}};
  std::vector<UserId> users{r.actor};
  std::ranges::copy(pick(create.members, [&](const UserId& user) { return user != r.actor; }), std::back_inserter(users));
  if (users.size() > r.limits.group_size) return Rejected{Code::group_full};

  ConversationState& s = step.state;
  s.kind = Kind::group;
  s.title = create.title;
  for (const UserId& user : users) join(s, user, user == r.actor ? Role::owner : Role::member, Seq{1});
  return membership(step, {.change = "created", .users = users, .title = create.title});
}

Verdict update(const Step& step, const op::Update& update) {
  if (const Code code = admit_to_group(step); code != Code::ok) return Rejected{code};
  ConversationState& s = step.state;
  const Role role = role_of_actor(step);
  const bool touches_settings = update.history_for_new_members || update.members_may_add || update.mention_all_admins;
  if (role == Role::member || (touches_settings && role != Role::owner)) return Rejected{Code::forbidden};

  op::Update changed = update;
  const auto keep_if_new = [](auto& wanted, const auto& present) {
    if (wanted && *wanted == present) wanted.reset();
  };
  keep_if_new(changed.title, s.title);
  keep_if_new(changed.notice, s.notice);
  keep_if_new(changed.avatar, s.avatar);
  keep_if_new(changed.description, s.description);
  keep_if_new(changed.history_for_new_members, s.settings.history_for_new_members);
  keep_if_new(changed.members_may_add, s.settings.members_may_add);
  keep_if_new(changed.mention_all_admins, s.settings.mention_all_admins);
  std::string body = body_of(changed);
  if (body.empty()) return Nothing{};

  if (changed.title) s.title = *changed.title;
  if (changed.notice) s.notice = *changed.notice;
  if (changed.avatar) s.avatar = *changed.avatar;
  if (changed.description) s.description = *changed.description;
  if (changed.history_for_new_members) s.settings.history_for_new_members = *changed.history_for_new_members;
  if (changed.members_may_add) s.settings.members_may_add = *changed.members_may_add;
  if (changed.mention_all_admins) s.settings.mention_all_admins = *changed.mention_all_admins;
  return emit(step, EventKind::conversation_changed, std::move(body));
}

Verdict add(const Step& step, const op::Add& add) {
  if (const Code code = admit_to_group(step); code != Code::ok) return Rejected{code};
  ConversationState& s = step.state;
  if (role_of_actor(step) == Role::member && !s.settings.members_may_add) return Rejected{Code::forbidden};
  const auto users = pick(add.users, [&](const UserId& user) { return s.member(user) == nullptr; });
  if (users.empty()) return Nothing{};
  if (s.members.size() + users.size() > step.record.limits.group_size) return Rejected{Code::group_full};

  for (const UserId& user : users) join(s, user, Role::member, s.last_seq.next());
  Event event = membership(step, {.change = "added", .users = users});
  for (const UserId& user : users) event.stays.push_back({user, true});
  return event;
}

Verdict remove(const Step& step, const op::Remove& remove) {
  if (const Code code = admit_to_group(step); code != Code::ok) return Rejected{code};
  ConversationState& s = step.state;
  if (role_of_actor(step) == Role::member) return Rejected{Code::forbidden};
  const auto users = pick(remove.users, [&](const UserId& user) { return s.member(user) != nullptr; });
  for (const UserId& user : users) {
    if (!outranks(step, step.record.actor, user, s.member(user)->role)) return Rejected{Code::forbidden};
  }
  if (users.empty()) return Nothing{};

  for (const UserId& user : users) s.members.erase(user);
  Event event = membership(step, {.change = "removed", .users = users});
  for (const UserId& user : users) event.stays.push_back({user, false});
  return event;
}

Verdict set_role(const Step& step, const op::SetRole& set) {
  if (const Code code = admit_to_group(step); code != Code::ok) return Rejected{code};
  ConversationState& s = step.state;
  if (role_of_actor(step) != Role::owner) return Rejected{Code::forbidden};
  const auto target = s.members.find(set.user);
  if (target == s.members.end()) return Rejected{Code::not_found};
  if (target->second.role == set.role) return Nothing{};
  if (set.user == step.record.actor) return Rejected{Code::forbidden};  // a group always has its owner: transfer instead

  target->second.role = set.role;
  if (set.role == Role::owner) s.members.at(step.record.actor).role = Role::admin;
  return membership(step, {.change = "role", .users = std::span(&set.user, 1), .role = name(set.role)});
}

Verdict mute(const Step& step, const op::Mute& mute) {
  if (const Code code = admit_to_group(step); code != Code::ok) return Rejected{code};
  ConversationState& s = step.state;
  if (role_of_actor(step) == Role::member) return Rejected{Code::forbidden};
  std::optional<TimeMs>* muted = &s.all_muted_until;
  if (mute.user) {
    const auto target = s.members.find(*mute.user);
    if (target == s.members.end()) return Rejected{Code::not_found};
    if (!outranks(step, step.record.actor, *mute.user, target->second.role)) return Rejected{Code::forbidden};
    muted = &target->second.muted_until;
  }
  const auto users = mute.user ? std::span(&*mute.user, 1) : std::span<const UserId>{};
  if (mute.off) {
    if (!in_force(*muted, step.time)) return Nothing{};
    muted->reset();
    return membership(step, {.change = "unmuted", .users = users});
  }
  if (!in_force(mute.until, step.time)) return Rejected{Code::invalid};  // ends before it begins
  if (*muted == mute.until) return Nothing{};
  *muted = mute.until;
  return membership(step, {.change = "muted", .users = users, .until = mute.until});
}

Verdict leave(const Step& step) {
  if (const Code code = admit_to_group(step); code != Code::ok) return Rejected{code};
  ConversationState& s = step.state;
  const UserId self = step.record.actor;
  if (role_of_actor(step) == Role::owner && s.members.size() > 1) return Rejected{Code::forbidden};
  s.members.erase(self);
  Event event = membership(step, {.change = "left", .users = std::span(&self, 1)});
  event.stays.push_back({self, false});
  return event;
}

Verdict dissolve(const Step& step) {
  if (const Code code = admit_to_group(step); code != Code::ok) return Rejected{code};
  ConversationState& s = step.state;
  if (role_of_actor(step) != Role::owner) return Rejected{Code::forbidden};
  Event event = emit(step, EventKind::conversation_changed, body_of_dissolved());
  for (const auto& [user, member] : s.members) event.stays.push_back({user, false});
  s.members.clear();
  s.dissolved = true;
  return event;
}

}  // namespace parley::chat::fold_steps
