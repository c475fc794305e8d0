// What PostgreSQL holds, as two ports: the persister writes (`Writer`), everyone reads snapshots (`Reader`).
// postgres/ is the real one; memory/ serves the simulation, with the same semantics and a few controls (away, roll back).
//
// PostgreSQL holds, per partition, the fold of the log up to a position, and the position itself, in one transaction (R11).
// A snapshot is one consistent view; it always tells the positions it was taken at, so that the asker can judge whether
// it is fresh enough (R14) or usable for a cold load (R18).
#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "chat/fold.h"
#include "chat/ids.h"
#include "chat/state.h"

namespace parley::store {

using chat::ConversationId;
using chat::MessageNumber;
using chat::Offset;
using chat::Partition;
using chat::RequestId;
using chat::Seq;
using chat::TimeMs;
using chat::UserId;

enum class Errc : std::uint8_t {
  unavailable,    // PostgreSQL away, too slow, or it refuses: may pass, try again
  lost,           // R11: the compare-and-set failed: somebody else wrote this partition
  misconfigured,  // schema outside this binary's range, another topic id or partition count (R13): final
  conflict,       // a unique name is taken
};

struct Error {
  Errc code;
  std::string message;
};

template <class T>
using Result = std::expected<T, Error>;
template <class T>
using Callback = std::move_only_function<void(Result<T>)>;

// An event as stored: the fold's event, where it came from, and its present form.
struct StoredEvent {
  chat::Event event;  // `stays` is empty; `body` is the present form's (empty where quarantined or removed)
  Offset offset;
  bool quarantined = false;  // R12
};

// A schedule as stored (R10): found by look-ups, fired when due.
struct StoredSchedule {
  ConversationId conversation;
  UserId user;
  std::string device;
  RequestId id;
  Offset offset;
  std::uint64_t payload_hash = 0;
  TimeMs due;
  std::string body;
  bool done = false;  // fired or cancelled
};

// The stays of one user in one conversation, oldest first; the last is open if he is a member.
struct Stay {
  Seq from;
  std::optional<Seq> to;
};

// ---- writing (persister; synchronous, on its own thread) ---------------------------------------------------------------

// One change of who sees what, at the event `seq`.
struct StayWrite {
  enum class What : std::uint8_t {
    begins,  // `user` sees from `from` on (1 while historyForNewMembers is on, D52)
    ends,    // `user` sees up to and including `seq`
    opens,   // historyForNewMembers was switched on: everyone present sees from 1
  };
  What what;
  Seq seq;
  UserId user;
  Seq from;
};

struct ConversationWrite {
  ConversationId id;
  // At the end of the batch, without what other rows say: `members` holds only those `touched` who are members, `window`,
  // `left` and `pending` are empty (they follow from events and schedules, chat::restore_window).
  chat::ConversationState state;
  std::uint32_t member_count = 0;
  std::optional<Offset> changed;  // of the last record that changed the conversation itself; absent: only marks moved
  Offset last_offset;             // of the last record that changed anything: stands for the rows of `touched`
  std::vector<UserId> touched;    // members whose row changed, came or went; each once
  std::vector<StayWrite> stays;   // in order
};

struct ScheduleDone {
  ConversationId conversation;
  UserId user;
  RequestId id;
};

struct Batch {
  Partition partition;
  Offset expected;  // R11: the position this batch starts from
  Offset next;      // and the one it leaves
  std::vector<StoredEvent> events;
  std::vector<ConversationWrite> conversations;
  std::vector<StoredSchedule> schedules;     // new ones
  std::vector<ScheduleDone> schedules_done;  // fired or cancelled
};

class Writer {
 public:
  virtual ~Writer() = default;
  // The positions of all partitions. First call on an empty database: records topic id and partition count, positions 0;
  // a mismatch later is Errc::misconfigured (R13).
  virtual Result<std::vector<Offset>> open(std::string_view topic_id, std::uint32_t partitions) = 0;
  virtual Result<Offset> position(Partition partition) = 0;
  // The states of these conversations, in their order, as of position `at`; Kind::none where absent. Errc::lost when the partition's
  // position is another: a state that is ahead of the batch it is for would be stored if the position came back (PostgreSQL restored,
  // a replica that lagged promoted) before the batch's compare-and-set.
  virtual Result<std::vector<chat::ConversationState>> load(Partition partition, Offset at, const std::vector<ConversationId>& conversations) = 0;
  // One transaction, exactly once: Errc::lost when the position is not `expected` any more. An event that the store refuses is
  // stored without its body, flagged (R12), and told to whom `on_quarantined` named, before the transaction ends.
  virtual Result<void> commit(const Batch& batch) = 0;
  virtual void on_quarantined(std::move_only_function<void(Partition, const StoredEvent&, std::string_view why)> told) = 0;
  // Schedules due at or before `now`, not done, at most `limit`, the earliest first.
  virtual Result<std::vector<StoredSchedule>> due(Partition partition, TimeMs now, std::size_t limit) = 0;
};

// ---- reading (routers and gateways; asynchronous, on the owner's thread) -----------------------------------------------

using Positions = std::vector<Offset>;  // one per partition

// R13: which log PostgreSQL holds the fold of.
struct Identity {
  std::string topic_id;
  std::uint32_t partitions = 0;
  bool operator==(const Identity&) const = default;
};
// For people: what is wrong when they differ.
inline std::string mismatch(const Identity& stored, const Identity& log) {
  const auto text = [](const Identity& one) { return "topic " + one.topic_id + " with " + std::to_string(one.partitions) + " partitions"; };
  return "PostgreSQL holds the fold of " + text(stored) + "; the log is " + text(log) + " (R13)";
}

// R18: what a cold load of one conversation gives.
struct ColdLoad {
  Offset position;  // O
  chat::ConversationState state;
  std::vector<StoredEvent> events;                          // those at or above the offset asked for, ascending
  std::vector<std::pair<UserId, std::vector<Stay>>> stays;  // of everyone who was there at one of `events`
};

struct LookUp {  // R8
  ConversationId conversation;
  UserId user;
  RequestId id;
};
struct LookedUp {
  std::optional<StoredEvent> event;
  bool schedule = false;  // found as a schedule
  std::uint64_t payload_hash = 0;
};

// Of conversations that have been spoken in: a self conversation without a message (D50) and a direct one without any event
// (founded by a block) are neither listed nor among `changed`.
struct Summary {
  ConversationId conversation;
  chat::Kind kind;
  std::string title;
  std::optional<UserId> peer;
  chat::Role role;
  std::uint32_t member_count;
  Seq first_seq;
  Seq last_seq;
  MessageNumber last_number;
  Seq read_seq;
  MessageNumber read_number;
  Seq delivered_seq;
  bool muted;
  TimeMs last_time;
  std::optional<StoredEvent> last_message;  // D7: as far as he may see it
};

struct Cursor {
  ConversationId conversation;
  Seq seq;
};

struct Marks {  // D28
  ConversationId conversation;
  UserId user;
  Seq read_seq;
  MessageNumber read_number;
  Seq delivered_seq;
};

struct ResumeQuery {
  UserId user;
  std::vector<Cursor> cursors;
  std::optional<Positions> since;  // sync token; absent with cursors: every conversation counts as changed
  bool want_changed = true;
  std::uint32_t max_events = 1000;     // R25: one more than this is never fetched
  std::uint32_t max_bytes = 32 << 20;  // likewise; docs/adr/0006
};
struct ResumeResult {
  std::vector<Marks> marks;
  std::vector<StoredEvent> events;  // ascending per conversation, only what he may see
  bool too_many = false;            // more than max_events or max_bytes are owed: `events` is empty
  bool cursor_ahead = false;        // D32
  std::vector<Summary> changed;     // at most chat::kChangedMax, newest activity first
  bool more = false;
};

struct HistoryQuery {
  UserId user;
  ConversationId conversation;
  std::optional<Seq> before, after, around;
  std::uint32_t limit = 50;
};
enum class Standing : std::uint8_t { stranger, former, member };
struct HistoryResult {
  Standing standing = Standing::stranger;
  std::vector<StoredEvent> events;
  bool more = false;
};

// One conversation for one user: what lists tell of it, and what they leave out.
struct Details {
  Standing standing = Standing::stranger;  // only a member is told the rest
  std::optional<Summary> summary;
  std::string notice, avatar, description;
  chat::GroupSettings settings;
};

struct SummaryPage {
  std::vector<Summary> items;
  std::string next_cursor;
};

// D30, D56: the mark that a markRead(seq) means for this reader: clamped into what he may see.
struct MarkTarget {
  Standing standing = Standing::stranger;
  Seq seq;
  MessageNumber number;
};

struct MemberRow {
  UserId user;
  std::string username, display_name;
  chat::Role role;
  std::optional<TimeMs> muted_until;
};
struct MemberPage {
  Standing standing = Standing::stranger;
  std::vector<MemberRow> items;
  std::string next_cursor;
};

template <class T>
struct Snapshot {
  Positions positions;
  T value;
};

class Reader {
 public:
  virtual ~Reader() = default;
  // Absent: no persister has been here yet. Who reads of another log than its own reads nonsense: ask before serving.
  virtual void identity(Callback<std::optional<Identity>> done) = 0;
  virtual void positions(Callback<Positions> done) = 0;
  // Tells of new positions soon after they are committed (NOTIFY); spurious and lost calls are possible.
  virtual void on_moved(std::move_only_function<void(Partition, Offset)> moved) = 0;

  virtual void cold_load(ConversationId conversation, Partition partition, Offset from, Callback<ColdLoad> done) = 0;
  virtual void look_up(std::vector<LookUp> keys, Callback<Snapshot<std::vector<LookedUp>>> done) = 0;
  virtual void resume(ResumeQuery query, Callback<Snapshot<ResumeResult>> done) = 0;
  virtual void history(HistoryQuery query, Callback<Snapshot<HistoryResult>> done) = 0;
  virtual void summaries(UserId user, std::string cursor, std::uint32_t limit, Callback<Snapshot<SummaryPage>> done) = 0;
  virtual void details(UserId user, ConversationId conversation, Callback<Snapshot<Details>> done) = 0;
  virtual void standing(UserId user, ConversationId conversation, Callback<Snapshot<Standing>> done) = 0;
  virtual void mark_target(UserId user, ConversationId conversation, Seq seq, Callback<Snapshot<MarkTarget>> done) = 0;
  virtual void members(UserId user, ConversationId conversation, std::string cursor, std::uint32_t limit, Callback<Snapshot<MemberPage>> done) = 0;
};

}  // namespace parley::store
