// What waits between the event loop that reads the log and the thread that writes: entries per partition, and commands.
//
// Any thread. Bound: `push` tells when a partition holds more than `kMostBytes` or `kMostEntries`, and the reader pauses it; what was
// already on its way is still taken, so a partition may exceed the bound by one fetch. `take` frees.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "eventlog/log.h"

namespace parley::persister {

using chat::Offset;
using chat::Partition;
using std::chrono::steady_clock;

// Entries that own their bytes; copies share them.
struct Chunk {
  std::shared_ptr<const char[]> bytes;
  std::vector<eventlog::Entry> entries;  // views into `bytes`
  Offset end;
  std::size_t size = 0;
};
Chunk own(std::span<const eventlog::Entry> entries, Offset end);

// A partition is read anew each time it is assigned or lost to a rival; what belongs to an earlier time is dropped.
using Epoch = std::uint64_t;

class Inbox {
 public:
  static constexpr std::size_t kMostBytes = 8 << 20, kMostEntries = 20'000;  // per partition

  struct Start {
    Partition partition;
    Epoch epoch;
  };
  struct Work {
    Partition partition;
    Epoch epoch;
    std::vector<Chunk> chunks;  // consecutive
    bool has_room = false;      // again: the reader may go on
  };

  // ---- the reading side ----
  void start(Partition partition, Epoch epoch);
  void forget(Partition partition);
  // False: full, pause.
  bool push(Partition partition, Epoch epoch, Chunk chunk);
  void stop();

  // ---- the writing side ----
  // Waits for a command, for a batch that is full or old enough, for `until`, or for the end. At most one of them is set.
  struct Next {
    std::optional<Start> start;
    std::optional<Work> work;
    bool stopping = false;
  };
  // Nothing of the partitions that were put `aside`.
  Next next(std::uint32_t batch_rows, std::chrono::milliseconds batch_wait, steady_clock::time_point until, const std::set<Partition>& aside = {});
  // Waits that long unless stopped. False: stopped.
  bool pause(std::chrono::milliseconds time);
  bool stopping() const;
  bool current(Partition partition, Epoch epoch) const;
  std::size_t entries() const;

 private:
  struct Lane {
    Epoch epoch = 0;
    std::deque<Chunk> chunks;
    std::size_t entries = 0, bytes = 0;
    bool full = false;
    steady_clock::time_point oldest;
  };
  Work take(Partition partition, Lane& lane, std::uint32_t rows);

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Start> starts_;
  std::map<Partition, Lane> lanes_;
  bool stopping_ = false;
};

}  // namespace parley::persister
