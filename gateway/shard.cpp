#include "gateway/shard.h"

#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>

#include "runtime/config.h"
#include "runtime/log.h"
#include "store/postgres/schema.h"

namespace parley::gateway {

namespace log = runtime::log;

namespace {
constexpr auto kAgain = std::chrono::milliseconds(300);
}

Shard::Shard(Parts parts) : parts_(std::move(parts)) {
  parts_.health.declare("schema " + name());
  parts_.health.declare("log " + name());
  parts_.health.declare("store " + name());
  parts_.health.declare("routers " + name());  // the Service's own: ready must not be said between the two
}

Shard::~Shard() { stop(); }

void Shard::start() {
  thread_ = std::thread([this] {
    auto work = boost::asio::make_work_guard(io_);
    io_.run();
  });
  schema_thread_ = std::thread([this] { check_schema(); });
}

void Shard::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  if (schema_thread_.joinable()) schema_thread_.join();
  io_.stop();
  if (thread_.joinable()) thread_.join();
  service_.reset();
  opening_.reset();
  store_.reset();
  log_.reset();
}

void Shard::check_schema() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    lock.unlock();
    auto state = store::postgres::check_schema(parts_.postgres.dsn);
    if (state) {
      parts_.health.ready("schema " + name());
      boost::asio::post(io_, [this] { open_log(); });
      return;
    }
    // Not fitting may only mean not yet: the persister migrates when it starts.
    parts_.health.not_ready("schema " + name(), state.error().message);
    log::limited(log::Level::warn, "gateway.schema", name(), {{"shard", name()}, {"error", state.error().message}});
    lock.lock();
    wake_.wait_for(lock, kAgain, [this] { return stopping_; });
  }
}

void Shard::give_up(const std::string& what, const std::string& message) {
  log::error("gateway." + what, {{"shard", name()}, {"error", message}});
  parts_.failed(runtime::kExitConfig);
}

void Shard::open_log() {
  try {
    store_ = std::make_unique<store::postgres::Client>(io_, parts_.postgres);
    log_ = parts_.make_log(io_);
  } catch (const std::exception& error) {
    return give_up("log", error.what());
  }
  opening_ = std::make_unique<eventlog::Opening>(
      io_, *log_, [this](eventlog::Topic topic) { check_store(std::move(topic)); }, [this](const std::string& message) { give_up("log", message); });
}

// R13: a database that holds the fold of another log answers every read with nonsense.
void Shard::check_store(eventlog::Topic topic) {
  store_->reader().identity([this, topic](store::Result<std::optional<store::Identity>> stored) {
    const store::Identity mine{topic.id, topic.partitions};
    std::string why;
    if (!stored)
      why = stored.error().message;
    else if (!*stored)
      why = "no persister has been there yet";
    else if (**stored != mine)
      why = store::mismatch(**stored, mine);
    if (why.empty()) {
      parts_.health.ready("store " + name());
      return ask_ends(topic);
    }
    parts_.health.not_ready("store " + name(), why);
    log::limited(log::Level::warn, "gateway.store", name(), {{"shard", name()}, {"error", why}});
    retry_.expires_after(kAgain);
    retry_.async_wait([this, topic](boost::system::error_code stopped) {
      if (!stopped) check_store(topic);
    });
  });
}

void Shard::ask_ends(eventlog::Topic topic) {
  log_->ends([this, topic](std::expected<std::vector<chat::Offset>, eventlog::Error> ends) {
    if (ends) return serve(topic, std::move(*ends));
    log::limited(log::Level::warn, "gateway.log", name(), {{"shard", name()}, {"error", ends.error().message}});
    retry_.expires_after(kAgain);
    retry_.async_wait([this, topic](boost::system::error_code stopped) {
      if (!stopped) ask_ends(topic);
    });
  });
}

void Shard::serve(eventlog::Topic topic, std::vector<chat::Offset> ends) {
  if (draining_) return;
  parts_.health.ready("log " + name());
  try {
    service_ = std::make_unique<Service>(parts_.settings,
                                         Service::Ports{.io = io_,
                                                        .clock = parts_.clock,
                                                        .log = *log_,
                                                        .reader = store_->reader(),
                                                        .accounts = store_->accounts(),
                                                        .metrics = parts_.metrics,
                                                        .health = parts_.health,
                                                        .tls = parts_.tls,
                                                        .connect = parts_.connect},
                                         name(), std::move(topic), std::move(ends));
  } catch (const std::exception& error) {
    return give_up("listen", error.what());
  }
  service_->start();
}

void Shard::drain(std::function<void()> done) {
  boost::asio::post(io_, [this, done = std::move(done)]() mutable {
    draining_ = true;
    if (!service_) return done();
    service_->drain(std::move(done));
  });
}

void drain(const std::vector<std::unique_ptr<Shard>>& shards, std::function<void()> done) {
  if (shards.empty()) return done();
  auto left = std::make_shared<std::atomic<std::size_t>>(shards.size());
  for (auto& shard : shards) {
    shard->drain([left, done] {
      if (--*left == 0) done();
    });
  }
}

}  // namespace parley::gateway
