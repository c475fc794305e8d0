// parley-standalone: gateway, router and persister in one process beside PostgreSQL. The small profile: no Kafka, the same fold, the same
// tables, the same protocol.
//
//   shard threads (gateway) --in-process gRPC--> backbone thread (router, persister) --> PostgreSQL (log and store)
#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "gateway/shard.h"
#include "runtime/admin.h"
#include "runtime/lifecycle.h"
#include "runtime/limits.h"
#include "runtime/log.h"
#include "runtime/process.h"
#include "standalone/backbone.h"

int main(int argc, char** argv) try {
  using namespace parley;
  using namespace std::chrono_literals;
  runtime::Lifecycle lifecycle;

  runtime::ProcessSettings process;
  gateway::ServiceSettings gateway;
  router::ServiceSettings router;
  persister::ServiceSettings persister;
  eventlog::postgres::Settings log;
  store::postgres::Settings postgres;
  std::uint32_t threads = 1;
  runtime::Config config("parley-standalone", "Gateway, router and persister in one process beside PostgreSQL.");
  runtime::declare(config, process);
  runtime::declare(config, gateway.core.limits);
  gateway::declare(config, gateway);
  config.number("gateway.threads", threads, 1, 256, "Threads that serve, each a gateway of its own on the same port.");
  router::declare(config, router);
  persister::declare(config, persister);
  store::postgres::declare(config, postgres);
  eventlog::postgres::declare(config, log);
  if (auto exit = config.start(argc, argv)) return *exit;
  runtime::start_process(process, "standalone");
  gateway::fit_connections(gateway, threads, runtime::descriptor_limit());
  // The one router, reached in-process; the name only has to be the same everywhere.
  const std::string router_name = "standalone:1";
  gateway.routers = router_name;
  router.members = {.self = router_name, .source = {router_name}};
  router.link.listen.clear();
  router::apply(gateway.core.limits, router);
  log.dsn = postgres.dsn;
  auto backbone_postgres = postgres;
  backbone_postgres.accounts = 0;

  runtime::SystemClock clock;
  runtime::Metrics metrics("standalone", process.instance);
  runtime::Health health(clock);
  health.declare("gateway");
  std::unique_ptr<gateway::TlsContext> tls;
  if (!gateway.tls_certificate.empty()) tls = std::make_unique<gateway::TlsContext>(gateway.tls_certificate, gateway.tls_key);

  // Made, started and drained on the backbone's thread.
  std::vector<std::unique_ptr<gateway::Shard>> shards;
  auto serve = [&](const std::shared_ptr<grpc::Channel>& channel) {
    for (std::uint32_t i = 0; i < threads; ++i) {
      shards.push_back(std::make_unique<gateway::Shard>(gateway::Shard::Parts{
          .name = process.instance + "." + std::to_string(i),
          .settings = gateway,
          .postgres = postgres,
          .make_log = [log](boost::asio::io_context& io) { return eventlog::postgres::make_log(log, io); },
          .clock = clock,
          .metrics = metrics,
          .health = health,
          .tls = tls.get(),
          .connect = [channel](const std::string&) { return channel; },
          .failed = [&](int exit_code) { lifecycle.stop(exit_code); },
      }));
      shards.back()->start();
    }
    health.ready("gateway");
  };
  std::optional<standalone::Backbone> backbone;
  backbone.emplace(standalone::Backbone::Parts{.log = log,
                                               .postgres = backbone_postgres,
                                               .router = router,
                                               .persister = persister,
                                               .clock = clock,
                                               .metrics = metrics,
                                               .health = health,
                                               .ready = serve,
                                               .over =
                                                   [&] {
                                                     for (auto& shard : shards) shard->stop();
                                                   },
                                               .failed = [&](int exit_code) { lifecycle.stop(exit_code); }});
  runtime::Admin admin(process.admin, metrics, health, config.json(), [&] { lifecycle.stop(); });

  lifecycle.step("drain the gateway", std::chrono::milliseconds(gateway.drain_deadline_ms) + 10s,
                 [&](auto done) { backbone->post([&, done] { gateway::drain(shards, done); }); });
  lifecycle.step("finish the batch", 20s, [&](auto done) { backbone->stop_persister(done); });
  lifecycle.step("end the router", 10s, [&](auto done) { backbone->stop_router(done); });
  int exit_code = lifecycle.wait();
  backbone.reset();
  return exit_code;
} catch (const std::exception& fault) {  // a file that cannot be read, a port that is taken
  parley::runtime::log::error("standalone.cannot_start", {{"error", fault.what()}});
  return 1;
}
