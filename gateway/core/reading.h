// Requests that read, and marks: history, conversations, markRead, ack (D25-D31), all behind the barrier (R14).
//
// Delivered marks are coalesced: at most one record per user and conversation in 2 s (D31), also where the user has left meanwhile.
// Nobody waits for their outcome, so those records name no origin and no device.
// Owner's thread only. Bound: the read bucket of each user (D21); an ack counts only for what was sent to its session; kDelivered pending
// marks, beyond which an ack is left to the next one; kMarksPerTick of them at once, the others with the next tick.
#pragma once

#include <deque>
#include <unordered_map>
#include <vector>

#include "gateway/core/attempts.h"

namespace parley::gateway {

class Reading {
 public:
  static constexpr std::size_t kDelivered = 100'000, kMarksPerTick = 500;
  static constexpr std::uint64_t kFirstMarkMs = 500, kNextMarkMs = 2'000;

  Reading(Ports& ports, Sessions& sessions, Publisher& publisher, BarrierReads& reads, Rates& rates, Attempts& attempts);

  void history(Session& session, const client::History& request, std::uint32_t req_id);
  void conversations(Session& session, const client::Conversations& request, std::uint32_t req_id);
  void mark_read(Session& session, const client::MarkRead& request, std::uint32_t req_id);
  void ack(Session& session, const std::vector<store::Cursor>& cursors, std::uint32_t req_id);
  // `all`: also those that are not due, because this gateway goes.
  void on_tick(bool all);
  // The log's answer to a record that names no connection: a mark that it lost is made again.
  void on_logged(std::uint64_t attempt, bool logged);
  bool settled() const;  // no mark is held

 private:
  struct Key {
    chat::UserId user;
    chat::ConversationId conversation;
    bool operator==(const Key&) const = default;
  };
  struct KeyHash {
    std::size_t operator()(const Key& key) const noexcept {
      return std::hash<chat::UserId>()(key.user) * 31 + std::hash<chat::ConversationId>()(key.conversation);
    }
  };
  struct Delivered {
    chat::Seq seq;
    bool fresh = true;  // not yet in the log
  };

  bool allowed(Session& session, std::uint32_t req_id);
  void unavailable(Session& session, std::uint32_t req_id);
  bool produce(const Key& key, chat::Seq seq);  // false: the log does not take it now

  Ports& ports_;
  Sessions& sessions_;
  Publisher& publisher_;
  BarrierReads& reads_;
  Rates& rates_;
  Attempts& attempts_;
  std::unordered_map<Key, Delivered, KeyHash> delivered_;
  std::unordered_map<std::uint64_t, std::pair<Key, chat::Seq>> logging_;  // by attempt: on their way into the log, as many as that takes
  std::deque<std::pair<chat::TimeMs, Key>> first_, next_;                 // constant delays: each in the order of its deadlines
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace parley::gateway
