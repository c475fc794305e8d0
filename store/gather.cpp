#include "store/gather.h"

#include <algorithm>

namespace parley::store {

ConversationWrite& Gather::write(const chat::ConversationId& id, chat::Offset offset) {
  const auto [at, fresh] = index_.try_emplace(id, batch_.conversations.size());
  if (fresh) batch_.conversations.emplace_back().id = id;
  ConversationWrite& write = batch_.conversations[at->second];
  write.last_offset = offset;
  return write;
}

void Gather::touch(ConversationWrite& write, const chat::UserId& user) { write.touched.push_back(user); }

void Gather::take(const chat::Record& record, chat::Offset offset, const Before& was, const chat::ConversationState& is, chat::Verdict verdict) {
  if (std::holds_alternative<chat::Rejected>(verdict) || std::holds_alternative<chat::Duplicate>(verdict)) return;
  const chat::ConversationId& id = record.conversation;

  if (was.kind == chat::Kind::none && is.kind != chat::Kind::none) {
    ConversationWrite& w = write(id, offset);
    w.changed = offset;
    for (const auto& [user, member] : is.members) touch(w, user);
  }

  if (const auto* mark = std::get_if<chat::Mark>(&verdict)) {
    touch(write(id, offset), mark->user);
  } else if (std::holds_alternative<chat::Nothing>(verdict)) {
    if (const auto* schedule = std::get_if<chat::op::Schedule>(&record.op)) {
      batch_.schedules.push_back(
          {id, record.actor, std::string(record.device), record.id, offset, record.payload_hash, schedule->due, std::string(schedule->body)});
    } else if (std::holds_alternative<chat::op::Block>(record.op)) {
      if (is.kind != chat::Kind::none) write(id, offset).changed = offset;
    }
  } else if (auto* event = std::get_if<chat::Event>(&verdict)) {
    ConversationWrite& w = write(id, offset);
    w.changed = offset;
    touch(w, event->sender);
    if (const auto* role = std::get_if<chat::op::SetRole>(&record.op)) touch(w, role->user);
    if (const auto* mute = std::get_if<chat::op::Mute>(&record.op); mute != nullptr && mute->user) touch(w, *mute->user);
    for (const chat::StayChange& change : event->stays) {
      touch(w, change.user);
      const chat::Seq from = is.settings.history_for_new_members ? chat::Seq{1} : event->seq;
      w.stays.push_back({change.begins ? StayWrite::What::begins : StayWrite::What::ends, event->seq, change.user, from});
    }
    if (!was.history_for_new_members && is.settings.history_for_new_members) w.stays.push_back({StayWrite::What::opens, event->seq, {}, {}});
    event->stays.clear();
    batch_.events.push_back({std::move(*event), offset, false});
  }

  // R10: over, whether it became a message or not. What was not pending any more changes nothing in the store either.
  if (std::holds_alternative<chat::op::Fire>(record.op)) batch_.schedules_done.push_back({id, record.actor, record.id});
  if (const auto* cancel = std::get_if<chat::op::Cancel>(&record.op)) batch_.schedules_done.push_back({id, record.actor, cancel->scheduled});
}

// Field by field: a copy of the whole would copy the window and the members of a large group with each batch.
void Gather::complete(ConversationWrite& write, const chat::ConversationState& state) {
  chat::ConversationState& row = write.state;
  row.kind = state.kind;
  row.last_seq = state.last_seq;
  row.last_number = state.last_number;
  row.last_message_seq = state.last_message_seq;
  row.last_time = state.last_time;
  row.chain = state.chain;
  row.title = state.title;
  row.notice = state.notice;
  row.avatar = state.avatar;
  row.description = state.description;
  row.settings = state.settings;
  row.all_muted_until = state.all_muted_until;
  row.dissolved = state.dissolved;
  row.blockers = state.blockers;
  write.member_count = static_cast<std::uint32_t>(state.members.size());
  std::ranges::sort(write.touched);
  const auto repeats = std::ranges::unique(write.touched);
  write.touched.erase(repeats.begin(), repeats.end());
  for (const chat::UserId& user : write.touched) {
    if (const chat::Member* member = state.member(user)) row.members.emplace(user, *member);
  }
}

}  // namespace parley::store
