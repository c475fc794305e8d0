// Summaries, and what a resuming device is owed (R25).
#include <limits>

#include "chat/limits.h"
#include "store/pages.h"
#include "store/postgres/pool_reader.h"

namespace parley::store::postgres {

namespace {

// Summaries of $1's conversations that fulfil `which`, newest activity first. The page is picked first: peer, first seq and last
// message are looked up for what is on it only.
#define PARLEY_SUMMARIES(which, limit)                                                                                                        \
  "with page as materialized (select c.id, c.kind, c.title, m.role, c.member_count, c.last_seq, c.last_number, c.last_message_seq,"           \
  " m.read_seq, m.read_number, m.delivered_seq, c.last_time"                                                                                  \
  " from members m join conversations c on c.id = m.conversation"                                                                             \
  " where m.user_id = $1 and c.last_seq > 0 and (c.kind <> 3 or c.last_number > 0) and " which " order by c.last_time desc, c.id desc " limit \
  ") select page.id, page.kind, page.title,"                                                                                                  \
  " (select o.user_id from members o where page.kind = 1 and o.conversation = page.id and o.user_id <> $1 limit 1),"                          \
  " page.role, page.member_count,"                                                                                                            \
  " coalesce((select min(s.from_seq) from stays s where s.conversation = page.id and s.user_id = $1), 1),"                                    \
  " page.last_seq, page.last_number, page.read_seq, page.read_number, page.delivered_seq, page.last_time, " PARLEY_EVENT_COLUMNS              \
  " from page left join events e on e.conversation = page.id and e.seq = page.last_message_seq"                                               \
  " and exists (select from visible_spans(page.id, $1) v where v.lo <= e.seq and e.seq < v.hi)"                                               \
  " order by page.last_time desc, page.id desc"

constexpr int kSummaryColumns = 13;

Summary read_summary(const Row& row) {
  Summary out;
  out.conversation = {row.uuid(0)};
  out.kind = static_cast<chat::Kind>(row.u2(1));
  out.title = row.text(2);
  if (!row.null(3)) out.peer = UserId{row.uuid(3)};
  out.role = static_cast<chat::Role>(row.u2(4));
  out.member_count = row.u4(5);
  out.first_seq = {row.u8(6)};
  out.last_seq = {row.u8(7)};
  out.last_number = {row.u8(8)};
  out.read_seq = {row.u8(9)};
  out.read_number = {row.u8(10)};
  out.delivered_seq = {row.u8(11)};
  out.muted = false;
  out.last_time = {row.u8(12)};
  if (!row.null(kSummaryColumns)) out.last_message = read_event(row, kSummaryColumns);
  return out;
}

std::vector<Summary> read_summaries(const Rows& rows) {
  std::vector<Summary> out;
  for (int i = 0; i < rows.size(); ++i) out.push_back(read_summary(rows[i]));
  return out;
}

// What the cursors ($2 conversations, $3 seqs) of $1 are owed, as ranges [lo, hi) of seqs; these are contiguous, so the number of
// events is known before any is read.
#define PARLEY_OWED                                                                                                  \
  "owed as materialized (select k.id, k.ord, greatest(s.lo, k.seq + 1) as lo, least(s.hi, c.last_seq + 1) as hi"     \
  " from unnest($2, $3) with ordinality k (id, seq, ord) join conversations c on c.id = k.id and c.last_seq > k.seq" \
  " cross join lateral visible_spans(k.id, $1) s where s.hi > k.seq + 1)"

}  // namespace

void PoolReader::summaries(UserId user, std::string cursor, std::uint32_t limit, Callback<Snapshot<SummaryPage>> done) {
  limit = page_limit(limit);
  Params params;
  params.uuid(user.bytes).i8(limit + 1);
  if (const auto after = decode_cursor(cursor))
    params.i8(after->time.value).uuid(after->conversation.bytes);
  else
    params.null(Oid::i8).null(Oid::uuid);
  std::vector<Query> queries;
  queries.push_back({PARLEY_SUMMARIES("($3 is null or (c.last_time, c.id) < ($3, $4))", "limit $2"), std::move(params)});
  ask(std::move(queries), std::move(done), [limit](const Rows* rows) {
    SummaryPage page{read_summaries(rows[0]), ""};
    if (page.items.size() > limit) {
      page.items.resize(limit);
      page.next_cursor = encode_cursor({page.items.back().last_time, page.items.back().conversation});
    }
    return page;
  });
}

void PoolReader::details(UserId user, ConversationId conversation, Callback<Snapshot<Details>> done) {
  const auto params = [&] { return Params().uuid(user.bytes).uuid(conversation.bytes); };
  std::vector<Query> queries;
  queries.push_back({kStanding, params()});
  queries.push_back({PARLEY_SUMMARIES("m.conversation = $2", ""), params()});
  queries.push_back({"select notice, avatar, description, history_for_new_members, members_may_add, mention_all_admins from conversations where id = $1",
                     Params().uuid(conversation.bytes)});
  ask(std::move(queries), std::move(done), [](const Rows* rows) {
    Details out;
    out.standing = static_cast<Standing>(rows[0][0].u4(0));
    if (out.standing != Standing::member) return out;
    if (!rows[1].empty()) out.summary = read_summary(rows[1][0]);
    const Row row = rows[2][0];
    out.notice = row.text(0);
    out.avatar = row.text(1);
    out.description = row.text(2);
    out.settings = {row.boolean(3), row.boolean(4), row.boolean(5)};
    return out;
  });
}

void PoolReader::resume(ResumeQuery query, Callback<Snapshot<ResumeResult>> done) {
  constexpr std::uint64_t kMax = std::numeric_limits<std::int64_t>::max() - 1;
  Array conversations(Oid::uuid), seqs(Oid::i8), since(Oid::i8);
  for (const Cursor& cursor : query.cursors) {
    conversations.uuid(cursor.conversation.bytes);
    seqs.i8(std::min(cursor.seq.value, kMax));
  }
  if (query.since) {
    for (const Offset& offset : *query.since) since.i8(offset.value);
  }
  const auto params = [&] { return Params().uuid(query.user.bytes).array(conversations).array(seqs); };

  std::vector<Query> queries;
  queries.push_back(
      {"select k.id, m.user_id, m.read_seq, m.read_number, m.delivered_seq from unnest($2) with ordinality k (id, ord)"
       " join conversations c on c.id = k.id join members mine on mine.conversation = k.id and mine.user_id = $1"
       " cross join lateral (select mine.user_id, mine.read_seq, mine.read_number, mine.delivered_seq"
       "  union all select p.user_id, p.read_seq, p.read_number, p.delivered_seq from members p"
       "  where c.kind = 1 and p.conversation = k.id and p.user_id <> $1) m order by k.ord, m.user_id",
       Params().uuid(query.user.bytes).array(conversations)});
  queries.push_back(
      {"select exists (select from unnest($2, $3) k (id, seq) join conversations c on c.id = k.id and k.seq > c.last_seq where"
       " exists (select from members m where m.conversation = k.id and m.user_id = $1)"
       " or exists (select from stays s where s.conversation = k.id and s.user_id = $1))",
       params()});
  queries.push_back({"with " PARLEY_OWED " select coalesce(sum(hi - lo), 0)::bigint from owed where hi > lo", params()});
  queries.push_back({"with " PARLEY_OWED ", total as materialized (select coalesce(sum(hi - lo), 0) as n from owed where hi > lo)"
                     " select " PARLEY_EVENT_COLUMNS " from (select e.*, owed.ord, sum(" PARLEY_EVENT_BYTES
                     ") over (order by owed.ord, e.seq rows between unbounded preceding and 1 preceding) as before"
                     " from owed cross join total join events e on e.conversation = owed.id and e.seq >= owed.lo and e.seq < owed.hi"
                     " where total.n <= $4) e where coalesce(e.before, 0) <= $5 order by e.ord, e.seq",
                     params().i8(query.max_events).i8(query.max_bytes)});
  if (query.want_changed) {
    queries.push_back({PARLEY_SUMMARIES("c.id <> all($2) and (c.changed_offset >= coalesce($3[c.partition + 1], 0)"
                                        " or m.changed_offset >= coalesce($3[c.partition + 1], 0))",
                                        "limit $4"),
                       Params().uuid(query.user.bytes).array(conversations).array(since).i8(chat::kChangedMax + 1)});
  }
  ask(std::move(queries), std::move(done), [want_changed = query.want_changed, most = query.max_events, most_bytes = query.max_bytes](const Rows* rows) {
    ResumeResult out;
    for (int i = 0; i < rows[0].size(); ++i) {
      const Row row = rows[0][i];
      out.marks.push_back({{row.uuid(0)}, {row.uuid(1)}, {row.u8(2)}, {row.u8(3)}, {row.u8(4)}});
    }
    out.cursor_ahead = rows[1][0].boolean(0);
    out.too_many = rows[2][0].u8(0) > most;
    for (int i = 0; i < rows[3].size(); ++i) out.events.push_back(read_event(rows[3][i]));
    bound_replay(out, most_bytes);
    if (!want_changed) return out;
    out.changed = read_summaries(rows[4]);
    out.more = out.changed.size() > chat::kChangedMax;
    if (out.more) out.changed.resize(chat::kChangedMax);
    return out;
  });
}

}  // namespace parley::store::postgres
