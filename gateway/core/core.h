// The gateway without its sockets: frames, link messages, outcomes and time in; frames, closes, records and link messages out.
//
// One Core per gateway shard (one io_context, one thread): it owns the sessions of that thread and shares nothing with
// other shards. Every call and every callback happens on that thread. Nothing here blocks, nothing here is durable: what a
// restart would lose the client resumes from its cursors (P4).
//
//   client frame -> session (hello, resume, answers) -> attempts (order, look-ups, since, turn: R8, R9) -> log
//   link Down    -> deliver (answers, events, suppression: R23) -> session buffer or outbox
//   link Down    -> progress per partition (R21) -> "resume, please"
//   reads        -> barrier reads (R14)
#pragma once

#include <array>
#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "chat/codes.h"
#include "chat/ids.h"
#include "chat/limits.h"
#include "chat/record.h"
#include "eventlog/log.h"
#include "parley/client/v1/client.pb.h"
#include "parley/link/v1/link.pb.h"
#include "runtime/clock.h"
#include "store/accounts.h"
#include "store/store.h"

namespace parley::gateway {

namespace client = parley::client::v1;
namespace link = parley::link::v1;

using ConnectionId = chat::Number<struct ConnectionTag, std::uint64_t>;
using RouterId = chat::Number<struct RouterTag, std::uint32_t>;  // index into the member list

struct Settings {
  chat::Limits limits;
  chat::FoldLimits fold_limits;
  std::uint32_t fold_version = chat::kStampedFold;  // R6
  std::uint32_t heartbeat_ms = 25'000;
  std::uint32_t hello_timeout_ms = 5'000;
  std::uint32_t read_timeout_ms = 3'000;          // R14, D63
  std::uint32_t produce_answer_ms = 1'000;        // R24: temporary nack when the log did not answer by then
  std::uint32_t outcome_answer_ms = 8'000;        // nack when the log took it but no router told the outcome
  std::uint32_t max_connections = 100'000;        // per shard
  std::uint32_t replay_window = 200;              // D32
  std::uint32_t buffered_frames_bytes = 1 << 20;  // live frames held while a session resumes; overflow: slowConsumer
  bool scheduled_sends = false;                   // accept `sendAtMs`: needs persisters that fire schedules (R10)
  std::array<std::uint8_t, 16> salt_key{};        // R7: secret, random at each start; a record's salt is H(key, counter)
};

// One frame to be sent to many: encoded at most once per encoding, on first use (the shell does that).
class Outgoing {
 public:
  explicit Outgoing(client::Frame frame) : frame_(std::move(frame)) {}
  const client::Frame& frame() const { return frame_; }
  bool ephemeral = false;  // first to be shed when an outbox fills
  store::Cursor receipt;   // an ack up to here becomes a mark (D31); seq 0: none does
  // Complete WebSocket messages as sent (header included), filled by the shell.
  mutable std::string wire_protobuf, wire_json;

 private:
  client::Frame frame_;
};
using OutgoingPtr = std::shared_ptr<const Outgoing>;

// The shell's side: sockets. A connection unknown here is ignored (it may just have closed).
class Sockets {
 public:
  virtual ~Sockets() = default;
  virtual void send(ConnectionId connection, OutgoingPtr frame) = 0;
  // Sends what is queued, then a close frame with this code, then ends the connection. on_closed is not called for it.
  virtual void close(ConnectionId connection, std::uint16_t code, std::string_view reason) = 0;
};

// The shell's side: one ordered stream to each router. Both are no-ops while that stream is not open.
class Links {
 public:
  virtual ~Links() = default;
  virtual void send(RouterId router, link::Up message) = 0;
  virtual void break_stream(RouterId router) = 0;  // R16: reopens by itself
};

// A verified access token.
struct Identity {
  chat::UserId user;
  chat::LoginId login;
  chat::TimeMs expires;
};
enum class TokenFault : std::uint8_t { bad, expired };
class Tokens {
 public:
  virtual ~Tokens() = default;
  virtual std::expected<Identity, TokenFault> verify(std::string_view token, chat::TimeMs now) const = 0;
};

struct Ports {
  runtime::Clock& clock;
  eventlog::Log& log;
  eventlog::Producer& producer;
  store::Reader& reader;
  store::Accounts& accounts;
  Sockets& sockets;
  Links& links;
  const Tokens& tokens;
};

class Core {
 public:
  // `instance`: random, new at every start; `topic` as the log's open() told; `progress`: the end offsets now (R21).
  Core(Settings settings, Ports ports, std::uint64_t instance, eventlog::Topic topic, std::vector<chat::Offset> progress, std::string name);
  ~Core();

  // ---- connections (the shell decodes; ids are its own, never reused) ----
  void on_open(ConnectionId connection);
  void on_frame(ConnectionId connection, client::Frame&& frame);
  // D1: a JSON object that is no valid Frame, or a known body with wrong values the decoder saw.
  void on_invalid(ConnectionId connection, std::uint32_t req_id, std::string client_msg_id, std::string op_id, std::string message);
  // Broken framing, not JSON, too large, slow: the core says `error` and closes.
  void fail(ConnectionId connection, chat::Close close, std::string_view message);
  void on_alive(ConnectionId connection);   // any bytes count as life (D16)
  void on_closed(ConnectionId connection);  // the socket is gone

  // ---- REST: the same operations, answered by one frame (sendAck, result, nack, historyPage, ...) ----
  void request(chat::UserId user, client::Frame&& frame, std::move_only_function<void(client::Frame)> answer);

  // D21: one of the user's reads, for what REST asks of the store itself; false: too many.
  bool take_read(const chat::UserId& user);

  // ---- links ----
  void on_members(std::vector<std::string> names);  // the router list; RouterId indexes it
  void on_link_open(RouterId router);
  void on_link_down(RouterId router, const link::Down& message);
  void on_link_closed(RouterId router);

  // ---- logins (D13) ----
  void on_login_ended(chat::UserId user, std::optional<chat::LoginId> login, bool revoked);

  // ---- time: about every 50 ms ----
  void on_tick();

  // ---- drain (P6): goaway to everyone, spread over `window_ms`; closes at the deadline. True once empty. ----
  void drain(std::uint32_t window_ms, chat::TimeMs deadline);
  bool drained() const;

  struct Stats {
    std::size_t connections = 0, sessions = 0, unanswered = 0, links = 0, resuming = 0;
    std::size_t behind = 0;             // sessions that could not be replayed and will be asked again (R25)
    std::size_t silent_partitions = 0;  // no `upto` for 3 s: an alarm (R21)
    std::size_t reads_waiting = 0;      // behind the barrier (R14)
  };
  Stats stats() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace parley::gateway
