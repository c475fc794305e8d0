#include "store/postgres/batch_statements.h"

#include "store/postgres/stay_plan.h"

namespace parley::store::postgres {

using runtime::postgres::put_be;

std::vector<Query> begin_statements(const Batch& batch) {
  std::vector<Query> out;
  out.push_back({"begin", {}});
  out.push_back({"with won as (update positions set next_offset = $3 where partition = $1 and next_offset = $2 returning 1) select 1 / count(*) from won",
                 Params().i4(batch.partition.value).i8(batch.expected.value).i8(batch.next.value)});
  return out;
}

// ---- COPY, PostgreSQL manual "COPY: Binary Format" ---------------------------------------------------------------------

namespace {

template <class T>
void field(std::string& out, T value) {
  put_be(out, static_cast<std::int32_t>(sizeof value));
  put_be(out, value);
}
void field(std::string& out, std::string_view bytes) {
  put_be(out, static_cast<std::int32_t>(bytes.size()));
  out += bytes;
}
void field(std::string& out, bool value) { field(out, std::string_view(value ? "\1" : "\0", 1)); }
void null_field(std::string& out) { put_be(out, std::int32_t{-1}); }

}  // namespace

void append_copy_header(std::string& out) {
  out.append("PGCOPY\n\377\r\n\0", 11);
  put_be(out, std::int32_t{0});  // flags
  put_be(out, std::int32_t{0});  // header extension
}

void append_copy_row(std::string& out, Partition partition, const StoredEvent& stored) {
  const chat::Event& event = stored.event;
  put_be(out, std::int16_t{17});
  field(out, event.conversation.view());
  field(out, event.seq.value);
  if (event.number)
    field(out, event.number->value);
  else
    null_field(out);
  field(out, event.time.value);
  field(out, stored.offset.value);
  field(out, event.payload_hash);
  field(out, partition.value);
  field(out, static_cast<std::int16_t>(event.kind));
  field(out, event.id_is_op);
  field(out, stored.quarantined);
  field(out, event.sender.view());
  if (event.id)
    field(out, event.id.view());
  else
    null_field(out);
  field(out, bytes_of(event.chain));
  field(out, bytes_of(event.body_hash));
  field(out, bytes_of(event.salt));
  field(out, std::string_view(event.device));
  field(out, std::string_view(event.body));
}

void append_copy_trailer(std::string& out) { put_be(out, std::int16_t{-1}); }

std::vector<Query> insert_statements(Partition partition, const StoredEvent& stored, Without without) {
  const chat::Event& event = stored.event;
  Params params;
  params.uuid(event.conversation.bytes).i8(event.seq.value);
  if (event.number)
    params.i8(event.number->value);
  else
    params.null(Oid::i8);
  params.i8(event.time.value).i8(stored.offset.value).i8(event.payload_hash).i4(partition.value).i2(static_cast<std::uint16_t>(event.kind));
  params.boolean(event.id_is_op).boolean(stored.quarantined || without != Without::nothing).uuid(event.sender.bytes);
  if (event.id)
    params.uuid(event.id.bytes);
  else
    params.null(Oid::uuid);
  params.bytes(bytes_of(event.chain)).bytes(bytes_of(event.body_hash)).bytes(bytes_of(event.salt));
  params.text(without == Without::text ? "" : event.device).bytes(without == Without::nothing ? event.body : "");
  std::vector<Query> out;
  out.push_back({"savepoint event", {}});
  out.push_back(
      {"insert into events (conversation, seq, number, time_ms, log_offset, payload_hash, partition, kind, id_is_op, quarantined, sender, id,"
       " chain, body_hash, salt, device, body) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)",
       std::move(params)});
  return out;
}

// ---- one statement per table -------------------------------------------------------------------------------------------

namespace {

void maybe(Array& array, const std::optional<TimeMs>& time) {
  if (time)
    array.i8(time->value);
  else
    array.null();
}

void put_conversations(std::vector<Query>& out, const Batch& batch) {
  Array id(Oid::uuid), kind(Oid::i2), last_seq(Oid::i8), last_number(Oid::i8), last_message_seq(Oid::i8), last_time(Oid::i8), changed(Oid::i8),
      member_count(Oid::i4), all_muted_until(Oid::i8), dissolved(Oid::boolean), history(Oid::boolean), may_add(Oid::boolean), mention_all(Oid::boolean),
      chain(Oid::bytes), blockers(Oid::bytes), title(Oid::text), notice(Oid::text), avatar(Oid::text), description(Oid::text);
  for (const ConversationWrite& write : batch.conversations) {
    if (!write.changed) continue;
    const chat::ConversationState& s = write.state;
    id.uuid(write.id.bytes);
    kind.i2(static_cast<std::uint16_t>(s.kind));
    last_seq.i8(s.last_seq.value);
    last_number.i8(s.last_number.value);
    last_message_seq.i8(s.last_message_seq.value);
    last_time.i8(s.last_time.value);
    changed.i8(write.changed->value);
    member_count.i4(write.member_count);
    maybe(all_muted_until, s.all_muted_until);
    dissolved.boolean(s.dissolved);
    history.boolean(s.settings.history_for_new_members);
    may_add.boolean(s.settings.members_may_add);
    mention_all.boolean(s.settings.mention_all_admins);
    chain.raw(bytes_of(s.chain));
    std::string all;
    for (const UserId& user : s.blockers) all += user.view();
    blockers.raw(all);
    title.raw(s.title);
    notice.raw(s.notice);
    avatar.raw(s.avatar);
    description.raw(s.description);
  }
  if (id.size() == 0) return;
  Params params;
  params.i4(batch.partition.value);
  for (const Array* column : {&id, &kind, &last_seq, &last_number, &last_message_seq, &last_time, &changed, &member_count, &all_muted_until, &dissolved,
                              &history, &may_add, &mention_all, &chain, &blockers, &title, &notice, &avatar, &description})
    params.array(*column);
  out.push_back(
      {"insert into conversations (partition, id, kind, last_seq, last_number, last_message_seq, last_time, changed_offset, member_count,"
       " all_muted_until, dissolved, history_for_new_members, members_may_add, mention_all_admins, chain, blockers, title, notice, avatar, description)"
       " select $1, * from unnest($2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)"
       " on conflict (id) do update set last_seq = excluded.last_seq, last_number = excluded.last_number, last_message_seq = excluded.last_message_seq,"
       " last_time = excluded.last_time, changed_offset = excluded.changed_offset, member_count = excluded.member_count,"
       " all_muted_until = excluded.all_muted_until, dissolved = excluded.dissolved, history_for_new_members = excluded.history_for_new_members,"
       " members_may_add = excluded.members_may_add, mention_all_admins = excluded.mention_all_admins, chain = excluded.chain,"
       " blockers = excluded.blockers, title = excluded.title, notice = excluded.notice, avatar = excluded.avatar,"
       " description = excluded.description",
       std::move(params)});
}

void put_members(std::vector<Query>& out, const Batch& batch) {
  Array gone_conversation(Oid::uuid), gone_user(Oid::uuid);
  Array conversation(Oid::uuid), user(Oid::uuid), role(Oid::i2), stay_from(Oid::i8), muted_until(Oid::i8), read_seq(Oid::i8), read_number(Oid::i8),
      delivered_seq(Oid::i8), changed(Oid::i8);
  for (const ConversationWrite& write : batch.conversations) {
    for (const UserId& touched : write.touched) {
      const chat::Member* member = write.state.member(touched);
      if (member == nullptr) {
        gone_conversation.uuid(write.id.bytes);
        gone_user.uuid(touched.bytes);
        continue;
      }
      conversation.uuid(write.id.bytes);
      user.uuid(touched.bytes);
      role.i2(static_cast<std::uint16_t>(member->role));
      stay_from.i8(member->stay_from.value);
      maybe(muted_until, member->muted_until);
      read_seq.i8(member->read_seq.value);
      read_number.i8(member->read_number.value);
      delivered_seq.i8(member->delivered_seq.value);
      changed.i8(write.last_offset.value);
    }
  }
  if (gone_user.size() > 0)
    out.push_back({"delete from members m using unnest($1, $2) g (conversation, user_id) where m.conversation = g.conversation and m.user_id = g.user_id",
                   Params().array(gone_conversation).array(gone_user)});
  if (user.size() == 0) return;
  Params params;
  for (const Array* column : {&conversation, &user, &role, &stay_from, &muted_until, &read_seq, &read_number, &delivered_seq, &changed}) params.array(*column);
  out.push_back(
      {"insert into members (conversation, user_id, role, stay_from, muted_until, read_seq, read_number, delivered_seq, changed_offset)"
       " select * from unnest($1, $2, $3, $4, $5, $6, $7, $8, $9)"
       " on conflict (conversation, user_id) do update set role = excluded.role, stay_from = excluded.stay_from, muted_until = excluded.muted_until,"
       " read_seq = excluded.read_seq, read_number = excluded.read_number, delivered_seq = excluded.delivered_seq,"
       " changed_offset = excluded.changed_offset",
       std::move(params)});
}

void end_stays(std::vector<Query>& out, const std::vector<StayPlan::End>& ends) {
  if (ends.empty()) return;
  Array conversation(Oid::uuid), user(Oid::uuid), to(Oid::i8);
  for (const StayPlan::End& end : ends) {
    conversation.uuid(end.conversation.bytes);
    user.uuid(end.user.bytes);
    to.i8(end.to.value);
  }
  out.push_back(
      {"update stays s set to_seq = e.to_seq from unnest($1, $2, $3) e (conversation, user_id, to_seq)"
       " where s.conversation = e.conversation and s.user_id = e.user_id and s.to_seq is null",
       Params().array(conversation).array(user).array(to)});
}

void put_stays(std::vector<Query>& out, const Batch& batch) {
  const StayPlan plan = plan_stays(batch.conversations);
  end_stays(out, plan.ends_before);
  if (!plan.opens.empty())
    out.push_back({"update stays set from_seq = 1 where conversation = any($1) and to_seq is null and from_seq > 1", Params().array(ids_array(plan.opens))});
  end_stays(out, plan.ends_after);
  if (plan.begins.empty()) return;
  Array conversation(Oid::uuid), user(Oid::uuid), joined(Oid::i8), from(Oid::i8), to(Oid::i8);
  for (const StayPlan::Begin& begin : plan.begins) {
    conversation.uuid(begin.conversation.bytes);
    user.uuid(begin.user.bytes);
    joined.i8(begin.joined.value);
    from.i8(begin.from.value);
    if (begin.to)
      to.i8(begin.to->value);
    else
      to.null();
  }
  out.push_back({"insert into stays (conversation, user_id, joined_seq, from_seq, to_seq) select * from unnest($1, $2, $3, $4, $5)",
                 Params().array(conversation).array(user).array(joined).array(from).array(to)});
}

void put_schedules(std::vector<Query>& out, const Batch& batch) {
  if (!batch.schedules.empty()) {
    Array conversation(Oid::uuid), user(Oid::uuid), id(Oid::uuid), offset(Oid::i8), hash(Oid::i8), due(Oid::i8), device(Oid::text), body(Oid::bytes);
    for (const StoredSchedule& schedule : batch.schedules) {
      conversation.uuid(schedule.conversation.bytes);
      user.uuid(schedule.user.bytes);
      id.uuid(schedule.id.bytes);
      offset.i8(schedule.offset.value);
      hash.i8(schedule.payload_hash);
      due.i8(schedule.due.value);
      device.raw(schedule.device);
      body.raw(schedule.body);
    }
    out.push_back(
        {"insert into schedules (partition, done, conversation, user_id, id, log_offset, payload_hash, due_ms, device, body)"
         " select $1, false, * from unnest($2, $3, $4, $5, $6, $7, $8, $9)",
         Params().i4(batch.partition.value).array(conversation).array(user).array(id).array(offset).array(hash).array(due).array(device).array(body)});
  }
  if (batch.schedules_done.empty()) return;
  Array conversation(Oid::uuid), user(Oid::uuid), id(Oid::uuid);
  for (const ScheduleDone& done : batch.schedules_done) {
    conversation.uuid(done.conversation.bytes);
    user.uuid(done.user.bytes);
    id.uuid(done.id.bytes);
  }
  out.push_back(
      {"update schedules s set done = true from unnest($1, $2, $3) d (conversation, user_id, id)"
       " where s.conversation = d.conversation and s.user_id = d.user_id and s.id = d.id and not s.done",
       Params().array(conversation).array(user).array(id)});
}

}  // namespace

std::vector<Query> finish_statements(const Batch& batch) {
  std::vector<Query> out;
  put_conversations(out, batch);
  put_members(out, batch);
  put_stays(out, batch);
  put_schedules(out, batch);
  out.push_back({"commit", {}});
  return out;
}

}  // namespace parley::store::postgres
