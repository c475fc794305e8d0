#include "store/postgres/rows.h"

#include <algorithm>
#include <cstring>

namespace parley::store::postgres {

std::array<std::uint8_t, 16> digest_of(std::string_view bytes) {
  std::array<std::uint8_t, 16> out{};
  std::memcpy(out.data(), bytes.data(), std::min(bytes.size(), out.size()));
  return out;
}

StoredEvent read_event(const Row& row, int first) {
  StoredEvent out;
  chat::Event& event = out.event;
  event.conversation = {row.uuid(first)};
  event.seq = {row.u8(first + 1)};
  if (auto number = row.maybe_u8(first + 2)) event.number = MessageNumber{*number};
  event.time = {row.u8(first + 3)};
  out.offset = {row.u8(first + 4)};
  event.payload_hash = row.u8(first + 5);
  event.kind = static_cast<chat::EventKind>(row.u2(first + 6));
  event.id_is_op = row.boolean(first + 7);
  out.quarantined = row.boolean(first + 8);
  event.sender = {row.uuid(first + 9)};
  if (!row.null(first + 10)) event.id = {row.uuid(first + 10)};
  event.chain = digest_of(row.bytes(first + 11));
  event.body_hash = digest_of(row.bytes(first + 12));
  event.salt = digest_of(row.bytes(first + 13));
  event.device = row.text(first + 14);
  event.body = row.bytes(first + 15);
  return out;
}

StoredSchedule read_schedule(const Row& row) {
  StoredSchedule out;
  out.conversation = {row.uuid(0)};
  out.user = {row.uuid(1)};
  out.id = {row.uuid(2)};
  out.offset = {row.u8(3)};
  out.payload_hash = row.u8(4);
  out.due = {row.u8(5)};
  out.done = row.boolean(6);
  out.device = row.text(7);
  out.body = row.bytes(8);
  return out;
}

std::vector<Query> state_queries(const std::vector<ConversationId>& ids) {
  const Array wanted = ids_array(ids);
  const auto window = static_cast<std::uint64_t>(chat::kWindow + 1);
  std::vector<Query> out;
  out.push_back(
      {"select o.ord, c.kind, c.last_seq, c.last_number, c.last_message_seq, c.last_time, c.chain, c.title, c.notice, c.avatar, c.description,"
       " c.history_for_new_members, c.members_may_add, c.mention_all_admins, c.all_muted_until, c.dissolved, c.blockers"
       " from unnest($1) with ordinality o (id, ord) join conversations c on c.id = o.id",
       Params().array(wanted)});
  out.push_back(
      {"select o.ord, m.user_id, m.role, m.stay_from, m.muted_until, m.read_seq, m.read_number, m.delivered_seq"
       " from unnest($1) with ordinality o (id, ord) join members m on m.conversation = o.id",
       Params().array(wanted)});
  out.push_back(
      {"select o.ord, w.user_id, w.id, w.seq, w.log_offset, w.payload_hash from unnest($1) with ordinality o (id, ord) cross join lateral ("
       "(select e.sender as user_id, e.id, e.seq, e.log_offset, e.payload_hash from events e"
       "  where e.conversation = o.id and e.id is not null order by e.seq desc limit $2)"
       " union all "
       "(select s.user_id, s.id, 0, s.log_offset, s.payload_hash from schedules s where s.conversation = o.id order by s.log_offset desc limit $2)"
       ") w order by o.ord, w.log_offset",
       Params().array(wanted).i8(window)});
  out.push_back(
      {"select o.ord, s.user_id, s.id from unnest($1) with ordinality o (id, ord) join schedules s on s.conversation = o.id"
       " where not s.done order by o.ord, s.log_offset",
       Params().array(wanted)});
  return out;
}

std::vector<chat::ConversationState> states_of(std::size_t count, const Rows* rows) {
  std::vector<chat::ConversationState> out(count);
  const auto at = [&](const Row& row) -> chat::ConversationState& { return out.at(row.u8(0) - 1); };
  for (int i = 0; i < rows[0].size(); ++i) {
    const Row row = rows[0][i];
    chat::ConversationState& state = at(row);
    state.kind = static_cast<chat::Kind>(row.u2(1));
    state.last_seq = {row.u8(2)};
    state.last_number = {row.u8(3)};
    state.last_message_seq = {row.u8(4)};
    state.last_time = {row.u8(5)};
    state.chain = digest_of(row.bytes(6));
    state.title = row.text(7);
    state.notice = row.text(8);
    state.avatar = row.text(9);
    state.description = row.text(10);
    state.settings = {row.boolean(11), row.boolean(12), row.boolean(13)};
    if (auto until = row.maybe_u8(14)) state.all_muted_until = TimeMs{*until};
    state.dissolved = row.boolean(15);
    for (std::string_view blockers = row.bytes(16); blockers.size() >= 16; blockers.remove_prefix(16))
      state.blockers.push_back(*UserId::from_bytes(blockers.substr(0, 16)));
  }
  for (int i = 0; i < rows[1].size(); ++i) {
    const Row row = rows[1][i];
    chat::Member& member = at(row).members[{row.uuid(1)}];
    member.role = static_cast<chat::Role>(row.u2(2));
    member.stay_from = {row.u8(3)};
    if (auto until = row.maybe_u8(4)) member.muted_until = TimeMs{*until};
    member.read_seq = {row.u8(5)};
    member.read_number = {row.u8(6)};
    member.delivered_seq = {row.u8(7)};
  }
  std::vector<chat::Consumed> consumed;
  for (int i = 0; i < rows[2].size(); ++i) {
    const Row row = rows[2][i];
    consumed.push_back({{row.uuid(1)}, {row.uuid(2)}, {row.u8(3)}, {row.u8(4)}, row.u8(5)});
    const bool last = i + 1 == rows[2].size() || rows[2][i + 1].u8(0) != row.u8(0);
    if (!last) continue;
    const std::size_t skipped = consumed.size() > chat::kWindow + 1 ? consumed.size() - chat::kWindow - 1 : 0;
    chat::restore_window(at(row), std::span(consumed).subspan(skipped));
    consumed.clear();
  }
  for (int i = 0; i < rows[3].size(); ++i) at(rows[3][i]).pending.emplace_back(UserId{rows[3][i].uuid(1)}, RequestId{rows[3][i].uuid(2)});
  return out;
}

}  // namespace parley::store::postgres
