#include "persister/inbox.h"

#include <algorithm>
#include <cstring>

namespace parley::persister {

Chunk own(std::span<const eventlog::Entry> entries, Offset end) {
  std::size_t size = 0;
  for (const eventlog::Entry& entry : entries) size += entry.key.size() + entry.value.size() + entry.traceparent.size();
  std::shared_ptr<char[]> bytes(new char[size]);
  char* at = bytes.get();
  const auto copy = [&](std::string_view text) {
    char* begin = at;
    std::memcpy(begin, text.data(), text.size());
    at += text.size();
    return std::string_view(begin, text.size());
  };
  Chunk chunk;
  chunk.entries.reserve(entries.size());
  for (const eventlog::Entry& entry : entries) chunk.entries.push_back({entry.offset, entry.time, copy(entry.key), copy(entry.value), copy(entry.traceparent)});
  chunk.bytes = std::move(bytes);
  chunk.end = end;
  chunk.size = size;
  return chunk;
}

void Inbox::start(Partition partition, Epoch epoch) {
  const std::lock_guard lock(mutex_);
  lanes_[partition] = Lane{.epoch = epoch, .chunks = {}, .entries = 0, .bytes = 0, .full = false, .oldest = {}};
  starts_.push_back({partition, epoch});
  changed_.notify_one();
}

void Inbox::forget(Partition partition) {
  const std::lock_guard lock(mutex_);
  lanes_.erase(partition);
}

bool Inbox::push(Partition partition, Epoch epoch, Chunk chunk) {
  const std::lock_guard lock(mutex_);
  const auto at = lanes_.find(partition);
  if (at == lanes_.end() || at->second.epoch != epoch) return true;
  Lane& lane = at->second;
  if (lane.chunks.empty()) lane.oldest = steady_clock::now();
  lane.entries += chunk.entries.size();
  lane.bytes += chunk.size;
  lane.chunks.push_back(std::move(chunk));
  lane.full = lane.entries >= kMostEntries || lane.bytes >= kMostBytes;
  changed_.notify_one();
  return !lane.full;
}

void Inbox::stop() {
  const std::lock_guard lock(mutex_);
  stopping_ = true;
  changed_.notify_all();
}

bool Inbox::stopping() const {
  const std::lock_guard lock(mutex_);
  return stopping_;
}

bool Inbox::current(Partition partition, Epoch epoch) const {
  const std::lock_guard lock(mutex_);
  const auto at = lanes_.find(partition);
  return at != lanes_.end() && at->second.epoch == epoch;
}

std::size_t Inbox::entries() const {
  const std::lock_guard lock(mutex_);
  std::size_t sum = 0;
  for (const auto& [partition, lane] : lanes_) sum += lane.entries;
  return sum;
}

bool Inbox::pause(std::chrono::milliseconds time) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, time, [&] { return stopping_; });
  return !stopping_;
}

Inbox::Next Inbox::next(std::uint32_t batch_rows, std::chrono::milliseconds batch_wait, steady_clock::time_point until, const std::set<Partition>& aside) {
  std::unique_lock lock(mutex_);
  for (;;) {
    Next out;
    if (stopping_) {
      out.stopping = true;
      return out;
    }
    if (!starts_.empty()) {
      out.start = starts_.front();
      starts_.pop_front();
      return out;
    }
    const auto now = steady_clock::now();
    Lane* best = nullptr;
    Partition which;
    auto wake = until;
    for (auto& [partition, lane] : lanes_) {
      if (lane.chunks.empty() || aside.contains(partition)) continue;
      const auto due = lane.entries >= batch_rows ? lane.oldest : lane.oldest + batch_wait;
      if (due > now) {
        wake = std::min(wake, due);
      } else if (best == nullptr || lane.oldest < best->oldest) {
        best = &lane;
        which = partition;
      }
    }
    if (best != nullptr) {
      out.work = take(which, *best, batch_rows);
      return out;
    }
    if (now >= until) return out;
    changed_.wait_until(lock, wake);
  }
}

Inbox::Work Inbox::take(Partition partition, Lane& lane, std::uint32_t rows) {
  Work work{partition, lane.epoch, {}, false};
  std::size_t taken = 0;
  while (!lane.chunks.empty() && taken < rows) {
    Chunk& chunk = lane.chunks.front();
    const std::size_t room = rows - taken;
    if (chunk.entries.size() <= room) {
      taken += chunk.entries.size();
      lane.bytes -= chunk.size;
      work.chunks.push_back(std::move(chunk));
      lane.chunks.pop_front();
      if (taken == 0) continue;  // control records only
    } else {
      Chunk part{chunk.bytes, {chunk.entries.begin(), chunk.entries.begin() + static_cast<std::ptrdiff_t>(room)}, chunk.entries[room].offset, 0};
      chunk.entries.erase(chunk.entries.begin(), chunk.entries.begin() + static_cast<std::ptrdiff_t>(room));
      work.chunks.push_back(std::move(part));
      taken += room;
    }
  }
  lane.entries -= taken;
  lane.oldest = steady_clock::now();
  if (lane.full && lane.entries < kMostEntries / 2 && lane.bytes < kMostBytes / 2) {
    lane.full = false;
    work.has_room = true;
  }
  return work;
}

}  // namespace parley::persister
