// The fold: what a record does to its conversation. Router and persister run it over the same partition in offset order
// and so agree without talking (R1, R2).
//
//     fold(state, record, offset, log time) -> verdict, state changed in place
//
// Pure, deterministic, total, bounded. A verdict other than Event, Mark or (for schedules, cancellations, blocks) Nothing
// leaves the state as it was, except that nothing at all is remembered of a rejected record.
#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "chat/codes.h"
#include "chat/record.h"
#include "chat/state.h"

namespace parley::chat {

// What kind of body an event has; stored with it. Numbers are in PostgreSQL: never renumber.
enum class EventKind : std::uint8_t { message = 1, edited = 2, recalled = 3, reaction = 4, pinned = 5, membership = 6, conversation_changed = 7, account = 8 };

// A change of who sees what, for stays in PostgreSQL and audiences.
struct StayChange {
  UserId user;
  bool begins = false;  // else ends with this event, which he still sees
  bool operator==(const StayChange&) const = default;
};

struct Event {
  ConversationId conversation;
  Seq seq;
  std::optional<MessageNumber> number;
  TimeMs time;
  UserId sender;
  std::string device;
  RequestId id;
  bool id_is_op = false;
  EventKind kind = EventKind::message;
  Digest chain{};
  Digest body_hash{};
  std::array<std::uint8_t, 16> salt{};
  std::uint64_t payload_hash = 0;
  std::string body;  // serialised parley.client.v1.Event holding only its body
  std::vector<StayChange> stays;
  bool operator==(const Event&) const = default;
};

struct Mark {
  UserId user;
  Seq read_seq;
  MessageNumber read_number;
  Seq delivered_seq;
  bool operator==(const Mark&) const = default;
};
struct Rejected {
  Code code;
  bool operator==(const Rejected&) const = default;
};
struct Duplicate {
  Seq of_seq;  // 0: of a schedule
  bool operator==(const Duplicate&) const = default;
};
struct Nothing {
  bool operator==(const Nothing&) const = default;
};

using Verdict = std::variant<Event, Mark, Rejected, Duplicate, Nothing>;

Verdict fold(ConversationState& state, const Record& record, Offset offset, TimeMs log_time);

// Folds an entry as it came from the log; what cannot be decoded is Rejected{internal} (R1). A newer fold version is the
// caller's to stop at (R6) before it gets here.
Verdict fold_entry(ConversationState& state, std::string_view key, std::string_view value, Offset offset, TimeMs log_time);

// R7: bodyHash = H(salt, body).
Digest body_hash(const std::array<std::uint8_t, 16>& salt, std::string_view body);
// R7: H(previous, seq, number, t, sender, kind, id, bodyHash), all numbers big-endian 8 bytes, kind 1 byte.
Digest chain_next(const Digest& previous, const Event& event);

}  // namespace parley::chat
