// What a gateway shard remembers of one connection (or of one REST request, which is a connection with one question).
//
// An idle session is this struct and nothing else: everything that belongs to work in progress hangs off it and goes when
// the work is done. Owner's thread only.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gateway/core/core.h"
#include "gateway/core/operation.h"
#include "gateway/core/timing_wheel.h"

namespace parley::gateway {

// One unanswered send or operation of a connection. While queued it has a place in the order of its conversation (R9);
// after a temporary nack only its attempts in flight are remembered, so that a late ack still counts (R23).
struct Item {
  enum class State : std::uint8_t {
    look,      // waits for its look-up behind the barrier
    checking,  // waits for rate, existence, references (D57)
    ready,     // may be produced as soon as everything before it was
    sent,      // in the log, or on its way
    idle,      // not queued any more
  };
  struct Attempt {
    std::uint64_t number;
    std::optional<chat::Offset> logged{};  // where, as soon as that is known
  };

  std::uint64_t serial = 0;  // names the item in callbacks
  chat::ConversationId conversation;
  chat::RequestId id;
  bool is_op = false;
  State state = State::checking;
  bool paid = false;       // a rate token was taken
  bool admitted = false;   // all checks passed
  bool resent = false;     // the client sent it more than once
  bool passed = false;     // a later one of its conversation was produced since
  bool missed = false;     // looked up because nobody told the outcome of the last attempt (R18)
  std::uint8_t check = 0;  // next step of the checks
  std::uint8_t tries = 0;  // attempts that were stale (R8) or whose outcome nobody told (R18)
  std::uint64_t look = 0;  // the look-up that is under way for it; 0: none yet
  std::optional<chat::Offset> since;
  std::unique_ptr<Operation> operation;  // none while idle
  std::vector<Attempt> attempts;         // in flight; held <=> not empty
  std::vector<std::uint32_t> requests;   // reqIds that wait for an answer

  bool queued() const { return state != State::idle; }
  bool held() const { return !attempts.empty(); }
};

struct MarkWait {
  std::uint64_t attempt;
  std::uint32_t req_id;
  chat::ConversationId conversation;
  std::optional<chat::Offset> logged{};
};

struct Unanswered {
  std::vector<std::unique_ptr<Item>> items;  // in the order received
  std::vector<MarkWait> marks;
  std::vector<chat::ConversationId> looking;                          // one look-up at a time per conversation
  std::vector<std::pair<chat::ConversationId, std::uint32_t>> turns;  // those above 1 (D65)
};

// A live frame or outcome held until caughtUp (R25).
struct Buffered {
  std::unique_ptr<link::Delivery> own;  // the outcome of this connection's own record
  OutgoingPtr frame;
  bool recipient = false;
};

struct Greeting {
  std::uint32_t req_id = 0;
  std::uint64_t epoch = 0;  // of the registration (R25)
  bool login_checked = false, device_opened = false;
  chat::TimeMs deadline;
  std::vector<store::Cursor> cursors;
  std::string token;
  // What came before `welcome`, and nacks of what came malformed (D1) or was too much; at most limits.unacked_sends and kEarlyBytes.
  struct Refused {
    chat::ConversationId conversation;
    std::uint32_t turn = 0;  // that it was sent in
  };
  struct Early {
    client::Frame frame;
    bool answer = false;
    std::optional<Refused> refused{};  // the answer is a temporary nack of a send: it bears a turn (D65)
  };
  std::vector<Early> early;
  std::size_t early_bytes = 0;
  bool early_full = false;  // no send is held any more
};

struct Resuming {
  enum class Step : std::uint8_t { confirming, reading, replaying };
  std::uint64_t number = 0;  // names this resume in callbacks
  Step step = Step::confirming;
  std::uint32_t req_id = 0;
  std::vector<store::Cursor> cursors;
  std::string token;  // as the client sent it
  std::deque<Buffered> buffer;
  std::size_t buffered_bytes = 0;
  // Replay (D32).
  std::vector<store::StoredEvent> events;
  std::size_t next = 0;
  std::deque<store::Cursor> unacked;
  chat::TimeMs ack_deadline{};
  client::CaughtUp caught_up;
};

enum class Stage : std::uint8_t {
  opened,    // waits for hello
  greeting,  // login and device are being checked
  resuming,  // from welcome, or a later `resume`, to caughtUp
  live,
  rest,  // a REST request
  closed,
};

struct Session : TimingWheel::Node {
  explicit Session(ConnectionId connection) : id(connection) {}

  ConnectionId id;
  chat::UserId user;
  chat::LoginId login;
  std::string device, platform;
  Session* next_of_user = nullptr;
  chat::TimeMs opened{};   // wall clock; the later one supersedes
  chat::TimeMs expires{};  // of the token; steady clock
  chat::TimeMs last_heard{}, last_sent{};
  chat::TimeMs ask_deadline{};  // D66: resume by then; 0: was not asked
  std::unique_ptr<Greeting> greeting;
  std::unique_ptr<Resuming> resuming;
  std::unique_ptr<Unanswered> unanswered;
  std::vector<store::Cursor> sent;  // what an ack may be about (D31), one a conversation, the newest last
  std::unique_ptr<std::move_only_function<void(client::Frame)>> rest;
  std::uint32_t ping_early_ms = 0;  // jitter of the first ping
  RouterId home{UINT32_MAX};
  Stage stage = Stage::opened;
  bool ask = false;              // resume as soon as this one is over (R21)
  bool behind = false;           // could not be replayed (R25)
  bool login_unchecked = false;  // the store did not tell: will be asked again
  bool went_away = false;        // goaway was sent

  bool closed() const { return stage == Stage::closed; }
  bool greeted() const { return stage == Stage::resuming || stage == Stage::live || stage == Stage::rest; }
};
static_assert(sizeof(Session) <= 320, "an idle session has to stay small");

}  // namespace parley::gateway
