#include "gateway/core/hello.h"

#include <algorithm>
#include <utility>

namespace parley::gateway {

using chat::Close;
using chat::Code;

namespace {

constexpr std::size_t kPlatformBytes = 32;

}  // namespace

Hello::Hello(const Settings& settings, Ports& ports, Sessions& sessions, Routers& routers, Rates& rates, KnownUsers& users, Resumes& resumes,
             std::uint64_t seed)
    : settings_(settings),
      ports_(ports),
      sessions_(sessions),
      routers_(routers),
      rates_(rates),
      users_(users),
      resumes_(resumes),
      ids_(seed),
      jitter_(seed | 1) {}

std::expected<std::vector<store::Cursor>, std::string_view> read_cursors(const google::protobuf::RepeatedPtrField<client::Cursor>& cursors,
                                                                         std::uint32_t most) {
  if (static_cast<std::uint32_t>(cursors.size()) > most) return std::unexpected("too many cursors");
  std::vector<store::Cursor> out;
  out.reserve(static_cast<std::size_t>(cursors.size()));
  for (const client::Cursor& cursor : cursors) {
    auto conversation = chat::parse_id<chat::ConversationId>(cursor.conversation());
    if (!conversation) return std::unexpected("cursors.conversation is not a UUID");
    out.push_back({*conversation, {cursor.seq()}});
  }
  return out;
}

void Hello::hello(Session& session, client::Frame&& frame) {
  const client::Hello& hello = frame.hello();
  if (!valid_device(hello.device_id())) return sessions_.fail(session, Close::bad_frame, "deviceId is 1-64 of A-Z a-z 0-9 . _ -");
  auto cursors = read_cursors(hello.cursors(), settings_.limits.cursors);
  if (!cursors) return sessions_.fail(session, Close::bad_frame, cursors.error());
  chat::TimeMs wall = ports_.clock.wall();
  auto identity = ports_.tokens.verify(hello.token(), wall);
  if (!identity) {
    if (identity.error() == TokenFault::expired) return sessions_.fail(session, Close::token_expired, "the token has expired");
    return sessions_.fail(session, Close::auth_failed, "the token is not valid");
  }
  if (routers_.open() == 0) return sessions_.fail(session, Close::overloaded, "no router can be reached");

  session.stage = Stage::greeting;
  session.login = identity->login;
  session.device = hello.device_id();
  session.platform = beginning(hello.platform(), kPlatformBytes);
  session.opened = wall;
  session.expires = {sessions_.now().value + (identity->expires.value > wall.value ? identity->expires.value - wall.value : 0)};
  session.greeting = std::make_unique<Greeting>();
  Greeting& greeting = *session.greeting;
  greeting.req_id = frame.req_id();
  greeting.deadline = {sessions_.now().value + settings_.read_timeout_ms};
  greeting.cursors = std::move(*cursors);
  greeting.token = hello.sync_token();
  sessions_.wheel().schedule(session, sessions_.now());
  users_.add(identity->user);
  // R25 (1): everything from here on reaches this gateway once the routers have confirmed.
  bool first = sessions_.identify(session, identity->user);
  greeting.epoch = first ? routers_.register_user(identity->user) : routers_.epoch();
  if (!open_device(session, false)) return;
  check_login(session);
}

// Whoever sends too much at once would do it again after a close: what cannot be held is refused, as it would be after `welcome`.
// Once a send was not held none is: no later one of its conversation is to stand before it (R9).
bool Hello::early(Session& session, client::Frame&& frame) {
  Greeting& greeting = *session.greeting;
  const std::size_t bytes = frame.ByteSizeLong();
  const bool send = is_operation(frame), fits = greeting.early_bytes + bytes <= kEarlyBytes;
  if (send && !fits) greeting.early_full = true;
  if (send ? greeting.early_full : !fits && bytes > kSmallBytes) return false;
  greeting.early_bytes += bytes;
  hold(session, {.frame = std::move(frame)});
  return true;
}

void Hello::early_answer(Session& session, client::Frame&& nack, std::optional<Greeting::Refused> refused) {
  if (nack.ByteSizeLong() > kSmallBytes) {  // no id is as long
    nack.mutable_nack()->clear_client_msg_id();
    nack.mutable_nack()->clear_op_id();
  }
  hold(session, {.frame = std::move(nack), .answer = true, .refused = refused});
}

void Hello::hold(Session& session, Greeting::Early early) {
  Greeting& greeting = *session.greeting;
  if (greeting.early.size() >= settings_.limits.unacked_sends) return sessions_.fail(session, Close::rate_limited, "too many frames before welcome");
  greeting.early.push_back(std::move(early));
}

// ---- the home ----------------------------------------------------------------------------------------------------------

bool Hello::open_device(Session& session, bool moved) {
  auto home = routers_.home(session.user);
  if (!home) {
    if (session.stage == Stage::greeting) sessions_.fail(session, Close::overloaded, "no router can be reached");
    session.home = {UINT32_MAX};
    return false;
  }
  session.home = *home;
  link::HomeRequest request;
  request.set_user(std::string(session.user.view()));
  link::DeviceOpen& open = *request.mutable_device_open();
  open.set_connection(session.id.value);
  open.set_device(session.device);
  open.set_platform(session.platform);
  open.set_moved(moved);
  open.set_opened_ms(session.opened.value);
  routers_.to_home(*home, std::move(request));
  return true;
}

void Hello::on_homes_moved() {
  for (ConnectionId id : sessions_.ids()) {
    Session* session = sessions_.find(id);
    if (!session || !session->user) continue;
    auto home = routers_.home(session->user);
    if (home && *home == session->home) continue;
    if (routers_.is_open(session->home)) {
      link::HomeRequest request;
      request.set_user(std::string(session->user.view()));
      request.mutable_device_close()->set_connection(session->id.value);
      request.mutable_device_close()->set_device(session->device);
      routers_.to_home(session->home, std::move(request));
    }
    open_device(*session, !session->greeting || session->greeting->device_opened);
  }
}

void Hello::on_home(const link::HomeReply& reply) {
  auto user = chat::UserId::from_bytes(reply.user());
  if (!user) return;
  auto session_of = [&](std::uint64_t connection) -> Session* {
    Session* session = sessions_.find({connection});
    return session && session->user == *user && session->stage != Stage::rest ? session : nullptr;
  };
  switch (reply.what_case()) {
    case link::HomeReply::kDeviceOpened:
      if (reply.device_opened().tokens() > 0) rates_.on_leased(*user, reply.device_opened().tokens(), 0);
      if (Session* session = session_of(reply.device_opened().connection()); session && session->greeting) {
        session->greeting->device_opened = true;
        welcome_if_ready(*session);
      }
      break;
    case link::HomeReply::kDeviceRefused:
      if (Session* session = session_of(reply.device_refused().connection())) {
        // D12: `conflict`, not the code that 4005 has otherwise.
        client::Frame frame = error_frame(Close::overloaded, "too many devices are connected");
        frame.mutable_error()->set_code(std::string(chat::name(Code::conflict)));
        sessions_.send(*session, std::move(frame));
        sessions_.close(*session, static_cast<std::uint16_t>(Close::overloaded), chat::name(Close::overloaded));
      }
      break;
    case link::HomeReply::kSuperseded:
      if (Session* session = session_of(reply.superseded().connection())) {
        if (session->went_away)  // D14: it did as it was told
          sessions_.close(*session, 1000, "");
        else
          sessions_.fail(*session, Close::superseded, "this device connected again");
      }
      break;
    case link::HomeReply::kLeased:
      rates_.on_leased(*user, reply.leased().tokens(), reply.leased().retry_after_ms());
      break;
    case link::HomeReply::kPresenceChanged:
    case link::HomeReply::WHAT_NOT_SET:
      break;
  }
}

void Hello::on_gone(Session& session, bool last) {
  if (routers_.is_open(session.home)) {
    link::HomeRequest request;
    request.set_user(std::string(session.user.view()));
    request.mutable_device_close()->set_connection(session.id.value);
    request.mutable_device_close()->set_device(session.device);
    routers_.to_home(session.home, std::move(request));
  }
  if (last) routers_.unregister_user(session.user);
}

// ---- the login ---------------------------------------------------------------------------------------------------------

void Hello::check_login(Session& session) {
  ports_.accounts.login_open(session.login, [this, alive = std::weak_ptr(alive_), connection = session.id, login = session.login](store::Result<bool> open) {
    if (alive.expired()) return;
    Session* s = sessions_.find(connection);
    if (s && s->login == login) login_answered(*s, open ? std::optional(*open) : std::nullopt);
  });
}

void Hello::login_answered(Session& session, std::optional<bool> open) {
  if (open && !*open) return sessions_.fail(session, Close::auth_revoked, "this login was ended");
  if (!open) check_later(session);
  if (!session.greeting) return;
  session.greeting->login_checked = true;
  welcome_if_ready(session);
}

void Hello::check_later(Session& session) {
  if (!std::exchange(session.login_unchecked, true)) unchecked_.push_back(session.id);
}

void Hello::on_tick() {
  if (unchecked_.empty() || sessions_.now() < check_at_) return;
  check_at_ = {sessions_.now().value + kCheckMs};
  for (std::size_t n = std::min(kChecks, unchecked_.size()); n > 0; --n) {
    Session* session = sessions_.find(unchecked_.front());
    unchecked_.pop_front();
    if (!session) continue;
    session->login_unchecked = false;
    check_login(*session);
  }
}

void Hello::on_login_ended(const chat::UserId& user, const std::optional<chat::LoginId>& login, bool revoked) {
  for (Session *session = sessions_.of(user), *next = nullptr; session; session = next) {
    next = session->next_of_user;
    if (login && session->login != *login) continue;
    sessions_.fail(*session, revoked ? Close::auth_revoked : Close::logged_out, revoked ? "this login was revoked" : "logged out");
  }
}

void Hello::auth(Session& session, const client::Auth& auth, std::uint32_t req_id) {
  if (!rates_.take_read(session.user)) return nack(session, req_id, Code::rate_limited, "too many requests");
  chat::TimeMs wall = ports_.clock.wall();
  auto identity = ports_.tokens.verify(auth.token(), wall);
  if (!identity) return nack(session, req_id, Code::unauthenticated, "the token is not valid");
  if (identity->user != session.user) return nack(session, req_id, Code::forbidden, "the token is somebody else's");
  ports_.accounts.login_open(identity->login,
                             [this, alive = std::weak_ptr(alive_), connection = session.id, identity = *identity, req_id](store::Result<bool> open) {
                               if (alive.expired()) return;
                               Session* s = sessions_.find(connection);
                               if (!s) return;
                               if (open && !*open) return nack(*s, req_id, Code::unauthenticated, "the login of this token was ended");
                               s->login = identity.login;
                               if (!open) check_later(*s);
                               chat::TimeMs now = ports_.clock.wall();
                               s->expires = {sessions_.now().value + (identity.expires.value > now.value ? identity.expires.value - now.value : 0)};
                               sessions_.wheel().schedule(*s, sessions_.now());
                               client::Frame frame;
                               frame.set_req_id(req_id);
                               frame.mutable_auth()->set_expires_at_ms(identity.expires.value);
                               sessions_.send(*s, std::move(frame));
                             });
}

void Hello::nack(Session& session, std::uint32_t req_id, Code code, std::string message) {
  const bool temporary = code == Code::rate_limited;
  sessions_.send(session,
                 nack_frame({.req_id = req_id, .code = code, .message = std::move(message), .temporary = temporary, .retry_after_ms = temporary ? 100u : 0u}));
}

// ---- welcome -----------------------------------------------------------------------------------------------------------

void Hello::welcome_if_ready(Session& session) {
  if (!session.greeting->login_checked || !session.greeting->device_opened) return;
  auto greeting = std::move(session.greeting);
  client::Frame frame;
  frame.set_req_id(greeting->req_id);
  client::Welcome& welcome = *frame.mutable_welcome();
  chat::TimeMs wall = ports_.clock.wall();
  welcome.set_session_id(chat::uuid_text(ids_.next(wall)));
  welcome.set_user_id(chat::to_text(session.user));
  welcome.set_server_time_ms(wall.value);
  welcome.set_heartbeat_ms(settings_.heartbeat_ms);
  client::Limits& limits = *welcome.mutable_limits();
  limits.set_frame_bytes(settings_.limits.frame_bytes);
  limits.set_text_bytes(settings_.limits.text_bytes);
  limits.set_unacked_sends(settings_.limits.unacked_sends);
  limits.set_sends_per_second(settings_.limits.sends_per_second);
  limits.set_send_burst(settings_.limits.send_burst);
  limits.set_devices(settings_.limits.devices);
  limits.set_resume_events(settings_.limits.resume_events);
  limits.set_cursors(settings_.limits.cursors);
  session.stage = Stage::resuming;
  session.resuming = std::make_unique<Resuming>();  // what arrives from here on waits for caughtUp
  sessions_.send(session, std::move(frame));
  if (session.closed()) return;
  // The first ping comes at a random moment of the period, so that those who connected together do not ping together.
  jitter_ = jitter_ * 6364136223846793005ull + 1442695040888963407ull;
  session.ping_early_ms = static_cast<std::uint32_t>((jitter_ >> 33) % std::max<std::uint32_t>(settings_.heartbeat_ms, 1));
  resumes_.begin(session, std::move(greeting->cursors), std::move(greeting->token), 0, greeting->epoch);
  for (Greeting::Early& early : greeting->early) {
    if (session.closed()) return;
    if (early.refused)
      refused_(session, *early.refused, std::move(early.frame));
    else if (early.answer)
      sessions_.send(session, std::move(early.frame));
    else
      frame_(session, std::move(early.frame));
  }
}

}  // namespace parley::gateway
