// One gateway shard, wired: sockets, REST, Core, the streams to the routers, the log and the store of one io_context.
//
//   Server <-> Core -> Producer (log);  LinkClient <-> Core;  Core, Rest -> Reader, Accounts;  RouterList -> LinkClient, Core
//
// A process has any number of shards; they share nothing but settings, metrics and the port. Everything happens on the
// io_context's thread. The io_context must not run any more when this is destroyed.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <memory>
#include <string>

#include "eventlog/log.h"
#include "gateway/auth/passwords.h"
#include "gateway/auth/tokens.h"
#include "gateway/core/barrier_reads.h"
#include "gateway/core/core.h"
#include "gateway/http/rest.h"
#include "gateway/link/link_client.h"
#include "gateway/link/router_list.h"
#include "gateway/server/server.h"
#include "runtime/health.h"
#include "runtime/metrics.h"

namespace parley::runtime {
class Config;
}

namespace parley::gateway {

struct ServiceSettings {
  Settings core;  // `limits` are declared by runtime/limits.h
  ServerSettings server;
  http::RestSettings rest;
  PasswordSettings passwords;
  LinkSettings link;
  std::string routers;  // as RouterList reads it
  std::uint32_t routers_reread_ms = 2'000;
  std::string jwt_secret;
  std::string tls_certificate, tls_key;  // PEM files; empty: no TLS
  std::uint32_t drain_window_ms = 5'000, drain_deadline_ms = 20'000;
};

// gateway.*, auth.*
void declare(runtime::Config& config, ServiceSettings& settings);
// gateway.*: where the routers are, which the small profile does not ask.
void declare_routers(runtime::Config& config, ServiceSettings& settings);
// Lowers max_connections to what `descriptors` allow, over all threads, and warns: a process without a descriptor left cannot even reach its database.
void fit_connections(ServiceSettings& settings, std::uint32_t threads, std::uint64_t descriptors);

// What may wait for a router, with room for all connections registering at once: a stream that breaks on that breaks on the next try as well.
LinkSettings with_room(LinkSettings link, std::uint32_t max_connections);

class Service {
 public:
  struct Ports {
    boost::asio::io_context& io;
    runtime::Clock& clock;
    eventlog::Log& log;
    store::Reader& reader;
    store::Accounts& accounts;
    runtime::Metrics& metrics;
    runtime::Health& health;
    const TlsContext* tls = nullptr;
    LinkClient::Connect connect = {};  // small profile: the in-process channel
  };

  // `name`: of this shard, in logs, links and health checks. `topic` and `ends`: as the log told just now (R21: progress
  // begins at the ends). Listens at once; throws if it cannot.
  Service(const ServiceSettings& settings, Ports ports, std::string name, eventlog::Topic topic, std::vector<chat::Offset> ends);
  ~Service();

  void start();
  // P6: no new connections, goaway to everyone, closes at the deadline; then what was produced is flushed, and `done`.
  void drain(std::function<void()> done);

  std::uint16_t port() const { return server_.port(); }
  Core::Stats stats() const { return core_->stats(); }

 private:
  // Times what goes through it: the `log` stage.
  class TimedProducer;

  void tick();
  void tick_metrics();
  void tick_drain();
  void on_routers(const std::vector<std::string>& names);

  const ServiceSettings settings_;
  Ports ports_;
  const std::string name_;
  JwtTokens tokens_;
  Passwords passwords_;
  http::Rest rest_;
  Server server_;
  std::unique_ptr<eventlog::Producer> producer_;
  LinkClient link_;
  std::unique_ptr<Core> core_;
  const std::uint32_t partitions_;
  BarrierReads reads_;
  RouterList routers_;
  runtime::Histogram deliver_;
  runtime::Gauge sessions_, unanswered_, links_, behind_, silent_partitions_, reads_waiting_;
  Core::Stats counted_;  // what this shard last added to the gauges
  boost::asio::steady_timer ticker_;
  std::uint64_t next_metrics_ms_ = 0;
  bool draining_ = false;          // for good
  std::function<void()> drained_;  // until it is
  std::uint64_t give_up_ms_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace parley::gateway
