#include "persister/worker.h"

#include <algorithm>

#include "chat/record.h"
#include "store/gather.h"

namespace parley::persister {

Worker::Worker(Settings settings, store::Writer& writer, Partition partition, Offset position)
    : settings_(settings), writer_(writer), partition_(partition), position_(position) {}

void Worker::reset(Offset position) {
  position_ = position;
  stopped_.reset();
  folded_ahead_ = in_doubt_ = false;
  states_.clear();
  recent_.clear();
  bytes_ = 0;
}

void Worker::keep(std::uint64_t bytes) {
  settings_.cache_bytes = bytes;
  forget_unused();
}

store::Result<void> Worker::load(const std::vector<chat::ConversationId>& wanted) {
  std::vector<chat::ConversationId> absent;
  for (const chat::ConversationId& id : wanted) {
    if (states_.contains(id)) continue;
    states_.try_emplace(id);  // so that it is asked for once
    absent.push_back(id);
  }
  if (absent.empty()) return {};
  auto loaded = writer_.load(partition_, position_, absent);
  if (!loaded) {
    for (const chat::ConversationId& id : absent) states_.erase(id);
    return std::unexpected(loaded.error());
  }
  for (std::size_t i = 0; i < absent.size(); ++i) states_[absent[i]].state = std::move((*loaded)[i]);
  return {};
}

void Worker::use(const chat::ConversationId& id, Cached& cached) {
  cached.used = ++uses_;
  const std::size_t bytes = sizeof cached + chat::memory_of(cached.state);
  bytes_ = bytes_ - cached.bytes + bytes;
  cached.bytes = bytes;
  recent_.emplace_back(id, uses_);
}

store::Result<store::Batch> Worker::fold_batch(std::span<const eventlog::Entry> entries, Offset end) {
  if (folded_ahead_) reset(position_);  // what was folded before was given up

  struct Decoded {
    chat::Record record;
    Offset offset;
    chat::TimeMs time;
  };
  std::vector<Decoded> records;
  std::vector<chat::ConversationId> wanted;
  records.reserve(entries.size());
  std::optional<Offset> stop;
  for (const eventlog::Entry& entry : entries) {
    if (entry.offset < position_) continue;
    auto record = chat::decode_record(entry.key, entry.value);
    if (!record) {
      if (record.error() == chat::DecodeError::malformed) continue;  // R1: Rejected{internal}, nothing changes
      stop = entry.offset;                                           // R6
      break;
    }
    wanted.push_back(record->conversation);
    records.push_back({*std::move(record), entry.offset, entry.time});
  }
  if (auto loaded = load(wanted); !loaded) return std::unexpected(loaded.error());

  stopped_ = stop;
  store::Gather gather(partition_, position_);
  for (const Decoded& one : records) {
    Cached& cached = states_.at(one.record.conversation);
    const store::Before was = store::before(cached.state);
    chat::Verdict verdict = chat::fold(cached.state, one.record, one.offset, one.time);
    gather.take(one.record, one.offset, was, cached.state, std::move(verdict));
    use(one.record.conversation, cached);
  }
  folded_ahead_ = true;
  return gather.finish(std::max(stop.value_or(end), position_),
                       [&](const chat::ConversationId& id) -> const chat::ConversationState& { return states_.at(id).state; });
}

void Worker::settle(Offset next) {
  position_ = next;
  folded_ahead_ = in_doubt_ = false;
  forget_unused();
}

store::Result<void> Worker::commit(const store::Batch& batch) {
  if (in_doubt_) {
    auto there = writer_.position(partition_);
    if (!there) return std::unexpected(there.error());
    if (*there == batch.next && batch.next != batch.expected) {
      settle(batch.next);
      return {};
    }
    in_doubt_ = false;
  }
  auto written = writer_.commit(batch);
  if (written) {
    settle(batch.next);
  } else if (written.error().code == store::Errc::lost) {
    reset(position_);
  } else {
    in_doubt_ = true;
  }
  return written;
}

void Worker::forget_unused() {
  while ((states_.size() > settings_.cached_conversations || bytes_ > settings_.cache_bytes) && !recent_.empty()) {
    const auto [id, used] = recent_.front();
    recent_.pop_front();
    const auto at = states_.find(id);
    if (at == states_.end() || at->second.used != used) continue;
    bytes_ -= at->second.bytes;
    states_.erase(at);
  }
  // Entries made out of date by later uses: kept short, so that the list never outgrows the cache by much.
  if (recent_.size() > 2 * states_.size() + 1'000) {
    std::erase_if(recent_, [&](const auto& entry) {
      const auto at = states_.find(entry.first);
      return at == states_.end() || at->second.used != entry.second;
    });
  }
}

}  // namespace parley::persister
