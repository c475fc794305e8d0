// parley-router: folds the partitions it owns and delivers what comes of it.
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <optional>
#include <thread>

#include "eventlog/kafka/kafka_log.h"
#include "eventlog/opening.h"
#include "router/service.h"
#include "runtime/admin.h"
#include "runtime/lifecycle.h"
#include "runtime/limits.h"
#include "runtime/log.h"
#include "runtime/process.h"
#include "store/postgres/client.h"

int main(int argc, char** argv) try {
  using namespace parley;
  using namespace std::chrono_literals;

  runtime::ProcessSettings process;
  chat::Limits limits;
  eventlog::kafka::Settings kafka;
  store::postgres::Settings postgres{.dsn = {}, .accounts = 0};
  router::ServiceSettings settings;
  runtime::Config config("parley-router", "Folds the partitions it owns and delivers what comes of it to the gateways.");
  runtime::declare(config, process);
  runtime::declare(config, limits);
  eventlog::kafka::declare(config, kafka);
  store::postgres::declare(config, postgres);
  router::declare_peers(config, settings);
  router::declare(config, settings);
  if (auto exit = config.start(argc, argv)) return *exit;
  runtime::start_process(process, "router");
  router::apply(limits, settings);
  kafka.client_id = process.instance;

  runtime::Lifecycle lifecycle;
  runtime::SystemClock clock;
  runtime::Metrics metrics("router", process.instance);
  runtime::Health health(clock);
  for (const char* check : {"ring", "log", "store"}) health.declare(check);
  runtime::Admin admin(process.admin, metrics, health, config.json(), [&] { lifecycle.stop(); });

  boost::asio::io_context io{1};
  auto log = eventlog::kafka::make_log(kafka, io);
  store::postgres::Client store(io, postgres);
  std::optional<router::Service> service;
  eventlog::Opening opening(
      io, *log,
      [&](eventlog::Topic topic) {
        try {
          service.emplace(settings, router::Service::Ports{io, clock, *log, store.reader(), metrics, health}, std::move(topic));
          service->start();
        } catch (const std::exception& fault) {  // a port that is taken, a member list that cannot be read
          runtime::log::error("router.cannot_start", {{"error", fault.what()}});
          lifecycle.stop(1);
        }
      },
      [&](const std::string&) { lifecycle.stop(runtime::kExitConfig); });
  auto work = boost::asio::make_work_guard(io);
  std::thread thread([&] { io.run(); });

  lifecycle.step("hand over", 15s, [&](auto done) { boost::asio::post(io, [&, done] { service ? service->stop(done) : done(); }); });
  int exit_code = lifecycle.wait();
  // What is left is destroyed when its thread does not run any more.
  io.stop();
  thread.join();
  return exit_code;
} catch (const std::exception& fault) {  // a file that cannot be read, a port that is taken
  parley::runtime::log::error("router.cannot_start", {{"error", fault.what()}});
  return 1;
}
