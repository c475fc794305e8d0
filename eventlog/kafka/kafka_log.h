// The log on Apache Kafka: one topic, librdkafka behind this door.
//
// Everything runs on the io_context's thread: librdkafka signals an eventfd, this side drains its queues. What librdkafka
// offers only as a blocking call (end offsets, metadata, ending a client) runs on one worker thread owned by the log.
// End offsets are asked in rounds: everyone who waits is served by one query to each broker (R14).
//
// Bounds: a producer holds `queue_entries` and `queue_bytes` (beyond: queue_full); a consumer prefetches `prefetch_bytes`;
// `kMostAskers` questions wait for a round (beyond: unavailable). Kafka away: questions fail within `query_timeout_ms`,
// entries wait until `message_timeout_ms` and are answered timed_out.
#pragma once

#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <memory>
#include <string>

#include "eventlog/log.h"

namespace parley::runtime {
class Config;
}

namespace parley::eventlog::kafka {

// Makes the topic if it is missing. For local profiles and tests; a cluster's operator does it there.
struct CreateTopic {
  std::uint32_t partitions = 4;
  std::uint32_t replication_factor = 1;
};

struct Settings {
  std::string bootstrap{};  // host:port[,host:port...]
  std::string topic = "parley.log";
  std::string client_id = "parley";
  CreateTopic create_topic{.partitions = 0};  // 0: never made
  std::uint32_t linger_ms = 1;                // how long a batch gathers; the broker pays per request
  std::uint32_t query_timeout_ms = 1'000;     // ends, begins, committed, trim
  std::uint32_t message_timeout_ms = 15'000;  // R24: above every time in which a gateway answers
  std::uint32_t queue_entries = 100'000;      // per producer, unanswered
  std::uint32_t queue_bytes = 64 << 20;       // per producer, unanswered
  std::uint32_t handed_entries = 1'000;       // per partition: what librdkafka holds and a purge cannot take back from it
  std::uint32_t entry_bytes = 256 << 10;      // beyond: too_large; the topic's max.message.bytes must allow it
  std::uint32_t prefetch_bytes = 8 << 20;     // per consumer
};

// kafka.*
void declare(runtime::Config& config, Settings& settings);

inline constexpr std::size_t kMostAskers = 10'000;

// Throws std::invalid_argument when librdkafka refuses a setting. Connects in the background; `open` tells whether it worked.
std::unique_ptr<Log> make_log(Settings settings, boost::asio::io_context& io);

}  // namespace parley::eventlog::kafka
