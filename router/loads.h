// Cold loads on their way (R18): asked once per conversation, a bounded number at a time, asked again when PostgreSQL was
// away or its snapshot was too old.
//
// Pure; the Core's thread. Bound: kInFlight reads; what waits is bounded by what is parked.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "runtime/clock.h"
#include "store/store.h"

namespace parley::router {

struct Load {
  chat::Partition partition;
  std::uint64_t epoch = 0;  // of the ownership it was asked for
  chat::ConversationId conversation;
  chat::Offset from;
  chat::Offset floor;  // R19: the partition's evict floor when it was asked
  chat::Offset needs;  // no snapshot below this can be used; raised by a refusal
  bool there = false;  // the persister is known to have reached it
  std::uint32_t attempts = 0;
  chat::TimeMs not_before;
};

class Loads {
 public:
  static constexpr std::size_t kInFlight = 64;
  static constexpr std::uint64_t kLeastWaitMs = 20, kMostWaitMs = 1'000;
  // A refused one waits for the persister to reach what it needs (it may have done so meanwhile), or for this long: reading the same old
  // snapshot over and over would only slow the persister down.
  static constexpr std::uint64_t kRefusedMs = 5'000;

  // `loaded` gets what was read and tells whether that settled it; if not, it sets `floor` and `needs` and it is asked again later.
  using Loaded = std::move_only_function<bool(Load&, store::ColdLoad)>;

  Loads(store::Reader& reader, const runtime::Clock& clock, Loaded loaded) : reader_(reader), clock_(clock), loaded_(std::move(loaded)) {}

  void ask(Load load) { ready_.push_back(std::move(load)); }
  // Starts what may start.
  void pump();
  // The persister moved: snapshots that were too old may do now.
  void on_position(chat::Partition partition, chat::Offset position);
  void on_tick();
  void forget(chat::Partition partition);

  std::size_t waiting() const { return ready_.size() + resting_.size() + in_flight_; }
  std::uint64_t done() const { return done_; }
  std::uint64_t refused() const { return refused_; }
  std::uint64_t failed() const { return failed_; }

 private:
  void on_read(Load load, store::Result<store::ColdLoad> result);
  void rest(Load load, std::uint64_t wait);

  store::Reader& reader_;
  const runtime::Clock& clock_;
  Loaded loaded_;
  std::deque<Load> ready_;
  std::vector<Load> resting_;
  std::size_t in_flight_ = 0;
  bool pumping_ = false;
  std::uint64_t done_ = 0, refused_ = 0, failed_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // reads may be answered after this is gone
};

}  // namespace parley::router
