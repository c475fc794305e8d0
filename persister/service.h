// The persister as a part of a process: its own (main.cpp), or the small profile's.
//
//   Log --entries--> Service (event loop) --Inbox--> Storing (own thread) --> store::Writer
//                        <-- position, lost, stopped, due --
//
// Joins the consumer group, starts every assigned partition at the store's position and nowhere else (R11), pauses what the
// writing thread cannot take, commits the group's offsets behind the store (R17 reads them), turns due schedules into records
// (R10), deletes from the log what is stored and old (R13). A partition that cannot be read or folded stops, with a metric and
// a log line; it never skips (R6, R13).
//
// Thread: that of the io_context, except that the given writer and `prepare` are used on a thread of the Service's own.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "eventlog/log.h"
#include "persister/storing.h"
#include "runtime/config.h"
#include "runtime/health.h"
#include "runtime/metrics.h"

namespace parley::persister {

struct ServiceSettings {
  Settings worker;
  std::string group = "parley-persister";  // no setting: routers ask for its offsets by this name; tests have rivals
  std::string member;                      // static membership in the group; empty: none
  std::uint32_t fetch_min_bytes = 65'536;  // the log lets entries gather up to this ...
  std::uint32_t fetch_wait_ms = 20;        // ... for so long
  std::uint32_t due_every_ms = 1'000;      // how often due schedules are looked for
  std::uint32_t keep_hours = 24;           // R13: what is stored and older is deleted from the log; 0: nothing ever
  std::uint32_t trim_every_ms = 60'000;    // tests look more often
};

// persister.*
void declare(runtime::Config& config, ServiceSettings& settings);

struct ServicePorts {
  boost::asio::io_context& io;
  eventlog::Log& log;
  std::unique_ptr<store::Writer> writer;
  std::function<store::Result<void>()> prepare;  // before the writer is used: migrations
  const runtime::Clock& clock;
  runtime::Metrics& metrics;
  runtime::Health& health;
  // What was stored without its body (R12); called on the io_context's thread. May be empty.
  std::function<void(Partition, const store::StoredEvent&, const std::string& why)> dead_letter;
};

class Service final : public eventlog::ConsumerEvents {
 public:
  Service(ServiceSettings settings, ServicePorts ports);
  ~Service() override;  // blocks until the batch in hand is written; call `stop` first to wait for that without blocking

  void start();
  // Finishes the batch in hand, commits, leaves the group; then `done`, on the io_context's thread.
  void stop(std::function<void()> done);

  // Partitions that stopped and need a person, with the reason.
  const std::map<Partition, std::string>& stopped() const { return stopped_; }

  void on_entries(Partition partition, std::span<const eventlog::Entry> entries, Offset end) override;
  void on_out_of_range(Partition partition, Offset begin) override;
  void on_assigned(std::span<const Partition> partitions) override;
  void on_lost(std::span<const Partition> partitions) override;
  void on_failed(const std::string& why) override;

 private:
  struct Numbers;  // metrics
  void open_log();
  void opened(const store::Result<void>& outcome);
  void join_group();
  void trim();
  void restart(Partition partition);
  void stop_partition(Partition partition, std::string why);
  void stored(const Stored& report);
  void aside(Partition partition, std::string why);
  void no_longer_aside(Partition partition);
  void fire(const std::vector<store::StoredSchedule>& due, Partition partition);
  Reports reports();
  template <class... Args, class Then>
  std::function<void(Args...)> on_loop(Then then);

  ServiceSettings settings_;
  boost::asio::io_context& io_;
  eventlog::Log& log_;
  const runtime::Clock& clock_;
  runtime::Health& health_;
  std::unique_ptr<Numbers> numbers_;
  std::function<void(Partition, const store::StoredEvent&, const std::string&)> dead_letter_;

  Inbox inbox_;
  std::unique_ptr<Storing> storing_;
  std::unique_ptr<eventlog::Consumer> consumer_;
  std::unique_ptr<eventlog::Producer> producer_;
  std::map<Partition, Epoch> epochs_;  // of partitions we hold
  Epoch last_epoch_ = 0;
  std::map<Partition, Offset> positions_;  // of those, as last told
  std::map<Partition, Offset> trimmed_;
  std::set<Partition> trimming_;  // a first deletion may outlast many rounds
  std::map<Partition, std::string> stopped_;
  std::map<Partition, std::string> aside_;                      // with what PostgreSQL said last
  std::map<std::pair<Partition, Offset>, chat::TimeMs> fired_;  // schedules made into records lately
  boost::asio::steady_timer retry_, trim_;
  std::function<void()> done_;
  bool begun_ = false;
  std::shared_ptr<int> alive_ = std::make_shared<int>();
};

}  // namespace parley::persister
