// The ordered, partitioned log as a port: kafka/ (clusters), postgres/ (small profile), memory/ (simulation).
//
// Promises every implementation keeps (one contract suite, eventlog/contract_test.cpp):
//  - a partition is a sequence of entries with increasing offsets; offsets may have gaps (Kafka control records);
//  - `produced` with an offset means durable; log times are set by the log and never decrease within a partition;
//  - entries of one producer and partition land in the order of `produce`, each at most once;
//  - a failed or purged produce may still land later (R24): its outcome is unknown;
//  - readers see a prefix without holes: an offset becomes visible only after every lower one (R13).
//
// Threads: every call and every callback happens on the owner's thread (the thread that runs the io_context the log was
// made with; in the simulation, the only one). Nothing here blocks.
#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "chat/ids.h"

namespace parley::eventlog {

using chat::Offset;
using chat::Partition;
using chat::TimeMs;

enum class Errc : std::uint8_t {
  queue_full,     // nothing was produced
  timed_out,      // outcome unknown
  purged,         // outcome unknown
  unavailable,    // broker or database away; for reads: try again
  too_large,      // nothing was produced
  misconfigured,  // topic settings are not what the design needs (R13); message tells which
};

struct Error {
  Errc code;
  std::string message;
};

template <class T>
using Callback = std::move_only_function<void(std::expected<T, Error>)>;

struct Entry {
  Offset offset;
  TimeMs time;  // LogAppendTime
  std::string_view key;
  std::string_view value;
  std::string_view traceparent;  // header of that name; empty: none
};

struct Topic {
  std::string id;  // changes when the topic is made anew
  std::uint32_t partitions = 0;
};

class Producer {
 public:
  virtual ~Producer() = default;  // outcomes not yet told are never told
  // `done` is called exactly once, later, unless this returns an error (queue_full, too_large): then never.
  virtual std::expected<void, Error> produce(Partition partition, std::string_view key, std::string_view value, std::string_view traceparent,
                                             std::move_only_function<void(std::expected<Offset, Error>)> done) = 0;
  // R24: gives up on everything of this partition that was not acknowledged: each `done` gets Errc::purged.
  virtual void purge(Partition partition) = 0;
  // Calls `done` once everything produced so far was answered.
  virtual void flush(std::move_only_function<void()> done) = 0;
};

// What a consumer tells its owner.
class ConsumerEvents {
 public:
  virtual ~ConsumerEvents() = default;
  // Entries in offset order; `end` is the offset after the last one read (beyond it where control records were skipped).
  virtual void on_entries(Partition partition, std::span<const Entry> entries, Offset end) = 0;
  // The offset asked for is outside the log, which begins at `begin`; the partition is not read any further.
  virtual void on_out_of_range(Partition partition, Offset begin) = 0;
  // Group mode only. Nothing is read of an assigned partition before `start`.
  virtual void on_assigned(std::span<const Partition> partitions) { (void)partitions; }
  virtual void on_lost(std::span<const Partition> partitions) { (void)partitions; }
  // Another process joined as the same `member`, or the like: nothing is read any more. The owner may make another consumer, also now.
  virtual void on_failed(const std::string& why) { (void)why; }
};

class Consumer {
 public:
  virtual ~Consumer() = default;
  virtual void start(Partition partition, Offset from) = 0;  // again: moves there
  virtual void stop(Partition partition) = 0;
  virtual void pause(Partition partition) = 0;
  virtual void resume(Partition partition) = 0;
  // Stores `next` as this group's offset, best effort, in the background.
  virtual void commit(Partition partition, Offset next) = 0;
};

struct ConsumerOptions {
  std::string group{};   // offsets are committed under this name
  bool join = false;     // true: partitions come by on_assigned; false: the owner starts what it likes
  std::string member{};  // group mode: static membership id (restart without a rebalance); may be empty
  std::uint32_t fetch_min_bytes = 1;
  std::uint32_t fetch_wait_ms = 500;
};

// Outlives the producers and consumers it made.
class Log {
 public:
  virtual ~Log() = default;
  // Checks the topic and its settings (R13). Errc::misconfigured is final.
  virtual void open(Callback<Topic> done) = 0;
  // End offsets (that of the next entry) of all partitions, asked from the log now: the barrier (R14).
  virtual void ends(Callback<std::vector<Offset>> done) = 0;
  // First offsets still there.
  virtual void begins(Callback<std::vector<Offset>> done) = 0;
  // The first entry of each partition whose log time is `time` or later; absent where there is none.
  virtual void since(TimeMs time, Callback<std::vector<std::optional<Offset>>> done) = 0;
  // Offsets committed by a group; absent where it never committed.
  virtual void committed(std::string group, Callback<std::vector<std::optional<Offset>>> done) = 0;
  // Deletes everything below `before` of a partition (R13).
  virtual void trim(Partition partition, Offset before, Callback<void> done) = 0;
  virtual std::unique_ptr<Producer> producer() = 0;
  virtual std::unique_ptr<Consumer> consumer(ConsumerOptions options, ConsumerEvents& events) = 0;
};

}  // namespace parley::eventlog
