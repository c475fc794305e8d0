#include "tests/services/services.h"

#include <fmt/core.h>
#include <libpq-fe.h>
#include <librdkafka/rdkafka.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <thread>

namespace parley::test {
namespace {

template <auto Free>
struct Deleter {
  template <class T>
  void operator()(T* p) const {
    Free(p);
  }
};
template <class T, auto Free>
using Owned = std::unique_ptr<T, Deleter<Free>>;

Services read() {
  const char* path = std::getenv("PARLEY_SERVICES");
  if (!path) throw std::runtime_error("PARLEY_SERVICES is not set; run the test through ctest, or `tools/services/services up DIR` and name DIR/services.env");
  std::ifstream file(path);
  if (!file) throw std::runtime_error(fmt::format("{} cannot be read; run `tools/services/services up` for its folder", path));
  Services out;
  for (std::string line; std::getline(file, line);) {
    const auto equals = line.find('=');
    if (equals == std::string::npos) continue;
    const auto key = line.substr(0, equals);
    auto value = line.substr(equals + 1);
    if (key == "PARLEY_TEST_BOOTSTRAP") out.bootstrap = std::move(value);
    if (key == "PARLEY_TEST_DSN") out.dsn = std::move(value);
    if (key == "PARLEY_TEST_DIR") out.dir = std::move(value);
    if (key == "PARLEY_TEST_TOOLS") out.tools = std::move(value);
  }
  return out;
}

}  // namespace

const Services& services() {
  static const Services kServices = read();
  return kServices;
}

std::string fresh_name(std::string_view prefix) {
  static std::atomic<unsigned> count = 0;
  // The clock too: a later run may be given the same process id while the servers still stand.
  const auto now = std::chrono::steady_clock::now().time_since_epoch().count() / 1'000'000;
  return fmt::format("{}_{}_{}_{}", prefix, getpid(), now, ++count);
}

std::string fresh_database(std::string_view prefix) {
  const Owned<PGconn, PQfinish> connection(PQconnectdb(services().dsn.c_str()));
  if (PQstatus(connection.get()) != CONNECTION_OK) throw std::runtime_error(fmt::format("PostgreSQL: {}", PQerrorMessage(connection.get())));
  const auto name = fresh_name(prefix);
  const Owned<PGresult, PQclear> result(PQexec(connection.get(), fmt::format("create database \"{}\"", name).c_str()));
  if (PQresultStatus(result.get()) != PGRES_COMMAND_OK) throw std::runtime_error(fmt::format("PostgreSQL: {}", PQerrorMessage(connection.get())));
  // The last value of a repeated keyword wins.
  return fmt::format("{} dbname={}", services().dsn, name);
}

std::string fresh_topic(std::string_view prefix, std::uint32_t partitions) {
  const auto name = fresh_name(prefix);
  char error[512];
  auto* conf = rd_kafka_conf_new();
  rd_kafka_conf_set(conf, "bootstrap.servers", services().bootstrap.c_str(), error, sizeof error);
  const Owned<rd_kafka_t, rd_kafka_destroy> kafka(rd_kafka_new(RD_KAFKA_PRODUCER, conf, error, sizeof error));
  if (!kafka) throw std::runtime_error(fmt::format("Kafka: {}", error));
  const Owned<rd_kafka_NewTopic_t, rd_kafka_NewTopic_destroy> topic(rd_kafka_NewTopic_new(name.c_str(), static_cast<int>(partitions), 1, error, sizeof error));
  if (!topic) throw std::runtime_error(fmt::format("Kafka: {}", error));
  rd_kafka_NewTopic_set_config(topic.get(), "message.timestamp.type", "LogAppendTime");
  rd_kafka_NewTopic_set_config(topic.get(), "retention.ms", "-1");
  rd_kafka_NewTopic_set_config(topic.get(), "unclean.leader.election.enable", "false");
  const Owned<rd_kafka_queue_t, rd_kafka_queue_destroy> queue(rd_kafka_queue_new(kafka.get()));
  const Owned<rd_kafka_AdminOptions_t, rd_kafka_AdminOptions_destroy> options(rd_kafka_AdminOptions_new(kafka.get(), RD_KAFKA_ADMIN_OP_CREATETOPICS));
  rd_kafka_AdminOptions_set_operation_timeout(options.get(), 10'000, error, sizeof error);
  auto* topics = topic.get();
  rd_kafka_CreateTopics(kafka.get(), &topics, 1, options.get(), queue.get());
  const Owned<rd_kafka_event_t, rd_kafka_event_destroy> event(rd_kafka_queue_poll(queue.get(), 20'000));
  if (!event) throw std::runtime_error("Kafka did not answer within 20 s");
  if (rd_kafka_event_error(event.get())) throw std::runtime_error(fmt::format("Kafka: {}", rd_kafka_event_error_string(event.get())));
  std::size_t count = 0;
  const auto* results = rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event.get()), &count);
  if (count != 1 || rd_kafka_topic_result_error(results[0])) throw std::runtime_error(fmt::format("Kafka: topic {} was not made", name));
  // The controller has made it; the broker tells of it only some time later.
  const Owned<rd_kafka_topic_t, rd_kafka_topic_destroy> made(rd_kafka_topic_new(kafka.get(), name.c_str(), nullptr));
  for (const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);;) {
    const rd_kafka_metadata_t* raw = nullptr;
    const auto code = rd_kafka_metadata(kafka.get(), 0, made.get(), &raw, 10'000);
    const Owned<const rd_kafka_metadata_t, rd_kafka_metadata_destroy> metadata(raw);
    if (!code && metadata->topic_cnt == 1 && !metadata->topics[0].err && metadata->topics[0].partition_cnt == static_cast<int>(partitions)) return name;
    if (std::chrono::steady_clock::now() > deadline) throw std::runtime_error(fmt::format("Kafka: topic {} was made but does not appear", name));
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

}  // namespace parley::test
