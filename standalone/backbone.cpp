#include "standalone/backbone.h"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <chrono>

#include "runtime/config.h"
#include "runtime/log.h"
#include "store/postgres/schema.h"
#include "store/postgres/writer.h"

namespace parley::standalone {

namespace {

constexpr auto kAgain = std::chrono::milliseconds(500);

}  // namespace

Backbone::Backbone(Parts parts) : parts_(std::move(parts)) {
  for (const char* check : {"store", "log", "ring"}) parts_.health.declare(check);
  thread_ = std::thread([this] { run(); });
}

Backbone::~Backbone() {
  {
    std::lock_guard lock(mutex_);
    ending_ = true;
  }
  ended_.notify_all();
  io_.stop();
  thread_.join();
}

void Backbone::run() {
  auto work = boost::asio::make_work_guard(io_);
  try {
    if (!migrate()) return;
    store_ = std::make_unique<store::postgres::Client>(io_, parts_.postgres);
    log_ = eventlog::postgres::make_log(parts_.log, io_);
    opening_.emplace(
        io_, *log_, [this](eventlog::Topic topic) { begin(std::move(topic)); }, [this](const std::string&) { parts_.failed(runtime::kExitConfig); });
    io_.run();
  } catch (const std::exception& fault) {
    runtime::log::error("standalone.failed", {{"error", fault.what()}});
    parts_.failed(1);
  }
  parts_.over();
  persister_.reset();
  router_.reset();
  opening_.reset();
  log_.reset();
  store_.reset();
}

// Nothing else runs on this thread yet, so it may block; who asks to stop meanwhile is answered between two attempts.
bool Backbone::migrate() {
  while (true) {
    auto schema = store::postgres::migrate(parts_.postgres.dsn);
    if (schema) return true;
    parts_.health.not_ready("store", schema.error().message);
    runtime::log::limited(runtime::log::Level::warn, "standalone.schema", "", {{"error", schema.error().message}});
    io_.poll();
    std::unique_lock lock(mutex_);
    if (ended_.wait_for(lock, kAgain, [this] { return ending_; })) return false;
  }
}

void Backbone::begin(eventlog::Topic topic) {
  router_.emplace(parts_.router, router::Service::Ports{io_, parts_.clock, *log_, store_->reader(), parts_.metrics, parts_.health}, std::move(topic));
  router_->start();
  persister_.emplace(parts_.persister, persister::ServicePorts{.io = io_,
                                                               .log = *log_,
                                                               .writer = std::make_unique<store::postgres::Writer>(parts_.postgres.dsn),
                                                               .prepare = [] { return store::Result<void>{}; },  // migrated above
                                                               .clock = parts_.clock,
                                                               .metrics = parts_.metrics,
                                                               .health = parts_.health,
                                                               .dead_letter = {}});
  persister_->start();
  parts_.ready(router_->in_process_channel());
}

void Backbone::post(std::function<void()> work) { boost::asio::post(io_, std::move(work)); }

void Backbone::stop_persister(std::function<void()> done) {
  post([this, done = std::move(done)] { persister_ ? persister_->stop(done) : done(); });
}

void Backbone::stop_router(std::function<void()> done) {
  post([this, done = std::move(done)] { router_ ? router_->stop(done) : done(); });
}

}  // namespace parley::standalone
