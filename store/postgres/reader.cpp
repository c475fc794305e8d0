// Positions, cold loads, look-ups, standing and marks; pages are in pages.cpp, summaries and resume in resume.cpp.
#include <charconv>
#include <limits>

#include "store/postgres/pool_reader.h"

namespace parley::store::postgres {

Positions read_positions(const Rows& rows) {
  Positions out;
  for (int i = 0; i < rows.size(); ++i) out.push_back({rows[i].u8(0)});
  return out;
}

void PoolReader::identity(Callback<std::optional<Identity>> done) {
  pool_.query("select topic_id, partitions from log_identity", {}, [done = std::move(done)](runtime::postgres::Pool::Outcome rows) mutable {
    if (!rows) return done(std::unexpected(store_error(rows.error())));
    if (rows->empty()) return done(std::nullopt);
    done(Identity{std::string((*rows)[0].text(0)), (*rows)[0].u4(1)});
  });
}

void PoolReader::positions(Callback<Positions> done) {
  pool_.query(kPositions, {}, [done = std::move(done)](runtime::postgres::Pool::Outcome rows) mutable {
    if (!rows)
      done(std::unexpected(store_error(rows.error())));
    else
      done(read_positions(*rows));
  });
}

void PoolReader::on_notified(std::string_view payload) {
  Partition partition;
  Offset offset;
  const char* end = payload.data() + payload.size();
  const auto first = std::from_chars(payload.data(), end, partition.value);
  if (first.ec != std::errc{} || first.ptr == end) return;
  if (std::from_chars(first.ptr + 1, end, offset.value).ec != std::errc{}) return;
  if (moved_) moved_(partition, offset);
}

void PoolReader::on_listening() {
  positions([this](Result<Positions> there) {
    if (!there || !moved_) return;
    for (std::size_t i = 0; i < there->size(); ++i) moved_(Partition{static_cast<std::uint32_t>(i)}, (*there)[i]);
  });
}

namespace {

// Events of $1 at or above offset $2. Each event took an offset of its own, so there are at most (position - $2) of them: that
// bounds the range of seqs, for which there is an index.
#define PARLEY_EVENTS_FROM_OFFSET                                                              \
  " from positions p join conversations c on c.id = $1 join events e on e.conversation = c.id" \
  " and e.seq > c.last_seq - greatest(p.next_offset - $2, 0) and e.log_offset >= $2 where p.partition = $3"

std::vector<std::pair<UserId, std::vector<Stay>>> read_stays(const Rows& rows) {
  std::vector<std::pair<UserId, std::vector<Stay>>> out;
  for (int i = 0; i < rows.size(); ++i) {
    const UserId user{rows[i].uuid(0)};
    if (out.empty() || out.back().first != user) out.emplace_back(user, std::vector<Stay>{});
    Stay stay{{rows[i].u8(1)}, std::nullopt};
    if (auto to = rows[i].maybe_u8(2)) stay.to = Seq{*to};
    out.back().second.push_back(stay);
  }
  return out;
}

}  // namespace

void PoolReader::cold_load(ConversationId conversation, Partition partition, Offset from, Callback<ColdLoad> done) {
  std::vector<Query> queries = state_queries({conversation});
  const auto params = [&] { return Params().uuid(conversation.bytes).i8(from.value).i4(partition.value); };
  queries.push_back({"select " PARLEY_EVENT_COLUMNS PARLEY_EVENTS_FROM_OFFSET " order by e.seq", params()});
  queries.push_back(
      {"select s.user_id, s.from_seq, s.to_seq"
       " from (select min(e.seq) as first, max(e.seq) as last" PARLEY_EVENTS_FROM_OFFSET ") f"
       " join stays s on s.conversation = $1 and s.from_seq <= f.last and (s.to_seq is null or s.to_seq >= f.first)"
       " order by s.user_id, s.joined_seq",
       params()});
  Callback<Snapshot<ColdLoad>> inner = [partition, done = std::move(done)](Result<Snapshot<ColdLoad>> outcome) mutable {
    if (!outcome) return done(std::unexpected(outcome.error()));
    ColdLoad load = std::move(outcome->value);
    if (partition.value < outcome->positions.size()) load.position = outcome->positions[partition.value];
    done(std::move(load));
  };
  ask(std::move(queries), std::move(inner), [](const Rows* rows) {
    ColdLoad out;
    out.state = std::move(states_of(1, rows).front());
    const Rows& events = rows[kStateQueries];
    for (int i = 0; i < events.size(); ++i) out.events.push_back(read_event(events[i]));
    out.stays = read_stays(rows[kStateQueries + 1]);
    return out;
  });
}

void PoolReader::look_up(std::vector<LookUp> keys, Callback<Snapshot<std::vector<LookedUp>>> done) {
  Array conversation(Oid::uuid), user(Oid::uuid), id(Oid::uuid);
  for (const LookUp& key : keys) {
    conversation.uuid(key.conversation.bytes);
    user.uuid(key.user.bytes);
    id.uuid(key.id.bytes);
  }
  std::vector<Query> queries;
  queries.push_back(
      {"select s.payload_hash, " PARLEY_EVENT_COLUMNS " from unnest($1, $2, $3) with ordinality k (conversation, user_id, id, ord)"
       " left join lateral (select * from events x where x.id = k.id and x.conversation = k.conversation and x.sender = k.user_id"
       "  order by x.seq limit 1) e on true"
       " left join lateral (select x.payload_hash from schedules x where x.conversation = k.conversation and x.user_id = k.user_id and x.id = k.id"
       "  order by x.log_offset desc limit 1) s on true"
       " order by k.ord",
       Params().array(conversation).array(user).array(id)});
  ask(std::move(queries), std::move(done), [](const Rows* rows) {
    std::vector<LookedUp> out;
    for (int i = 0; i < rows[0].size(); ++i) {
      const Row row = rows[0][i];
      LookedUp& found = out.emplace_back();
      if (auto hash = row.maybe_u8(0)) {
        found.schedule = true;
        found.payload_hash = *hash;
      }
      if (row.null(1)) continue;
      found.event = read_event(row, 1);
      found.payload_hash = found.event->event.payload_hash;
    }
    return out;
  });
}

void PoolReader::standing(UserId user, ConversationId conversation, Callback<Snapshot<Standing>> done) {
  std::vector<Query> queries;
  queries.push_back({kStanding, Params().uuid(user.bytes).uuid(conversation.bytes)});
  ask(std::move(queries), std::move(done), [](const Rows* rows) { return static_cast<Standing>(rows[0][0].u4(0)); });
}

void PoolReader::mark_target(UserId user, ConversationId conversation, Seq seq, Callback<Snapshot<MarkTarget>> done) {
  const std::uint64_t wanted = std::min<std::uint64_t>(seq.value, std::numeric_limits<std::int64_t>::max());
  std::vector<Query> queries;
  queries.push_back({kStanding, Params().uuid(user.bytes).uuid(conversation.bytes)});
  queries.push_back(
      {"with target as (select coalesce(max(least(s.hi - 1, $3, c.last_seq)) filter (where s.lo <= $3), min(s.lo)) as seq"
       " from conversations c cross join lateral visible_spans($2, $1) s where c.id = $2)"
       " select t.seq, (select e.number from events e where e.conversation = $2 and e.seq <= t.seq and e.number is not null"
       "  order by e.seq desc limit 1) from target t where t.seq is not null",
       Params().uuid(user.bytes).uuid(conversation.bytes).i8(wanted)});
  ask(std::move(queries), std::move(done), [](const Rows* rows) {
    MarkTarget out;
    out.standing = static_cast<Standing>(rows[0][0].u4(0));
    if (out.standing != Standing::member || rows[1].empty()) return out;
    out.seq = {rows[1][0].u8(0)};
    out.number = {rows[1][0].maybe_u8(1).value_or(0)};
    return out;
  });
}

}  // namespace parley::store::postgres
