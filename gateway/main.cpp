// parley-gateway: accepts clients and speaks for them. One shard per thread; see service.h.
#include <csignal>
#include <thread>

#include "eventlog/kafka/kafka_log.h"
#include "gateway/shard.h"
#include "runtime/admin.h"
#include "runtime/config.h"
#include "runtime/lifecycle.h"
#include "runtime/limits.h"
#include "runtime/log.h"
#include "runtime/process.h"
#include "store/postgres/client.h"

using namespace parley;

int main(int argc, char** argv) {
  runtime::Lifecycle lifecycle;
  std::signal(SIGPIPE, SIG_IGN);  // OpenSSL writes to sockets that peers have closed

  runtime::ProcessSettings process;
  gateway::ServiceSettings settings;
  eventlog::kafka::Settings kafka;
  store::postgres::Settings postgres;
  std::uint32_t threads = 1;
  runtime::Config config("parley-gateway", "Accepts clients over WebSocket and REST, and speaks for them to the log and the routers.");
  runtime::declare(config, process);
  runtime::declare(config, settings.core.limits);
  gateway::declare(config, settings);
  gateway::declare_routers(config, settings);
  config.number("gateway.threads", threads, 1, 256, "Threads that serve, each a gateway of its own on the same port.");
  eventlog::kafka::declare(config, kafka);
  store::postgres::declare(config, postgres);
  if (auto exit = config.start(argc, argv)) return *exit;
  runtime::start_process(process, "gateway");
  gateway::fit_connections(settings, threads, runtime::descriptor_limit());
  kafka.client_id = process.instance;

  runtime::SystemClock clock;
  runtime::Metrics metrics("gateway", process.instance);
  runtime::Health health(clock);
  std::unique_ptr<gateway::TlsContext> tls;
  std::vector<std::unique_ptr<gateway::Shard>> shards;
  try {
    if (!settings.tls_certificate.empty()) tls = std::make_unique<gateway::TlsContext>(settings.tls_certificate, settings.tls_key);
    for (std::uint32_t i = 0; i < threads; ++i) {
      auto make_log = [kafka](boost::asio::io_context& io) { return eventlog::kafka::make_log(kafka, io); };
      shards.push_back(std::make_unique<gateway::Shard>(gateway::Shard::Parts{.name = process.instance + "." + std::to_string(i),
                                                                              .settings = settings,
                                                                              .postgres = postgres,
                                                                              .make_log = make_log,
                                                                              .clock = clock,
                                                                              .metrics = metrics,
                                                                              .health = health,
                                                                              .tls = tls.get(),
                                                                              .failed = [&lifecycle](int exit_code) { lifecycle.stop(exit_code); }}));
    }
    runtime::Admin admin(process.admin, metrics, health, config.json(), [&lifecycle] { lifecycle.stop(); });
    for (auto& shard : shards) shard->start();
    auto limit = std::chrono::milliseconds(settings.drain_deadline_ms + 10'000);
    lifecycle.step("drain", limit, [&shards](auto done) { gateway::drain(shards, std::move(done)); });
    auto code = lifecycle.wait();
    for (auto& shard : shards) shard->stop();
    return code;
  } catch (const std::exception& error) {
    runtime::log::error("gateway.cannot_start", {{"error", error.what()}});
    return 1;
  }
}
