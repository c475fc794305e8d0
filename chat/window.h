// The ids a conversation consumed last (R8): at most kWindow, oldest out first. Every record asks whether its id is among them, so
// two bytes of each id stand side by side and are compared 32 at a time; the entries themselves are 14 KiB and mostly not touched.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "chat/ids.h"

namespace parley::chat {

#ifdef PARLEY_SMALL_WINDOW
inline constexpr std::size_t kWindow = 4;  // simulation: ids fall out of the window often enough to matter
#else
inline constexpr std::size_t kWindow = 256;
#endif

// An id consumed by an event or a schedule (R8). seq 0: a schedule. A message that a schedule became consumes the schedule's id
// anew, with its seq: so the consumed ids of a conversation are exactly its stored events that bear an id and its stored schedules.
struct Consumed {
  UserId user;
  RequestId id;
  Seq seq;
  Offset offset;
  std::uint64_t payload_hash = 0;
  auto operator<=>(const Consumed&) const = default;
};

class Window {
 public:
  std::size_t size() const { return entries_.size(); }
  std::size_t memory() const { return entries_.capacity() * sizeof(Consumed) + tags_.capacity() * sizeof(std::uint16_t); }  // on the heap, bytes
  // From the oldest.
  const Consumed& operator[](std::size_t i) const { return entries_[(oldest_ + i) % entries_.size()]; }

  // What fell out, if it was full.
  std::optional<Consumed> push(const Consumed& consumed) {
    if (entries_.size() < kWindow) {
      entries_.push_back(consumed);
      tags_.push_back(tag(consumed.id));
      return std::nullopt;
    }
    const Consumed out = entries_[oldest_];
    entries_[oldest_] = consumed;
    tags_[oldest_] = tag(consumed.id);
    oldest_ = (oldest_ + 1) % kWindow;
    return out;
  }

  // The newest with this id of this user; null: none.
  const Consumed* find(const UserId& user, const RequestId& id) const {
    const Consumed* newest = nullptr;
    const std::uint16_t wanted = tag(id);
    for (std::size_t block = 0; block < tags_.size(); block += kBlock) {
      const std::size_t end = block + kBlock < tags_.size() ? block + kBlock : tags_.size();
      if (end - block == kBlock && !any(&tags_[block], wanted)) continue;
      for (std::size_t i = block; i < end; ++i) {
        if (tags_[i] != wanted || entries_[i].id != id || entries_[i].user != user) continue;
        if (newest == nullptr || newest->offset <= entries_[i].offset) newest = &entries_[i];
      }
    }
    return newest;
  }

  bool operator==(const Window& other) const {
    if (size() != other.size()) return false;
    for (std::size_t i = 0; i < size(); ++i) {
      if ((*this)[i] != other[i]) return false;
    }
    return true;
  }

 private:
  static constexpr std::size_t kBlock = 32;
  // The last bytes are random in every version that clients make.
  static std::uint16_t tag(const RequestId& id) { return static_cast<std::uint16_t>(id.bytes[14] << 8 | id.bytes[15]); }
  static bool any(const std::uint16_t* tags, std::uint16_t wanted) {
    unsigned hit = 0;
    for (std::size_t i = 0; i < kBlock; ++i) hit |= static_cast<unsigned>(tags[i] == wanted);
    return hit != 0;
  }

  std::vector<Consumed> entries_;    // a ring once it is full
  std::vector<std::uint16_t> tags_;  // of the entry at the same place
  std::size_t oldest_ = 0;
};

}  // namespace parley::chat
