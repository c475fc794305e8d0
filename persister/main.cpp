// parley-persister: the log's fold into PostgreSQL.
#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstdlib>
#include <thread>

#include "eventlog/kafka/kafka_log.h"
#include "persister/service.h"
#include "runtime/admin.h"
#include "runtime/lifecycle.h"
#include "runtime/log.h"
#include "runtime/process.h"
#include "store/postgres/client.h"
#include "store/postgres/schema.h"
#include "store/postgres/writer.h"

namespace parley::persister {
namespace {

// R12: bodies that PostgreSQL refused, under their conversation's id.
class DeadLetters {
 public:
  DeadLetters(eventlog::kafka::Settings settings, const std::string& topic, boost::asio::io_context& io) {
    settings.topic = topic;
    log_ = eventlog::kafka::make_log(std::move(settings), io);
    producer_ = log_->producer();
    log_->open([this](std::expected<eventlog::Topic, eventlog::Error> opened) {
      if (opened)
        partitions_ = opened->partitions;
      else
        runtime::log::warn("persister.dead_letters", {{"why", opened.error().message}});
    });
  }

  void keep(const store::StoredEvent& event) {
    const chat::Partition partition = chat::partition_of(event.event.conversation, std::max(1u, partitions_));
    const auto told = [offset = event.offset](const std::expected<chat::Offset, eventlog::Error>& kept) {
      if (!kept) runtime::log::error("persister.dead_letter_lost", {{"offset", offset.value}, {"why", kept.error().message}});
    };
    if (const auto taken = producer_->produce(partition, chat::to_text(event.event.conversation), event.event.body, "", told); !taken)
      told(std::unexpected(taken.error()));
  }

 private:
  std::unique_ptr<eventlog::Log> log_;
  std::unique_ptr<eventlog::Producer> producer_;
  std::uint32_t partitions_ = 0;
};

// Says that the loop turns.
void beat(boost::asio::steady_timer& timer, runtime::Health& health) {
  health.beat("loop");
  timer.expires_after(std::chrono::seconds(1));
  timer.async_wait([&](boost::system::error_code error) {
    if (!error) beat(timer, health);
  });
}

int run(int argc, char** argv) {
  runtime::ProcessSettings process;
  eventlog::kafka::Settings kafka;
  std::string dead_letter_topic = "parley.dlq", dsn;
  ServiceSettings settings;
  runtime::Config config("parley-persister", "Folds the log into PostgreSQL, exactly once.");
  declare(config, process);
  declare(config, kafka);
  config.text("kafka.dead_letter_topic", dead_letter_topic, "Takes the bodies that PostgreSQL refused; empty: they are only logged.");
  store::postgres::declare_dsn(config, dsn);
  declare(config, settings);
  if (const auto exit = config.start(argc, argv)) return *exit;

  runtime::Lifecycle lifecycle;
  start_process(process, "persister");
  const runtime::SystemClock clock;
  runtime::Metrics metrics("persister", process.instance);
  runtime::Health health(clock);
  boost::asio::io_context io(1);
  auto work = boost::asio::make_work_guard(io);
  kafka.client_id = process.instance;

  const auto log = eventlog::kafka::make_log(kafka, io);
  std::unique_ptr<DeadLetters> dead_letters;
  if (!dead_letter_topic.empty()) dead_letters = std::make_unique<DeadLetters>(kafka, dead_letter_topic, io);
  const auto migrate = [&dsn]() -> store::Result<void> {
    if (auto there = store::postgres::migrate(dsn); !there) return std::unexpected(there.error());
    return {};
  };
  Service service(settings, {.io = io,
                             .log = *log,
                             .writer = std::make_unique<store::postgres::Writer>(dsn),
                             .prepare = migrate,
                             .clock = clock,
                             .metrics = metrics,
                             .health = health,
                             .dead_letter = [&](chat::Partition, const store::StoredEvent& event, const std::string&) {
                               if (dead_letters) dead_letters->keep(event);
                             }});
  boost::asio::steady_timer pulse(io);
  const runtime::Admin admin(process.admin, metrics, health, config.json(), [&] { lifecycle.stop(); });
  runtime::log::info("persister.start", {{"version", runtime::version()}, {"admin_port", admin.port()}});

  boost::asio::post(io, [&] {
    beat(pulse, health);
    service.start();
  });
  std::thread loop([&] { io.run(); });
  std::atomic<bool> ended = false;
  lifecycle.step("finish the batch, commit, leave the group", std::chrono::seconds(20), [&](runtime::Lifecycle::Done done) {
    boost::asio::post(io, [&, done = std::move(done)] {
      service.stop([&ended, done] {
        ended = true;
        done();
      });
    });
  });
  const int exit = lifecycle.wait();
  // The writing thread is in a call that may last, a migration say. PostgreSQL undoes what is not committed, and a successor goes on (R11).
  if (!ended) std::_Exit(exit);
  io.stop();
  loop.join();
  return exit;
}

}  // namespace
}  // namespace parley::persister

int main(int argc, char** argv) try { return parley::persister::run(argc, argv); } catch (const std::exception& fault) {  // a port that is taken
  parley::runtime::log::error("persister.cannot_start", {{"error", fault.what()}});
  return 1;
}
