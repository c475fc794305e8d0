#include "eventlog/postgres/postgres_log.h"

#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <utility>
#include <vector>

#include "eventlog/postgres/consumer.h"
#include "eventlog/postgres/producer.h"
#include "eventlog/rounds.h"
#include "runtime/postgres/listener.h"
#include "runtime/postgres/pool.h"

namespace parley::eventlog::postgres {
namespace {

using runtime::postgres::Params;
using runtime::postgres::Pool;
using runtime::postgres::Rows;
using runtime::postgres::Sql;
using Offsets = std::vector<Offset>;

constexpr std::chrono::seconds kSlowPoll{1};  // readers look by themselves, should a notification be lost
constexpr std::uint64_t kTrimRows = 5'000;    // of one statement

// One at a time, whoever starts first makes the tables.
constexpr Sql kSchemaLock = "select pg_advisory_xact_lock(hashtext('parley_log'))";
constexpr Sql kTopicTable = "create table if not exists log_topic (only_one boolean primary key default true check (only_one), id uuid not null)";
// Two rows a batch change all the time: room for heap-only updates, vacuumed early.
constexpr Sql kPartitionsTable =
    "create table if not exists log_partitions (partition integer primary key, begin_offset bigint not null, next_offset bigint not null,"
    " last_time bigint not null) with (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000)";
constexpr Sql kEntriesTable =
    "create table if not exists log_entries (partition integer not null, log_offset bigint not null, time_ms bigint not null,"
    " key bytea not null, value bytea not null, traceparent bytea not null, primary key (partition, log_offset))";
constexpr Sql kCommittedTable =
    "create table if not exists log_committed (consumer_group text not null, partition integer not null, next_offset bigint not null,"
    " primary key (consumer_group, partition)) with (fillfactor = 20)";
constexpr Sql kNewPartitions =
    "insert into log_partitions select p, 0, 0, 0 from generate_series(0, $1::int - 1) as p where not exists (select 1 from log_topic)";
constexpr Sql kNewTopic = "insert into log_topic (id) values (gen_random_uuid()) on conflict do nothing";
constexpr Sql kTopic = "select t.id, (select count(*) from log_partitions), current_setting('synchronous_commit') from log_topic t";

constexpr Sql kEnds = "select next_offset from log_partitions order by partition";
constexpr Sql kBegins = "select begin_offset from log_partitions order by partition";
// Times never decrease along a partition, so halving finds the place: a few dozen looks at the primary key for each, however much is old. Below `lo` all
// is older, from `hi` on nothing is.
constexpr Sql kSince =
    "with recursive halving (partition, lo, hi) as (select p.partition, p.begin_offset, p.next_offset from log_partitions p"
    " union all select h.partition, case when e.time_ms < $1 then e.log_offset + 1 else h.lo end,"
    " case when e.time_ms < $1 then h.hi else h.lo + (h.hi - h.lo) / 2 end"
    " from halving h left join lateral (select x.log_offset, x.time_ms from log_entries x where x.partition = h.partition"
    " and x.log_offset >= h.lo + (h.hi - h.lo) / 2 and x.log_offset < h.hi order by x.log_offset limit 1) e on true where h.lo < h.hi)"
    " select (select e.log_offset from log_entries e where e.partition = h.partition and e.log_offset >= h.lo order by e.log_offset limit 1)"
    " from halving h where h.lo >= h.hi order by h.partition";
constexpr Sql kCommitted =
    "select c.next_offset from log_partitions p left join log_committed c on c.partition = p.partition and c.consumer_group = $1 order by p.partition";
constexpr Sql kMoveBegin = "update log_partitions set begin_offset = least($2, next_offset) where partition = $1 and begin_offset < least($2, next_offset)";
constexpr Sql kDelete =
    "delete from log_entries where partition = $1 and log_offset in (select log_offset from log_entries where partition = $1"
    " and log_offset < (select begin_offset from log_partitions where partition = $1) order by log_offset limit $2)";

Error error_of(const runtime::postgres::Error& error) { return {Errc::unavailable, "PostgreSQL: " + error.message}; }

std::string hex(const runtime::postgres::Uuid& id) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string out;
  for (const auto byte : id) {
    out.push_back(kHex[byte >> 4]);
    out.push_back(kHex[byte & 15]);
  }
  return out;
}

class PostgresLog final : public Log {
 public:
  PostgresLog(Settings settings, boost::asio::io_context& io)
      : settings_(std::move(settings)),
        io_(io),
        reads_(std::make_shared<Pool>(
            io, runtime::postgres::Settings{.dsn = settings_.dsn, .connections = 2, .timeout_ms = settings_.query_timeout_ms, .snapshots = true})),
        writes_(std::make_shared<Pool>(io, runtime::postgres::Settings{.dsn = settings_.dsn, .connections = 1, .timeout_ms = settings_.batch_timeout_ms})),
        ends_(io, kMostAskers, [this](Callback<Offsets> done) { offsets(kEnds, std::move(done)); }),
        begins_(io, kMostAskers, [this](Callback<Offsets> done) { offsets(kBegins, std::move(done)); }),
        listener_(
            io, settings_.dsn, {"listen parley_log"}, [this](std::string_view, std::string_view) { wake(); }, [this] { wake(); }),
        timer_(io) {
    wait_poll();
  }

