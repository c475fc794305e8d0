// The log in PostgreSQL, for the small profile: same partitions, same promises, no Kafka.
//
//   log_partitions(partition, begin_offset, next_offset, last_time)   one row each; its lock orders the writers
//   log_entries(partition, log_offset, ...)                           the entries
//   log_committed(consumer_group, partition, next_offset)             offsets of groups
//   log_topic(id)                                                     made once: the topic's id
//
// A writer takes its offsets by updating the partition's row and holds that lock until it commits. So offsets become visible
// in order, without holes (R13), and log times never decrease. A producer sends one batch at a time; what is produced meanwhile
// makes the next one: one commit, with its flush to disk, serves everyone (synchronous_commit must stay on: P1). Readers are
// woken by NOTIFY, and without it by their own log's commits.
//
// Everything runs over runtime/postgres's pool on the io_context's thread. Bounds: a producer holds `queue_entries` and
// `queue_bytes` (beyond: queue_full); a consumer has one fetch of `fetch_bytes` under way. PostgreSQL away: questions fail
// within `query_timeout_ms`, a batch after `batch_timeout_ms` is answered timed_out.
#pragma once

#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <memory>
#include <string>

#include "eventlog/log.h"

namespace parley::runtime {
class Config;
}

namespace parley::eventlog::postgres {

struct Settings {
  std::string dsn{};
  std::uint32_t partitions = 4;  // where the tables are made; afterwards the tables tell
  std::uint32_t query_timeout_ms = 1'000;
  std::uint32_t batch_timeout_ms = 5'000;
  std::uint32_t message_timeout_ms = 15'000;  // R24: above every time in which a gateway answers
  std::uint32_t queue_entries = 100'000;      // per producer, unanswered
  std::uint32_t queue_bytes = 64 << 20;       // per producer, unanswered
  std::uint32_t entry_bytes = 256 << 10;      // beyond: too_large
  std::uint32_t batch_entries = 1'000;
  std::uint32_t batch_bytes = 4 << 20;
  std::uint32_t fetch_entries = 1'000;  // of one partition
  std::uint32_t fetch_bytes = 4 << 20;  // of one partition; one entry at least
};

// log_table.*; the connection string is the store's, postgres.dsn.
void declare(runtime::Config& config, Settings& settings);

inline constexpr std::size_t kMostAskers = 10'000;

// Throws std::invalid_argument when the connection string cannot be read. `open` makes the tables if they are missing.
std::unique_ptr<Log> make_log(Settings settings, boost::asio::io_context& io);

}  // namespace parley::eventlog::postgres
