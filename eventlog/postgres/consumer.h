// PostgreSQL's consumer side of the log: one fetch at a time for all partitions that are read, one snapshot each.
//
// Woken by its log (NOTIFY, or a commit of the same log); with `fetch_min_bytes` above 1 it lets entries gather for `fetch_wait_ms`
// first, as Kafka would. Group mode gives every member all partitions: the small profile is one process, and a second persister
// is refused by compare-and-set anyway (R11).
//
// Thread: that of the io_context. Bound: one fetch of `fetch_entries` and `fetch_bytes` for each partition; half of it after a fetch
// that did not end in time, until one does.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "eventlog/log.h"
#include "eventlog/postgres/postgres_log.h"
#include "runtime/postgres/pool.h"

namespace parley::eventlog::postgres {

class PostgresConsumer final : public Consumer {
 public:
  // `reads` sees snapshots, `writes` may write; both outlive the log, as shared by everything it made. `closed` is told at the end.
  PostgresConsumer(const Settings& settings, ConsumerOptions options, ConsumerEvents& events, boost::asio::io_context& io,
                   std::shared_ptr<runtime::postgres::Pool> reads, std::shared_ptr<runtime::postgres::Pool> writes);
  ~PostgresConsumer() override = default;

  void start(Partition partition, Offset from) override;
  void stop(Partition partition) override { reading_.erase(partition); }
  void pause(Partition partition) override;
  void resume(Partition partition) override;
  void commit(Partition partition, Offset next) override;

  // From the log.
  void wake();
  void assign(std::uint32_t partitions);
  std::weak_ptr<int> watch() const { return alive_; }

 private:
  using Outcomes = runtime::postgres::Pool::Outcomes;
  struct Reading {
    Offset next;
    std::uint64_t epoch;  // of the latest start or pause; what was fetched for an earlier one is dropped
    bool paused = false;
  };
  struct Asked {
    Partition partition;
    Offset from;
    std::uint64_t epoch;
  };

  void fetch_after(std::chrono::milliseconds wait);
  void fetch();
  void on_fetched(const std::vector<Asked>& asked, Outcomes result);
  void send_commits();

  Settings settings_;
  ConsumerOptions options_;
  ConsumerEvents& owner_;
  boost::asio::io_context& io_;
  std::shared_ptr<runtime::postgres::Pool> reads_, writes_;
  std::map<Partition, Reading> reading_;
  std::uint64_t epochs_ = 0;
  std::uint32_t divide_ = 1;  // the fetch, by this
  bool fetching_ = false;     // under way, or its timer runs
  bool again_ = false;        // woken meanwhile
  bool assigned_ = false;
  std::map<Partition, Offset> commits_;
  boost::asio::steady_timer timer_;
  std::shared_ptr<int> alive_ = std::make_shared<int>();
};

}  // namespace parley::eventlog::postgres
