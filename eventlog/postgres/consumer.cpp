#include "eventlog/postgres/consumer.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <utility>

#include "runtime/log.h"

namespace parley::eventlog::postgres {
namespace {

using runtime::postgres::Array;
using runtime::postgres::Oid;
using runtime::postgres::Params;
using runtime::postgres::Pool;
using runtime::postgres::Sql;

constexpr std::chrono::milliseconds kRetry{100};
constexpr std::uint32_t kMostDivided = 1'024;

constexpr Sql kBounds = "select partition, begin_offset, next_offset from log_partitions where partition = any($1)";
// $3 rows at most of each partition, and no more than reach $4 bytes (one at least).
constexpr Sql kFetch =
    "select w.partition, e.log_offset, e.time_ms, e.key, e.value, e.traceparent"
    " from unnest($1::int[], $2::bigint[]) as w(partition, from_offset) cross join lateral ("
    "  select * from (select *, sum(length(value)) over (order by log_offset) - length(value) as before from ("
    "   select log_offset, time_ms, key, value, traceparent from log_entries"
    "   where partition = w.partition and log_offset >= w.from_offset order by log_offset limit $3) as first) as sized"
    "  where before < $4) as e"
    " order by w.partition, e.log_offset";
constexpr Sql kCommit =
    "insert into log_committed (consumer_group, partition, next_offset)"
    " select $1, c.partition, c.next_offset from unnest($2::int[], $3::bigint[]) as c(partition, next_offset)"
    " on conflict (consumer_group, partition) do update set next_offset = excluded.next_offset";

}  // namespace

PostgresConsumer::PostgresConsumer(const Settings& settings, ConsumerOptions options, ConsumerEvents& events, boost::asio::io_context& io,
                                   std::shared_ptr<Pool> reads, std::shared_ptr<Pool> writes)
    : settings_(settings), options_(std::move(options)), owner_(events), io_(io), reads_(std::move(reads)), writes_(std::move(writes)), timer_(io) {}

void PostgresConsumer::start(Partition partition, Offset from) {
  reading_[partition] = {from, ++epochs_};
  fetch_after({});
}

void PostgresConsumer::pause(Partition partition) {
  const auto found = reading_.find(partition);
  if (found == reading_.end() || found->second.paused) return;
  found->second.paused = true;
  found->second.epoch = ++epochs_;
}

void PostgresConsumer::resume(Partition partition) {
  const auto found = reading_.find(partition);
  if (found == reading_.end() || !found->second.paused) return;
  found->second.paused = false;
  fetch_after({});
}

void PostgresConsumer::wake() { fetch_after(std::chrono::milliseconds(options_.fetch_min_bytes > 1 ? options_.fetch_wait_ms : 0)); }

void PostgresConsumer::assign(std::uint32_t partitions) {
  if (!options_.join || std::exchange(assigned_, true)) return;
  boost::asio::post(io_, [this, alive = std::weak_ptr(alive_), partitions] {
    if (alive.expired()) return;
    std::vector<Partition> all;
    for (std::uint32_t p = 0; p < partitions; ++p) all.push_back(Partition{p});
    owner_.on_assigned(all);
  });
}

void PostgresConsumer::fetch_after(std::chrono::milliseconds wait) {
  if (fetching_) {
    again_ = true;
    return;
  }
  fetching_ = true;
  // Zero too: at the end of this turn, when all that starts has started.
  timer_.expires_after(wait);
  timer_.async_wait([this, alive = std::weak_ptr(alive_)](boost::system::error_code error) {
    if (!error && !alive.expired()) fetch();
  });
}

void PostgresConsumer::fetch() {
  again_ = false;
  std::vector<Asked> asked;
  Array partitions(Oid::i4), from(Oid::i8);
  for (const auto& [partition, reading] : reading_) {
    if (reading.paused) continue;
    asked.push_back({partition, reading.next, reading.epoch});
    partitions.i4(partition.value);
    from.i8(reading.next.value);
  }
  if (asked.empty()) {
    fetching_ = false;
    return;
  }
  std::vector<Pool::Query> queries;
  queries.push_back({kBounds, Params().array(partitions)});
  queries.push_back({kFetch, Params().array(partitions).array(from).i8(std::max(1u, settings_.fetch_entries / divide_)).i8(settings_.fetch_bytes / divide_)});
  reads_->queries(std::move(queries), [this, alive = std::weak_ptr(alive_), asked = std::move(asked)](Outcomes result) mutable {
    if (alive.expired()) return;
    boost::asio::post(io_, [this, alive, asked = std::move(asked), result = std::move(result)]() mutable {
      if (!alive.expired()) on_fetched(asked, std::move(result));
    });
  });
}

void PostgresConsumer::on_fetched(const std::vector<Asked>& asked, Outcomes result) {
  fetching_ = false;
  if (!result) {
    runtime::log::limited(runtime::log::Level::warn, "eventlog.fetch", options_.group,
                          {{"error", result.error().message}, {"sqlstate", result.error().sqlstate}});
    if (result.error().code == runtime::postgres::Errc::timed_out) divide_ = std::min(2 * divide_, kMostDivided);
    return fetch_after(kRetry);
  }
  divide_ = std::max(1u, divide_ / 2);
  struct Bounds {
    Offset begin, end;
  };
  std::map<Partition, Bounds> bounds;
  std::map<Partition, std::vector<Entry>> entries;
  const auto& limits = (*result)[0];
  for (int i = 0; i < limits.size(); ++i) bounds[{limits[i].u4(0)}] = {{limits[i].u8(1)}, {limits[i].u8(2)}};
  const auto& rows = (*result)[1];
  for (int i = 0; i < rows.size(); ++i) {
    const auto row = rows[i];
    entries[{row.u4(0)}].push_back({{row.u8(1)}, {row.u8(2)}, row.bytes(3), row.bytes(4), row.bytes(5)});
  }
  const std::weak_ptr alive(alive_);
  for (const auto& [partition, from, epoch] : asked) {
    // The owner may start, stop or pause any partition meanwhile.
    const auto found = reading_.find(partition);
    if (found == reading_.end() || found->second.paused || found->second.epoch != epoch) continue;
    const auto [begin, end] = bounds[partition];
    if (from < begin || from > end) {
      reading_.erase(found);
      owner_.on_out_of_range(partition, begin);
    } else if (const auto& read = entries[partition]; !read.empty()) {
      found->second.next = read.back().offset.next();
      again_ = again_ || found->second.next < end;
      owner_.on_entries(partition, read, found->second.next);
    }
    if (alive.expired()) return;
  }
  if (again_) fetch_after({});
}

void PostgresConsumer::commit(Partition partition, Offset next) {
  const bool first = commits_.empty();
  commits_[partition] = next;
  if (!first) return;
  boost::asio::post(io_, [this, alive = std::weak_ptr(alive_)] {
    if (!alive.expired()) send_commits();
  });
}

void PostgresConsumer::send_commits() {
  Array partitions(Oid::i4), next(Oid::i8);
  for (const auto& [partition, offset] : std::exchange(commits_, {})) {
    partitions.i4(partition.value);
    next.i8(offset.value);
  }
  // Best effort: the next one says it again.
  writes_->query(kCommit, Params().text(options_.group).array(partitions).array(next), [](Pool::Outcome) {});
}

}  // namespace parley::eventlog::postgres
