// History and member pages.
#include <algorithm>
#include <limits>

#include "store/pages.h"
#include "store/postgres/pool_reader.h"

namespace parley::store::postgres {

namespace {

constexpr std::uint64_t kMax = std::numeric_limits<std::int64_t>::max();

// What $1 may see of $2 in [$3, $4), nearest to the end it starts from, at most $5, and of these as many as reach $6 bytes, and two in any case: that
// a second one is there must show although the first alone is a page. Span by
// span, so that a long stretch one may not see costs nothing.
#define PARLEY_VISIBLE(order)                                                                                      \
  "select " PARLEY_EVENT_COLUMNS " from (select e.*, sum(" PARLEY_EVENT_BYTES ") over (order by e.seq " order      \
  " rows between unbounded preceding and 1 preceding) as before, row_number() over (order by e.seq " order         \
  ") as nth from (select e.*"                                                                                      \
  " from visible_spans($2, $1) s cross join lateral"                                                               \
  " (select * from events x where x.conversation = $2 and x.seq >= greatest(s.lo, $3) and x.seq < least(s.hi, $4)" \
  "  order by x.seq " order " limit $5) e order by e.seq " order " limit $5) e) e where coalesce(e.before, 0) <= $6 or e.nth <= 2 order by e.seq " order
constexpr Sql kOlder = PARLEY_VISIBLE("desc");
constexpr Sql kNewer = PARLEY_VISIBLE("asc");

std::vector<StoredEvent> read_events(const Rows& rows) {
  std::vector<StoredEvent> out;
  for (int i = 0; i < rows.size(); ++i) out.push_back(read_event(rows[i]));
  return out;
}

}  // namespace

void PoolReader::history(HistoryQuery query, Callback<Snapshot<HistoryResult>> done) {
  const std::uint32_t limit = page_limit(query.limit);
  const std::uint64_t lowest = query.after ? std::min(query.after->value, kMax - 1) + 1 : 0;
  const std::uint64_t beyond = query.before ? std::min(query.before->value, kMax) : kMax;
  const auto part = [&](std::uint64_t from, std::uint64_t below, std::uint32_t count, std::size_t bytes) {
    // One more than the page holds tells whether there is more.
    return Params().uuid(query.user.bytes).uuid(query.conversation.bytes).i8(from).i8(below).i8(count + 1).i8(bytes);
  };
  const Direction way = direction(query);
  std::vector<Query> queries;
  queries.push_back({kStanding, Params().uuid(query.user.bytes).uuid(query.conversation.bytes)});
  if (way == Direction::around) {
    const std::uint64_t middle = std::min(query.around->value, kMax);
    const std::uint32_t half = before_around(limit);
    queries.push_back({kOlder, part(lowest, std::min(middle, beyond), half, chat::kPageBytes / 2)});
    queries.push_back({kNewer, part(std::max(middle, lowest), beyond, limit - half, chat::kPageBytes / 2)});
  } else {
    queries.push_back({way == Direction::newer ? kNewer : kOlder, part(lowest, beyond, limit, chat::kPageBytes)});
  }
  ask(std::move(queries), std::move(done), [limit, way](const Rows* rows) {
    HistoryResult out;
    out.standing = static_cast<Standing>(rows[0][0].u4(0));
    if (out.standing == Standing::stranger) return out;
    out.events = read_events(rows[1]);
    if (way != Direction::around) {
      out.more = cut_page(out.events, limit, chat::kPageBytes);
      if (way == Direction::older) std::ranges::reverse(out.events);
      return out;
    }
    const std::uint32_t half = before_around(limit);
    std::vector<StoredEvent> from = read_events(rows[2]);
    const bool older = cut_page(out.events, half, chat::kPageBytes / 2), newer = cut_page(from, limit - half, chat::kPageBytes / 2);
    out.more = older || newer;
    std::ranges::reverse(out.events);
    std::ranges::move(from, std::back_inserter(out.events));
    return out;
  });
}

void PoolReader::members(UserId user, ConversationId conversation, std::string cursor, std::uint32_t limit, Callback<Snapshot<MemberPage>> done) {
  limit = page_limit(limit);
  std::vector<Query> queries;
  queries.push_back({kStanding, Params().uuid(user.bytes).uuid(conversation.bytes)});
  Params params;
  params.uuid(conversation.bytes).i8(limit + 1);
  if (const auto after = chat::parse_id<UserId>(cursor))
    params.uuid(after->bytes);
  else
    params.null(Oid::uuid);
  queries.push_back(
      {"select m.user_id, coalesce(u.username, ''), coalesce(u.display_name, ''), m.role, m.muted_until"
       " from members m left join users u on u.id = m.user_id"
       " where m.conversation = $1 and ($3 is null or m.user_id > $3) order by m.user_id limit $2",
       std::move(params)});
  ask(std::move(queries), std::move(done), [limit](const Rows* rows) {
    MemberPage page;
    page.standing = static_cast<Standing>(rows[0][0].u4(0));
    if (page.standing != Standing::member) return page;
    for (int i = 0; i < rows[1].size(); ++i) {
      if (page.items.size() == limit) {
        page.next_cursor = chat::to_text(page.items.back().user);
        break;
      }
      const Row row = rows[1][i];
      MemberRow& item = page.items.emplace_back();
      item.user = {row.uuid(0)};
      item.username = row.text(1);
      item.display_name = row.text(2);
      item.role = static_cast<chat::Role>(row.u2(3));
      if (auto until = row.maybe_u8(4)) item.muted_until = TimeMs{*until};
    }
    return page;
  });
}

}  // namespace parley::store::postgres
