// One owned partition: its position, what is parked, what is held, and how far everything is sent.
//
//   entry -> (held) fold -> fanout
//         -> (not held) parked -> cold load -> outcomes -> fanout, in the order of the conversation
//
// Pure; the Core's thread. Bounds: parked bytes (R18), held conversations (R19).
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "eventlog/log.h"
#include "router/conversations.h"
#include "router/fanout.h"
#include "router/parking.h"
#include "router/progress.h"

namespace parley::router {

enum class Admission : std::uint8_t {
  admitted,
  too_old,    // below `needs()`: load again when the persister has come that far
  went_back,  // R19: below the evict floor as it was when this was asked: PostgreSQL lost what it had; the partition is to be taken over anew
};

class Intake {
 public:
  struct Counters {
    std::uint64_t records = 0, malformed = 0, evictions = 0;
  };

  // R17: folds from `start` = S; delivers from `deliver_from` on. `epoch` tells this ownership from an earlier one.
  Intake(Partition partition, Offset start, Offset deliver_from, std::uint64_t epoch, std::size_t parked_bytes, chat::TimeMs now, Fanout& fanout,
         Counters& counters);

  std::uint64_t epoch() const { return epoch_; }
  Offset next() const { return next_; }

  // Conversations that are to be loaded now are added to `to_load`. False: stops here (R6).
  bool take(const eventlog::Entry& entry, std::vector<chat::ConversationId>& to_load);
  // The log told that there is nothing more below `end` (control records).
  void reached(Offset end);

  // R18: the offset to load from.
  Offset load_from(const chat::ConversationId& conversation) const { return parking_.run(conversation).first; }
  // R18, R19: a snapshot below this cannot be used.
  Offset needs(const chat::ConversationId& conversation) const;
  Offset floor() const { return floor_; }
  // `floor_when_asked`: a snapshot may have been on its way while the floor rose above it, which tells nothing about PostgreSQL.
  Admission admit(const chat::ConversationId& conversation, store::ColdLoad load, Offset floor_when_asked);

  Offset known() const { return known_; }
  // R19. Late and repeated news are lower than the newest: they change nothing.
  void known(Offset position) { known_ = std::max(known_, position); }
  void evict(Conversations::Room keep);

  // R20: everything from here on is sent on a stream that registered just now.
  Offset from() const { return std::max(next_, deliver_from_); }
  // R20: everything below was sent.
  Offset upto() const;
  Progress& progress() { return progress_; }

  bool stopped() const { return stopped_; }
  const Parking& parking() const { return parking_; }
  const Conversations& conversations() const { return conversations_; }

  bool paused = false;  // by the Core, while the parking is full

 private:
  void outcome(const chat::ConversationId& conversation, const chat::Record& record, Offset offset, chat::TimeMs time, std::string_view traceparent);
  void send(const Outward& what, const Outcome& outcome) {
    if (what.offset >= deliver_from_) fanout_.deliver(what, outcome);
  }
  void malformed(const eventlog::Entry& entry);

  Partition partition_;
  Offset start_, deliver_from_, next_, floor_, known_;
  std::uint64_t epoch_;
  bool stopped_ = false;
  Parking parking_;
  Conversations conversations_;
  Progress progress_;
  Fanout& fanout_;
  Counters& counters_;
};

}  // namespace parley::router
