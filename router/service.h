// The router as a process runs it: the Core between the gateways' streams, the log and PostgreSQL.
//
//   Members -> ring -> Placement -> takeover (R17: committed offsets asked from the log) -> Core::own / disown
//   LinkServer -> Core -> LinkServer;  Consumer -> Core;  store::Reader -> Core
//
// Threads: everything happens on the io_context's thread. Stopping: close the listener, so that the peers take over while the
// open streams go on (make before break), then end.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <memory>
#include <string>

#include "eventlog/log.h"
#include "router/core.h"
#include "router/link_server.h"
#include "router/members.h"
#include "router/placement.h"
#include "router/router_metrics.h"
#include "runtime/health.h"
#include "runtime/metrics.h"
#include "store/store.h"

namespace parley::runtime {
class Config;
}

namespace parley::router {

struct ServiceSettings {
  Settings core;
  LinkSettings link;
  MemberSettings members;             // empty self: link.listen; empty source: self alone
  std::uint32_t handover_ms = 4'000;  // a partition that the ring gave to another is kept this long: beyond the other's intake wait
};

// router.*: where this router and the others are, which the small profile does not ask ...
void declare_peers(runtime::Config& config, ServiceSettings& settings);
// ... and everything else.
void declare(runtime::Config& config, ServiceSettings& settings);
// What the limits.* of all roles mean here.
void apply(const chat::Limits& limits, ServiceSettings& settings);

class Service final : public eventlog::ConsumerEvents {
 public:
  struct Ports {
    boost::asio::io_context& io;
    const runtime::Clock& clock;
    eventlog::Log& log;
    store::Reader& reader;
    runtime::Metrics& metrics;
    runtime::Health& health;  // checks "ring", "log", "store"
  };

  // `topic`: as the log's open() told. Listens at once; throws if it cannot or if the settings cannot be read.
  Service(ServiceSettings settings, Ports ports, eventlog::Topic topic);
  ~Service() override;

  void start();
  // Hands over to the peers, then calls `done`; the Service is to be destroyed after it.
  void stop(std::function<void()> done);

  int port() const { return link_.port(); }
  std::shared_ptr<grpc::Channel> in_process_channel() { return link_.in_process_channel(); }
  Core::Stats stats() const { return core_->stats(); }

 private:
  struct Asked;  // one round of takeover questions

  void on_entries(Partition partition, std::span<const eventlog::Entry> entries, Offset end) override;
  void on_out_of_range(Partition partition, Offset begin) override;

  void on_members(const std::vector<std::string>& reachable);
  void take(const std::vector<Partition>& partitions);
  void ask_identity();
  void ask_takeover();
  void on_takeover(const Asked& asked);
  void leave(const std::vector<Partition>& partitions);
  void give_up(Partition partition);
  void tick();
  void ask_positions();

  const ServiceSettings settings_;
  Ports ports_;
  const eventlog::Topic topic_;
  RouterMetrics metrics_;
  LinkServer link_;
  std::unique_ptr<eventlog::Consumer> consumer_;
  std::unique_ptr<Core> core_;
  Placement placement_;
  Members members_;
  link::Ring ring_;
  std::vector<Partition> wanted_;  // to be taken over
  bool asking_ = false;
  bool store_is_ours_ = false;  // PostgreSQL was seen to hold the fold of this log
  std::size_t stopped_ = 0;     // partitions, as last seen
  boost::asio::steady_timer ticker_, stopping_;
  std::uint64_t next_second_ms_ = 0, next_ask_ms_ = 0, ask_again_ms_ = 200;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // answers may come after this is gone
};

}  // namespace parley::router
