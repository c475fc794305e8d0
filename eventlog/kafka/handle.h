// Owning handles for librdkafka's C objects, and how every client of ours is configured.
#pragma once

#include <librdkafka/rdkafka.h>

#include <cstdint>
#include <memory>
#include <string>

#include "eventlog/kafka/kafka_log.h"

namespace parley::eventlog::kafka {

template <auto Free>
struct Freer {
  template <class T>
  void operator()(T* object) const {
    Free(object);
  }
};

using ClientHandle = std::unique_ptr<rd_kafka_t, Freer<rd_kafka_destroy>>;
using TopicHandle = std::unique_ptr<rd_kafka_topic_t, Freer<rd_kafka_topic_destroy>>;
using QueueHandle = std::unique_ptr<rd_kafka_queue_t, Freer<rd_kafka_queue_destroy>>;
using EventHandle = std::unique_ptr<rd_kafka_event_t, Freer<rd_kafka_event_destroy>>;
using PartitionsHandle = std::unique_ptr<rd_kafka_topic_partition_list_t, Freer<rd_kafka_topic_partition_list_destroy>>;
using OptionsHandle = std::unique_ptr<rd_kafka_AdminOptions_t, Freer<rd_kafka_AdminOptions_destroy>>;
using PartitionHandle = std::unique_ptr<rd_kafka_topic_partition_t, Freer<rd_kafka_topic_partition_destroy>>;
using ErrorHandle = std::unique_ptr<rd_kafka_error_t, Freer<rd_kafka_error_destroy>>;

inline PartitionsHandle make_partitions(int size) { return PartitionsHandle(rd_kafka_topic_partition_list_new(size)); }

class Conf {
 public:
  // What is common to all: quick recovery, logs to ours.
  explicit Conf(const Settings& settings);
  Conf& set(const char* name, const std::string& value);  // throws std::invalid_argument
  Conf& set(const char* name, std::uint64_t value) { return set(name, std::to_string(value)); }
  Conf& events(int events);
  ClientHandle make(rd_kafka_type_t type);  // throws std::runtime_error

 private:
  std::unique_ptr<rd_kafka_conf_t, Freer<rd_kafka_conf_destroy>> conf_;
};

inline Error error_of(rd_kafka_resp_err_t code, const char* what) { return {Errc::unavailable, std::string(what) + ": " + rd_kafka_err2str(code)}; }

}  // namespace parley::eventlog::kafka