  void open(Callback<Topic> done) override {
    std::vector<Pool::Query> queries;
    for (const auto sql : {kSchemaLock, kTopicTable, kPartitionsTable, kEntriesTable, kCommittedTable}) queries.push_back({sql, {}});
    queries.push_back({kNewPartitions, Params().i4(settings_.partitions)});
    queries.push_back({kNewTopic, {}});
    queries.push_back({kTopic, {}});
    writes_->queries(
        std::move(queries), later<Pool::Outcomes>([this, done = std::move(done)](Pool::Outcomes result) mutable {
          if (!result) return done(std::unexpected(error_of(result.error())));
          const auto topic = result->back()[0];
          if (topic.text(2) == "off")
            return done(std::unexpected(Error{Errc::misconfigured, "synchronous_commit is off: what is acknowledged could be lost; switch it on"}));
          partitions_ = static_cast<std::uint32_t>(topic.u8(1));
          for (auto& each : consumers_)
            if (!each.alive.expired()) each.consumer->assign(partitions_);
          done(Topic{hex(topic.uuid(0)), partitions_});
        }));
  }

  void ends(Callback<Offsets> done) override { ends_.ask(std::move(done)); }
  void begins(Callback<Offsets> done) override { begins_.ask(std::move(done)); }

  void since(TimeMs time, Callback<std::vector<std::optional<Offset>>> done) override { some_offsets(kSince, Params().i8(time.value), std::move(done)); }
  void committed(std::string group, Callback<std::vector<std::optional<Offset>>> done) override {
    some_offsets(kCommitted, Params().text(group), std::move(done));
  }

  void trim(Partition partition, Offset before, Callback<void> done) override {
    // The begin first, alone: the row's lock stops writers, and deleting may take long.
    writes_->query(kMoveBegin, Params().i4(partition.value).i8(before.value),
                   later<Pool::Outcome>([this, partition, done = std::move(done)](Pool::Outcome result) mutable {
                     if (!result) return done(std::unexpected(error_of(result.error())));
                     delete_some(partition, std::move(done));
                   }));
  }

  std::unique_ptr<Producer> producer() override {
    return std::make_unique<PostgresProducer>(settings_, io_, [this, alive = std::weak_ptr(alive_)] {
      if (!alive.expired()) wake();
    });
  }

  std::unique_ptr<Consumer> consumer(ConsumerOptions options, ConsumerEvents& events) override {
    auto made = std::make_unique<PostgresConsumer>(settings_, std::move(options), events, io_, reads_, writes_);
    std::erase_if(consumers_, [](const Attached& each) { return each.alive.expired(); });
    consumers_.push_back({made.get(), made->watch()});
    if (partitions_ > 0) made->assign(partitions_);
    return made;
  }

 private:
  struct Attached {
    PostgresConsumer* consumer;
    std::weak_ptr<int> alive;
  };

  // Owners are told in a turn of their own, as they may destroy this; never after its end.
  template <class Result>
  std::move_only_function<void(Result)> later(std::move_only_function<void(Result)> told) {
    return [&io = io_, alive = std::weak_ptr(alive_), told = std::move(told)](Result result) mutable {
      boost::asio::post(io, [alive = std::move(alive), told = std::move(told), result = std::move(result)]() mutable {
        if (!alive.expired()) told(std::move(result));
      });
    };
  }

  void offsets(Sql sql, Callback<Offsets> done) {
    reads_->query(sql, {}, later<Pool::Outcome>([done = std::move(done)](Pool::Outcome result) mutable {
                    if (!result) return done(std::unexpected(error_of(result.error())));
                    Offsets out;
                    for (int i = 0; i < result->size(); ++i) out.push_back(Offset{(*result)[i].u8(0)});
                    done(std::move(out));
                  }));
  }

  void some_offsets(Sql sql, Params params, Callback<std::vector<std::optional<Offset>>> done) {
    reads_->query(sql, std::move(params), later<Pool::Outcome>([done = std::move(done)](Pool::Outcome result) mutable {
                    if (!result) return done(std::unexpected(error_of(result.error())));
                    std::vector<std::optional<Offset>> out;
                    for (int i = 0; i < result->size(); ++i) {
                      const auto offset = (*result)[i].maybe_u8(0);
                      out.push_back(offset ? std::optional(Offset{*offset}) : std::nullopt);
                    }
                    done(std::move(out));
                  }));
  }

  void delete_some(Partition partition, Callback<void> done) {
    writes_->query(kDelete, Params().i4(partition.value).i8(kTrimRows),
                   later<Pool::Outcome>([this, partition, done = std::move(done)](Pool::Outcome result) mutable {
                     if (!result) return done(std::unexpected(error_of(result.error())));
                     if (result->affected() == kTrimRows) return delete_some(partition, std::move(done));
                     done({});
                   }));
  }

  void wake() {
    std::erase_if(consumers_, [](const Attached& each) { return each.alive.expired(); });
    for (auto& each : consumers_) each.consumer->wake();
  }

  void wait_poll() {
    timer_.expires_after(kSlowPoll);
    timer_.async_wait([this, alive = std::weak_ptr(alive_)](boost::system::error_code error) {
      if (error || alive.expired()) return;
      wake();
      wait_poll();
    });
  }

  Settings settings_;
  boost::asio::io_context& io_;
  std::shared_ptr<Pool> reads_, writes_;
  Rounds<Offsets> ends_, begins_;
  std::vector<Attached> consumers_;
  std::uint32_t partitions_ = 0;  // known once open
  runtime::postgres::Listener listener_;
  boost::asio::steady_timer timer_;
  std::shared_ptr<int> alive_ = std::make_shared<int>();
};

}  // namespace

std::unique_ptr<Log> make_log(Settings settings, boost::asio::io_context& io) { return std::make_unique<PostgresLog>(std::move(settings), io); }

}  // namespace parley::eventlog::postgres
