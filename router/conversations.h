// The conversations of one partition that this router holds in memory: admitted by a cold load (R18), advanced by the fold,
// forgotten once PostgreSQL has them (R19).
//
// Each has its own fold position O_c, the position of the snapshot it was loaded from. Records below O_c are never folded:
// PostgreSQL folded them, and their outcome is what is stored at that offset.
// Pure; the Core's thread. Bound: Settings::cached_conversations and cache_bytes, shared by the partitions owned; overflow evicts the longest
// unused that may be evicted.
#pragma once

#include <list>
#include <optional>
#include <unordered_map>
#include <vector>

#include "chat/fold.h"
#include "store/store.h"

namespace parley::router {

// What a record did, and who is to be told besides the one who waits for the answer.
struct Outcome {
  chat::Verdict verdict;
  std::vector<chat::UserId> recipients;
  bool receipts = false;  // of an event: an ack of it becomes a mark
};

class Conversations {
 public:
  bool holds(const chat::ConversationId& conversation) const { return cached_.contains(conversation); }
  std::size_t size() const { return cached_.size(); }
  std::size_t bytes() const { return bytes_; }

  void admit(const chat::ConversationId& conversation, store::ColdLoad load);

  // The outcome of the next record of a conversation held here. Nothing: nobody is told, because what the record did is not known
  // any more; the sender's gateway notices once everything beyond was told (R18).
  std::optional<Outcome> outcome(const chat::ConversationId& conversation, const chat::Record& record, chat::Offset offset, chat::TimeMs log_time);

  // R18: outcomes of records whose bodies were not kept: the events stored at offsets within [first, last].
  std::vector<std::pair<chat::Offset, Outcome>> stored(const chat::ConversationId& conversation, chat::Offset first, chat::Offset last);

  struct Room {
    std::size_t conversations, bytes;
  };
  // R19: forgets the longest unused beyond `keep` whose last record lies below `known`. Tells how many.
  std::size_t evict(Room keep, chat::Offset known);

  const chat::ConversationState* state(const chat::ConversationId& conversation) const;

 private:
  struct Held {
    chat::ConversationState state;
    chat::Offset position;                   // O_c
    chat::Offset last_record;                // R19
    std::vector<store::StoredEvent> stored;  // ascending; dropped when the partition has passed O_c
    std::vector<std::pair<chat::UserId, std::vector<store::Stay>>> stays;
    std::list<chat::ConversationId>::iterator used;
    std::size_t bytes = 0;  // as counted in bytes_
  };

  Outcome of_stored(const Held& held, const store::StoredEvent& event) const;
  void weigh(Held& held);
  std::optional<Outcome> below(const Held& held, const chat::Record& record, chat::Offset offset) const;

  std::unordered_map<chat::ConversationId, Held> cached_;
  std::list<chat::ConversationId> recent_;  // front: used last
  std::size_t bytes_ = 0;                   // about what cached_ takes
};

}  // namespace parley::router
