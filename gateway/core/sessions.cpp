#include "gateway/core/sessions.h"

#include <algorithm>

#include "gateway/core/frames.h"

namespace parley::gateway {

Sessions::Sessions(const Settings& settings, const Ports& ports) : settings_(settings), ports_(ports), wheel_(ports.clock.steady()) {}

Session& Sessions::open(ConnectionId connection, chat::TimeMs now) {
  auto& session = *(sessions_[connection] = std::make_unique<Session>(connection));
  session.last_heard = session.last_sent = now;
  ++connections_;
  wheel_.schedule(session, {now.value + settings_.hello_timeout_ms});
  return session;
}

Session& Sessions::open_request(chat::UserId user, std::move_only_function<void(client::Frame)> answer, chat::TimeMs now) {
  ConnectionId connection{++next_request_};
  auto& session = *(sessions_[connection] = std::make_unique<Session>(connection));
  session.stage = Stage::rest;
  session.user = user;
  session.device = "rest";
  session.last_heard = session.last_sent = now;
  session.rest = std::make_unique<std::move_only_function<void(client::Frame)>>(std::move(answer));
  return session;
}

Session* Sessions::find(ConnectionId connection) {
  auto it = sessions_.find(connection);
  return it == sessions_.end() ? nullptr : it->second.get();
}

Session* Sessions::of(const chat::UserId& user) {
  auto it = users_.find(user);
  return it == users_.end() ? nullptr : it->second;
}

bool Sessions::identify(Session& session, const chat::UserId& user) {
  session.user = user;
  Session*& first = users_[user];
  session.next_of_user = first;
  first = &session;
  return session.next_of_user == nullptr;
}

void Sessions::send(Session& session, const OutgoingPtr& frame) {
  if (session.closed()) return;
  if (session.rest) {
    // The one answer. Anything else a connection would get has no place here.
    if (!is_answer(frame->frame())) return;
    auto answer = std::move(session.rest);
    forget(session);
    (*answer)(client::Frame(frame->frame()));
    return;
  }
  session.last_sent = now();
  if (frame->receipt.seq.value != 0) sent(session, frame->receipt);
  ports_.sockets.send(session.id, frame);
}

void Sessions::sent(Session& session, const store::Cursor& upto) {
  auto& sent = session.sent;
  auto it = std::ranges::find(sent, upto.conversation, &store::Cursor::conversation);
  if (it != sent.end())
    it->seq = std::max(it->seq, upto.seq);
  else if (sent.size() < kSent)
    it = sent.insert(sent.end(), upto);
  else
    *(it = sent.begin()) = upto;
  std::rotate(it, it + 1, sent.end());
}

void Sessions::fail(Session& session, chat::Close close_code, std::string_view message) {
  if (session.closed()) return;
  if (session.rest) return send(session, nack_frame({.code = chat::Code::unavailable, .message = std::string(message), .temporary = true}));
  send(session, error_frame(close_code, message));
  close(session, static_cast<std::uint16_t>(close_code), chat::name(close_code));
}

void Sessions::close(Session& session, std::uint16_t code, std::string_view reason) {
  if (session.closed()) return;
  ConnectionId id = session.id;
  forget(session);
  ports_.sockets.close(id, code, reason);
}

void Sessions::forget(Session& session) {
  if (session.closed()) return;
  auto node = sessions_.extract(session.id);
  bool request = session.stage == Stage::rest;
  if (!request) --connections_;
  if (!request && session.user) {
    auto it = users_.find(session.user);
    Session** at = &it->second;
    while (*at != &session) at = &(*at)->next_of_user;
    *at = session.next_of_user;
    bool last = it->second == nullptr;
    if (last) users_.erase(it);
    if (gone_) gone_(session, last);
  }
  session.stage = Stage::closed;
  session.unlink();
  graveyard_.push_back(std::move(node.mapped()));
}

void Sessions::sweep() { graveyard_.clear(); }

std::vector<ConnectionId> Sessions::ids() const {
  std::vector<ConnectionId> out;
  out.reserve(sessions_.size());
  for (const auto& [id, session] : sessions_)
    if (session->stage != Stage::rest) out.push_back(id);
  std::ranges::sort(out);  // an order that does not depend on the hash table
  return out;
}

}  // namespace parley::gateway
