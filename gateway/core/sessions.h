// The table of a shard's sessions, by connection and by user, and the only way frames and closes leave the core.
//
// A session that closes is taken out of both tables at once, but its memory is freed only when no call is on the stack any
// more (`sweep`), so that whoever holds a reference may still ask `closed()`.
// Owner's thread only. Bound: settings.max_connections.
#pragma once

#include <memory>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "gateway/core/session.h"

namespace parley::gateway {

class Sessions {
 public:
  Sessions(const Settings& settings, const Ports& ports);

  Session& open(ConnectionId connection, chat::TimeMs now);
  Session& open_request(chat::UserId user, std::move_only_function<void(client::Frame)> answer, chat::TimeMs now);
  // Told before a session with a user is forgotten: `last` of this user on this shard.
  void on_gone(std::move_only_function<void(Session&, bool last)> gone) { gone_ = std::move(gone); }

  Session* find(ConnectionId connection);
  Session* of(const chat::UserId& user);  // the first; the others by next_of_user
  // True where it is the first of this user here.
  bool identify(Session& session, const chat::UserId& user);

  static constexpr std::size_t kSent = 256;  // conversations of a session whose events it has not acknowledged; the oldest is forgotten

  void send(Session& session, const OutgoingPtr& frame);
  void send(Session& session, client::Frame&& frame) { send(session, std::make_shared<Outgoing>(std::move(frame))); }
  // The client has everything up to here, and may acknowledge it (D31).
  void sent(Session& session, const store::Cursor& upto);
  // `error`, then the close frame (D10). A REST request is answered with a nack.
  void fail(Session& session, chat::Close close, std::string_view message);
  void close(Session& session, std::uint16_t code, std::string_view reason);
  // The socket is gone already.
  void forget(Session& session);
  void sweep();

  std::size_t connections() const { return connections_; }
  bool empty() const { return sessions_.empty(); }
  TimingWheel& wheel() { return wheel_; }
  chat::TimeMs now() const { return ports_.clock.steady(); }

  template <class F>
  void each(F&& f) {  // f must not open or close sessions
    for (auto& [id, session] : sessions_) f(*session);
  }
  std::vector<ConnectionId> ids() const;

 private:
  const Settings& settings_;
  const Ports& ports_;
  TimingWheel wheel_;
  std::unordered_map<ConnectionId, std::unique_ptr<Session>> sessions_;
  std::unordered_map<chat::UserId, Session*> users_;
  std::vector<std::unique_ptr<Session>> graveyard_;
  std::size_t connections_ = 0;
  std::uint64_t next_request_ = std::uint64_t{1} << 63;  // above every connection id of the shell
  std::move_only_function<void(Session&, bool)> gone_;
};

}  // namespace parley::gateway
