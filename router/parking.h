// R18: records of conversations that are being loaded wait here, in their order, while the partition goes on.
//
// Bodies are bounded per partition. What does not fit is not kept: of that conversation only the range [first, dropped_to]
// is remembered, and the load must then come from beyond `dropped_to` (its outcomes are the stored events). Even that is
// bounded: `full()` asks the owner to pause the partition when the bookkeeping alone reaches the bound (PostgreSQL away for
// long, with very many cold conversations).
// Pure; the Core's thread.
#pragma once

#include <cstddef>
#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <unordered_map>

#include "chat/record.h"
#include "eventlog/log.h"

namespace parley::router {

// A record with its own copy of the entry's bytes, which `record` and `traceparent` point into.
class ParkedRecord {
 public:
  // The entry was decoded once already, so that it is known to decode.
  explicit ParkedRecord(const eventlog::Entry& entry);

  chat::Offset offset;
  chat::TimeMs time;
  chat::Record record;
  std::string_view traceparent;
  std::size_t bytes() const { return size_; }

 private:
  std::unique_ptr<char[]> bytes_;
  std::size_t size_;
};

struct ParkedRun {
  chat::Offset first;                      // X: upto does not pass it (R20)
  std::optional<chat::Offset> dropped_to;  // bodies in [first, dropped_to] are gone
  std::deque<ParkedRecord> records;        // all beyond dropped_to
};

class Parking {
 public:
  explicit Parking(std::size_t bound) : bound_(bound) {}

  bool holds(const chat::ConversationId& conversation) const { return runs_.contains(conversation); }
  // True if this is the conversation's first parked record: it must be loaded now.
  bool park(const chat::ConversationId& conversation, const eventlog::Entry& entry);
  const ParkedRun& run(const chat::ConversationId& conversation) const { return runs_.at(conversation); }
  ParkedRun take(const chat::ConversationId& conversation);

  std::optional<chat::Offset> first() const { return firsts_.empty() ? std::nullopt : std::optional(*firsts_.begin()); }
  std::size_t conversations() const { return runs_.size(); }
  std::size_t bytes() const { return bytes_ + runs_.size() * kRunBytes; }
  std::uint64_t dropped() const { return dropped_; }
  bool full() const { return runs_.size() * kRunBytes >= bound_; }

 private:
  static constexpr std::size_t kRunBytes = 256;  // a run without records, maps included

  void drop_bodies(ParkedRun& run);

  std::size_t bound_, bytes_ = 0;
  std::uint64_t dropped_ = 0;
  std::unordered_map<chat::ConversationId, ParkedRun> runs_;
  std::set<chat::Offset> firsts_;
};

}  // namespace parley::router
