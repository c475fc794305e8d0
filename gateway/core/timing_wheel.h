// One timer wheel for all sessions of a shard, instead of a timer per connection (an Asio timer costs more than the session).
//
// A node is in at most one slot; scheduling again moves it. Time advances in ticks; what lies beyond the horizon waits in the
// farthest slot and is looked at again there, so any delay is allowed. O(1) to schedule and cancel; nodes due in one tick
// come out in the order they were put in, which keeps the simulation deterministic.
// Owner's thread only. Bound: none of its own, nodes belong to the sessions.
#pragma once

#include <array>
#include <cstdint>

#include "chat/ids.h"

namespace parley::gateway {

class TimingWheel {
 public:
  struct Node {
    Node* prev = nullptr;
    Node* next = nullptr;
    std::uint64_t at = 0;  // ms

    Node() = default;
    Node(const Node&) = delete;
    Node& operator=(const Node&) = delete;
    ~Node() { unlink(); }
    bool linked() const { return next != nullptr; }
    void unlink() {
      if (!next) return;
      prev->next = next;
      next->prev = prev;
      prev = next = nullptr;
    }
  };

  static constexpr std::uint64_t kTickMs = 64;
  static constexpr std::uint64_t kSlots = 1024;  // about 65 s ahead

  explicit TimingWheel(chat::TimeMs now) : tick_(now.value / kTickMs) {
    for (Node& slot : slots_) slot.prev = slot.next = &slot;
  }
  TimingWheel(const TimingWheel&) = delete;
  TimingWheel& operator=(const TimingWheel&) = delete;
  ~TimingWheel() {
    for (Node& slot : slots_) {
      while (slot.next != &slot) slot.next->unlink();
      slot.next = slot.prev = nullptr;
    }
  }

  void schedule(Node& node, chat::TimeMs at) {
    node.unlink();
    node.at = at.value;
    // Rounded up: a node never comes out early.
    std::uint64_t tick = (at.value + kTickMs - 1) / kTickMs;
    if (tick <= tick_) tick = tick_ + 1;
    if (tick > tick_ + kSlots - 1) tick = tick_ + kSlots - 1;
    Node& slot = slots_[tick % kSlots];
    node.prev = slot.prev;
    node.next = &slot;
    slot.prev->next = &node;
    slot.prev = &node;
  }

  // Brings the time forward; calls due(node) for each node whose time has come, already unlinked. `due` may schedule,
  // cancel and destroy any node.
  template <class Due>
  void advance(chat::TimeMs now, Due&& due) {
    std::uint64_t end = now.value / kTickMs;
    if (end > tick_ + kSlots) tick_ = end - kSlots;  // a pause longer than the wheel: every slot is looked at once
    while (tick_ < end) {
      ++tick_;
      take(slots_[tick_ % kSlots], now, due);
    }
  }

 private:
  template <class Due>
  void take(Node& slot, chat::TimeMs now, Due& due) {
    if (slot.next == &slot) return;
    // The batch moves to a list of its own, so that what `due` schedules cannot come up again in this round.
    Node batch;
    batch.next = slot.next;
    batch.prev = slot.prev;
    batch.next->prev = batch.prev->next = &batch;
    slot.prev = slot.next = &slot;
    while (batch.next != &batch) {
      Node& node = *batch.next;
      node.unlink();
      if (node.at > now.value)
        schedule(node, {node.at});
      else
        due(node);
    }
    batch.prev = batch.next = nullptr;
  }

  std::uint64_t tick_;
  std::array<Node, kSlots> slots_;
};

}  // namespace parley::gateway
