#include "eventlog/contract_subjects.h"

#include <boost/asio/io_context.hpp>

#include "eventlog/kafka/kafka_log.h"
#include "eventlog/memory/memory_log.h"
#include "eventlog/postgres/postgres_log.h"
#include "runtime/clock.h"
#include "tests/services/services.h"

namespace parley::eventlog::test {
namespace {

// Generous: the suite asks what is promised, outage_test.cpp how soon.
constexpr std::uint32_t kPatienceMs = 15'000;

class MemorySubject final : public Subject {
 public:
  explicit MemorySubject(const Wish& wish)
      : broker_({.partitions = wish.partitions, .queue_entries = wish.queue_entries, .entry_bytes = wish.entry_bytes}, clock_) {}
  std::unique_ptr<Log> connect() override { return std::make_unique<memory::MemoryLog>(broker_); }
  void turn() override { broker_.step(); }

 private:
  runtime::SystemClock clock_;
  memory::MemoryBroker broker_;
};

class KafkaSubject final : public Subject {
 public:
  explicit KafkaSubject(const Wish& wish) : wish_(wish), topic_(parley::test::fresh_topic("contract", wish.partitions)) {}
  std::unique_ptr<Log> connect() override {
    return kafka::make_log({.bootstrap = parley::test::services().bootstrap,
                            .topic = topic_,
                            .query_timeout_ms = kPatienceMs,
                            .message_timeout_ms = 4 * kPatienceMs,
                            .queue_entries = wish_.queue_entries,
                            .entry_bytes = wish_.entry_bytes},
                           io_);
  }
  void turn() override { io_.run_one_for(std::chrono::milliseconds(10)); }

 private:
  Wish wish_;
  std::string topic_;
  boost::asio::io_context io_;
};

class PostgresSubject final : public Subject {
 public:
  explicit PostgresSubject(const Wish& wish) : wish_(wish), dsn_(parley::test::fresh_database("contract")) {}
  std::unique_ptr<Log> connect() override {
    return postgres::make_log({.dsn = dsn_,
                               .partitions = wish_.partitions,
                               .query_timeout_ms = kPatienceMs,
                               .batch_timeout_ms = kPatienceMs,
                               .message_timeout_ms = 4 * kPatienceMs,
                               .queue_entries = wish_.queue_entries,
                               .entry_bytes = wish_.entry_bytes},
                              io_);
  }
  void turn() override { io_.run_one_for(std::chrono::milliseconds(10)); }

 private:
  Wish wish_;
  std::string dsn_;
  boost::asio::io_context io_;
};

}  // namespace

std::unique_ptr<Subject> make_subject(Kind kind, const Wish& wish) {
  switch (kind) {
    case Kind::memory:
      return std::make_unique<MemorySubject>(wish);
    case Kind::kafka:
      return std::make_unique<KafkaSubject>(wish);
    case Kind::postgres:
      return std::make_unique<PostgresSubject>(wish);
  }
  return nullptr;
}

}  // namespace parley::eventlog::test
