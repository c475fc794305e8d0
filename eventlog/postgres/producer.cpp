#include "eventlog/postgres/producer.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <map>
#include <utility>

namespace parley::eventlog::postgres {
namespace {

using runtime::postgres::Array;
using runtime::postgres::Oid;
using runtime::postgres::Params;
using runtime::postgres::Pool;
using runtime::postgres::Sql;

constexpr std::chrono::milliseconds kExpiryTick{100};

// In the order of the partitions: two writers cannot wait for each other.
constexpr Sql kLock = "select 1 from log_partitions where partition = any($1) order by partition for update";
// A statement of its own, so that it sees what was committed while the lock was waited for.
constexpr Sql kTakeOffsets =
    "update log_partitions p set next_offset = p.next_offset + w.count,"
    " last_time = greatest(p.last_time, (extract(epoch from clock_timestamp()) * 1000)::bigint)"
    " from unnest($1::int[], $2::bigint[]) as w(partition, count) where p.partition = w.partition"
    " returning p.partition, p.next_offset - w.count";
// `back`: how far from the new end.
constexpr Sql kInsert =
    "insert into log_entries (partition, log_offset, time_ms, key, value, traceparent)"
    " select p.partition, p.next_offset - e.back, p.last_time, e.key, e.value, e.traceparent"
    " from unnest($1::int[], $2::bigint[], $3::bytea[], $4::bytea[], $5::bytea[]) as e(partition, back, key, value, traceparent)"
    " join log_partitions p on p.partition = e.partition";
// NOTIFY holds one lock of the whole server until its transaction has ended: in that of a batch, every commit would wait for the flush
// of the one before. So it comes behind, in one that waits for no disk. Lost with the process, it costs readers one slow poll.
constexpr Sql kNotify = "select set_config('synchronous_commit', 'off', true), pg_notify('parley_log', '')";

}  // namespace

PostgresProducer::PostgresProducer(const Settings& settings, boost::asio::io_context& io, std::function<void()> committed)
    : settings_(settings),
      io_(io),
      committed_(std::move(committed)),
      pool_(io, {.dsn = settings.dsn, .connections = 1, .in_flight = 2, .waiting = 2, .timeout_ms = settings.batch_timeout_ms}),
      timer_(io) {
  wait_expiry();
}

std::expected<void, Error> PostgresProducer::produce(Partition partition, std::string_view key, std::string_view value, std::string_view traceparent,
                                                     Done done) {
  Attempt attempt{partition,
                  produced_ + 1,
                  std::chrono::steady_clock::now() + std::chrono::milliseconds(settings_.message_timeout_ms),
                  std::move(done),
                  std::string(key),
                  std::string(value),
                  std::string(traceparent)};
  const auto bytes = attempt.bytes();
  if (bytes > settings_.entry_bytes) return std::unexpected(Error{Errc::too_large, "the entry exceeds entry_bytes"});
  if (queue_.size() + batch_.size() >= settings_.queue_entries) return std::unexpected(Error{Errc::queue_full, "queue_entries reached"});
  if (bytes_ + bytes > settings_.queue_bytes) return std::unexpected(Error{Errc::queue_full, "queue_bytes reached"});
  queue_.push_back(std::move(attempt));
  ++produced_;
  ++unanswered_;
  bytes_ += bytes;
  if (!sending_ && queue_.size() == 1) {
    // At the end of this turn: what the owner produces in it goes together.
    boost::asio::post(io_, [this, alive = std::weak_ptr(alive_)] {
      if (!alive.expired()) send();
    });
  }
  return {};
}

void PostgresProducer::send() {
  if (sending_ || queue_.empty()) return;
  sending_ = true;
  std::size_t bytes = 0;
  while (!queue_.empty() && batch_.size() < settings_.batch_entries && (batch_.empty() || bytes + queue_.front().bytes() <= settings_.batch_bytes)) {
    bytes += queue_.front().bytes();
    batch_.push_back(std::move(queue_.front()));
    queue_.pop_front();
  }
  std::ranges::sort(batch_, {}, [](const Attempt& attempt) { return std::pair(attempt.partition, attempt.number); });

  std::map<Partition, std::uint64_t> counts;
  for (const auto& attempt : batch_) ++counts[attempt.partition];
  Array partitions(Oid::i4), count(Oid::i8);
  for (const auto& [partition, entries] : counts) {
    partitions.i4(partition.value);
    count.i8(entries);
  }
  Array of(Oid::i4), back(Oid::i8), keys(Oid::bytes), values(Oid::bytes), traceparents(Oid::bytes);
  for (const auto& attempt : batch_) {
    of.i4(attempt.partition.value);
    back.i8(counts[attempt.partition]--);
    keys.raw(attempt.key);
    values.raw(attempt.value);
    traceparents.raw(attempt.traceparent);
  }
  std::vector<Pool::Query> queries;
  queries.push_back({kLock, Params().array(partitions)});
  queries.push_back({kTakeOffsets, Params().array(partitions).array(count)});
  queries.push_back({kInsert, Params().array(of).array(back).array(keys).array(values).array(traceparents)});
  // Answers in a turn of their own: the pool must not be destroyed from within its callback, and an owner may destroy this.
  pool_.queries(std::move(queries), [this, alive = std::weak_ptr(alive_)](Pool::Outcomes result) {
    boost::asio::post(io_, [this, alive, result = std::move(result)]() mutable {
      if (!alive.expired()) on_batch(std::move(result));
    });
  });
}

void PostgresProducer::on_batch(Pool::Outcomes result) {
  auto batch = std::exchange(batch_, {});
  std::vector<Outcome> outcomes;
  outcomes.reserve(batch.size());
  std::map<Partition, Offset> first;
  if (result) {
    const auto& taken = (*result)[1];
    for (int i = 0; i < taken.size(); ++i) first[Partition{taken[i].u4(0)}] = Offset{taken[i].u8(1)};
    committed_();
    pool_.query(kNotify, {}, [](Pool::Outcome) {});
  }
  for (auto& attempt : batch) {
    bytes_ -= attempt.bytes();
    if (!result) {
      settle(attempt, std::unexpected(Error{Errc::timed_out, "PostgreSQL: " + result.error().message}), outcomes);
    } else if (const auto found = first.find(attempt.partition); found != first.end()) {
      settle(attempt, found->second, outcomes);
      ++found->second;
    } else {
      settle(attempt, std::unexpected(Error{Errc::unavailable, "there is no such partition"}), outcomes);
    }
  }
  if (!tell(std::move(outcomes))) return;
  sending_ = false;
  send();
}

void PostgresProducer::purge(Partition partition) {
  std::vector<Outcome> outcomes;
  const auto purged = [] { return std::unexpected(Error{Errc::purged, "purged by its owner"}); };
  for (auto& attempt : batch_)
    if (attempt.partition == partition) settle(attempt, purged(), outcomes);
  std::deque<Attempt> kept;
  for (auto& attempt : queue_) {
    if (attempt.partition != partition) {
      kept.push_back(std::move(attempt));
      continue;
    }
    bytes_ -= attempt.bytes();
    settle(attempt, purged(), outcomes);
  }
  queue_ = std::move(kept);
  tell_later(std::move(outcomes));
}

void PostgresProducer::settle(Attempt& attempt, std::expected<Offset, Error> result, std::vector<Outcome>& outcomes) {
  if (!attempt.done) return;
  outcomes.push_back({std::exchange(attempt.done, nullptr), std::move(result)});
  --unanswered_;
  for (auto& flush : flushes_)
    if (attempt.number <= flush.upto) --flush.unanswered;
}

bool PostgresProducer::tell(std::vector<Outcome> outcomes) {
  const std::weak_ptr alive(alive_);
  for (auto& [done, result] : outcomes) {
    done(std::move(result));
    if (alive.expired()) return false;
  }
  while (!flushes_.empty() && flushes_.front().unanswered == 0) {
    auto done = std::move(flushes_.front().done);
    flushes_.pop_front();
    done();
    if (alive.expired()) return false;
  }
  return true;
}

void PostgresProducer::tell_later(std::vector<Outcome> outcomes) {
  boost::asio::post(io_, [this, alive = std::weak_ptr(alive_), outcomes = std::move(outcomes)]() mutable {
    if (!alive.expired()) tell(std::move(outcomes));
  });
}

void PostgresProducer::flush(std::move_only_function<void()> done) {
  flushes_.push_back({produced_, unanswered_, std::move(done)});
  if (unanswered_ == 0) tell_later({});
}

void PostgresProducer::wait_expiry() {
  timer_.expires_after(kExpiryTick);
  timer_.async_wait([this, alive = std::weak_ptr(alive_)](boost::system::error_code error) {
    if (error || alive.expired()) return;
    expire();
    if (!alive.expired()) wait_expiry();
  });
}

// Only what waits: a batch under way ends by its own timeout.
void PostgresProducer::expire() {
  const auto now = std::chrono::steady_clock::now();
  std::vector<Outcome> outcomes;
  while (!queue_.empty() && queue_.front().deadline <= now) {
    bytes_ -= queue_.front().bytes();
    settle(queue_.front(), std::unexpected(Error{Errc::timed_out, "PostgreSQL did not take it in time"}), outcomes);
    queue_.pop_front();
  }
  if (!outcomes.empty()) tell(std::move(outcomes));
}

}  // namespace parley::eventlog::postgres
