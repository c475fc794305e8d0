// PostgreSQL's producer side of the log: one batch, one transaction, one at a time.
//
//   produce -> queue -> batch (lock partitions in order, take offsets, insert, commit) -> notify, done
//
// A batch that fails is not sent again: its outcome is unknown (R24). The next one goes out only after the owner was told, so
// that by purging he can keep later entries from landing without the earlier ones.
//
// Thread: that of the io_context.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "eventlog/log.h"
#include "eventlog/postgres/postgres_log.h"
#include "runtime/postgres/pool.h"

namespace parley::eventlog::postgres {

class PostgresProducer final : public Producer {
 public:
  using Done = std::move_only_function<void(std::expected<Offset, Error>)>;

  // `committed` is called after each batch, before its owners are told.
  PostgresProducer(const Settings& settings, boost::asio::io_context& io, std::function<void()> committed);
  ~PostgresProducer() override = default;

  std::expected<void, Error> produce(Partition partition, std::string_view key, std::string_view value, std::string_view traceparent, Done done) override;
  void purge(Partition partition) override;
  void flush(std::move_only_function<void()> done) override;

 private:
  struct Attempt {
    Partition partition;
    std::uint64_t number;
    std::chrono::steady_clock::time_point deadline;
    Done done;  // empty: answered
    std::string key, value, traceparent;
    std::size_t bytes() const { return key.size() + value.size() + traceparent.size(); }
  };
  struct Flush {
    std::uint64_t upto;
    std::size_t unanswered;
    std::move_only_function<void()> done;
  };
  struct Outcome {
    Done done;
    std::expected<Offset, Error> result;
  };

  void send();
  void on_batch(runtime::postgres::Pool::Outcomes result);
  void settle(Attempt& attempt, std::expected<Offset, Error> result, std::vector<Outcome>& outcomes);
  bool tell(std::vector<Outcome> outcomes);  // false: the owner destroyed this
  void tell_later(std::vector<Outcome> outcomes);
  void wait_expiry();
  void expire();

  Settings settings_;
  boost::asio::io_context& io_;
  std::function<void()> committed_;
  runtime::postgres::Pool pool_;
  std::deque<Attempt> queue_;
  std::vector<Attempt> batch_;  // under way; ordered by partition, then as produced
  bool sending_ = false;
  std::size_t bytes_ = 0, unanswered_ = 0;
  std::uint64_t produced_ = 0;
  std::deque<Flush> flushes_;
  boost::asio::steady_timer timer_;
  std::shared_ptr<int> alive_ = std::make_shared<int>();
};

}  // namespace parley::eventlog::postgres
