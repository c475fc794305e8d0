// The persister's decisions: entries in, batches out. The one owner of a partition's cached states while it persists it.
//
//   entries -> fold -> Batch -> store::Writer::commit (compare-and-set) -> Kafka offset commit
//
// Synchronous, on the persister's own thread; the simulation calls `fold_batch` and `commit` as two steps, so that crashes
// and rivals fit between.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "chat/fold.h"
#include "eventlog/log.h"
#include "store/store.h"

namespace parley::persister {

using chat::Offset;
using chat::Partition;

struct Settings {
  std::uint32_t batch_rows = 2'000;
  std::uint32_t batch_wait_ms = 20;              // a batch is written when full or this old
  std::uint32_t cached_conversations = 100'000;  // per partition; beyond: forget the longest unused
  std::uint64_t cache_bytes = 256 << 20;         // of all partitions together, about; likewise
};

// One partition. Not thread-safe.
class Worker {
 public:
  Worker(Settings settings, store::Writer& writer, Partition partition, Offset position);

  Partition partition() const { return partition_; }
  Offset position() const { return position_; }

  // Folds entries (offsets ascending; those below `position()` are known and skipped; `end` as the consumer told) into a batch;
  // loads what is not cached. Errc::unavailable: nothing changed, try again. Errc::lost: as in `commit`. An entry with a newer fold
  // version ends the batch before it and sets `stopped()` (R6).
  store::Result<store::Batch> fold_batch(std::span<const eventlog::Entry> entries, Offset end);

  // Writes it. Errc::lost: drops all cached states (R11); the caller starts again from Writer::position, by `reset`.
  // Errc::unavailable: the outcome is unknown; called again with the same batch it asks for the position first.
  store::Result<void> commit(const store::Batch& batch);

  // Starts over at a position told by the store.
  void reset(Offset position);

  // Its share of `cache_bytes`; the whole until told.
  void keep(std::uint64_t bytes);

  std::optional<Offset> stopped() const { return stopped_; }
  std::size_t cached() const { return states_.size(); }
  std::uint64_t cached_bytes() const { return bytes_; }

 private:
  struct Cached {
    chat::ConversationState state;
    std::uint64_t used = 0;
    std::size_t bytes = 0;  // as counted in bytes_
  };
  store::Result<void> load(const std::vector<chat::ConversationId>& wanted);
  void use(const chat::ConversationId& id, Cached& cached);
  void forget_unused();
  void settle(Offset next);

  Settings settings_;
  store::Writer& writer_;
  Partition partition_;
  Offset position_;
  std::optional<Offset> stopped_;
  bool folded_ahead_ = false;  // states_ are ahead of position_: a batch was folded and not written yet
  bool in_doubt_ = false;      // whether the last batch was written is unknown
  std::unordered_map<chat::ConversationId, Cached> states_;
  std::deque<std::pair<chat::ConversationId, std::uint64_t>> recent_;  // by use; outdated entries are skipped
  std::uint64_t uses_ = 0;
  std::uint64_t bytes_ = 0;  // about what states_ takes
};

}  // namespace parley::persister
