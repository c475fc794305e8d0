#include "gateway/core/core.h"

#include <algorithm>

#include "gateway/core/drain.h"
#include "gateway/core/hello.h"
#include "gateway/core/reading.h"

namespace parley::gateway {

using chat::Close;
using chat::Code;

namespace {

constexpr std::uint32_t kRetryMs = 1'000;

}  // namespace

class Core::Impl {
 public:
  Impl(Settings settings, Ports ports, std::uint64_t instance, eventlog::Topic topic, std::vector<chat::Offset> progress, std::string name)
      : settings_(settings),
        ports_(ports),
        instance_(instance),
        topic_(std::move(topic)),
        name_(std::move(name)),
        progress_(progress, ports.clock.steady()),
        sessions_(settings_, ports_),
        routers_(ports_.links, ports_.clock),
        reads_(ports_.clock, ports_.log, ports_.reader, topic_.partitions, settings_.read_timeout_ms),
        rates_(settings_.limits, routers_, ports_.clock),
        users_(ports_.accounts),
        publisher_(settings_, ports_.producer, instance, std::move(progress)),
        attempts_(settings_, ports_, sessions_, publisher_, reads_, rates_, users_),
        deliver_(settings_, sessions_, publisher_, attempts_),
        resumes_(settings_, ports_, topic_, sessions_, routers_, reads_, deliver_),
        hello_(settings_, ports_, sessions_, routers_, rates_, users_, resumes_, instance),
        reading_(ports_, sessions_, publisher_, reads_, rates_, attempts_),
        drain_(sessions_) {
    publisher_.on_logged([this](ConnectionId connection, std::uint64_t attempt, chat::Partition partition, auto offset) {
      if (connection.value == 0) reading_.on_logged(attempt, offset.has_value());
      attempts_.on_logged(connection, attempt, partition, std::move(offset));
    });
    reads_.on_ends([this](const std::vector<chat::Offset>& ends) {
      for (std::uint32_t p = 0; p < ends.size(); ++p) publisher_.raise({p}, ends[p]);
    });
    sessions_.on_gone([this](Session& session, bool last) { hello_.on_gone(session, last); });
    hello_.on_frame([this](Session& session, client::Frame&& frame) { dispatch(session, std::move(frame)); });
    hello_.on_refused([this](Session& session, const Greeting::Refused& send, client::Frame&& nack) {
      attempts_.refuse_send(session, send.conversation, send.turn, std::move(nack));
    });
    ports_.reader.on_moved([this, alive = std::weak_ptr(alive_)](chat::Partition partition, chat::Offset position) {
      if (!alive.expired()) reads_.on_moved(partition, position);
    });
  }

  // ---- connections -----------------------------------------------------------------------------------------------------

  void on_open(ConnectionId connection) {
    Session& session = sessions_.open(connection, sessions_.now());
    if (drain_.draining())
      sessions_.fail(session, Close::goaway_deadline, "this gateway stops");
    else if (sessions_.connections() > settings_.max_connections)
      sessions_.fail(session, Close::overloaded, "too many connections");
  }

  void on_frame(ConnectionId connection, client::Frame&& frame) {
    Session* session = sessions_.find(connection);
    if (!session) return;
    session->last_heard = sessions_.now();
    switch (session->stage) {
      case Stage::opened:
        if (!frame.has_hello()) return sessions_.fail(*session, Close::bad_frame, "the first frame is hello");
        return hello_.hello(*session, std::move(frame));
      case Stage::greeting:
        if (frame.has_hello()) return sessions_.fail(*session, Close::bad_frame, "hello comes once");
        return early(*session, std::move(frame));
      case Stage::resuming:
      case Stage::live:
        return dispatch(*session, std::move(frame));
      case Stage::rest:
      case Stage::closed:
        return;
    }
  }

  void on_invalid(ConnectionId connection, std::uint32_t req_id, std::string client_msg_id, std::string op_id, std::string message) {
    Session* session = sessions_.find(connection);
    if (!session) return;
    session->last_heard = sessions_.now();
    if (session->stage == Stage::opened) return sessions_.fail(*session, Close::bad_frame, message);  // D1
    client::Frame nack = nack_frame(
        {.req_id = req_id, .client_msg_id = std::move(client_msg_id), .op_id = std::move(op_id), .code = Code::invalid, .message = std::move(message)});
    if (session->stage == Stage::greeting) return hello_.early_answer(*session, std::move(nack));
    sessions_.send(*session, std::move(nack));
  }

  void fail(ConnectionId connection, Close close, std::string_view message) {
    if (Session* session = sessions_.find(connection)) sessions_.fail(*session, close, message);
  }

  void on_alive(ConnectionId connection) {
    if (Session* session = sessions_.find(connection)) session->last_heard = sessions_.now();
  }

  void on_closed(ConnectionId connection) {
    if (Session* session = sessions_.find(connection)) sessions_.forget(*session);
  }

  void request(chat::UserId user, client::Frame&& frame, std::move_only_function<void(client::Frame)> answer) {
    frame.set_req_id(1);  // there is always an answer
    auto bare = [answer = std::move(answer)](client::Frame reply) mutable {
      reply.clear_req_id();
      answer(std::move(reply));
    };
    Session& session = sessions_.open_request(user, std::move(bare), sessions_.now());
    users_.add(user);
    switch (frame.body_case()) {
      case client::Frame::kHistory:
      case client::Frame::kConversations:
      case client::Frame::kMarkRead:
        return dispatch(session, std::move(frame));
      default:
        if (is_operation(frame)) return dispatch(session, std::move(frame));
        unsupported(session, frame);
    }
  }

  // ---- links -----------------------------------------------------------------------------------------------------------

  void on_members(std::vector<std::string> names) {
    for (RouterId router : routers_.members(std::move(names))) progress_.on_closed(router.value);
    hello_.on_homes_moved();
    resumes_.on_confirmed();
  }

  void on_link_open(RouterId router) {
    link::Attach attach;
    attach.set_gateway(instance_);
    attach.set_name(name_);
    attach.set_topic_id(topic_.id);
    for (chat::Offset offset : progress_.at()) attach.add_progress(offset.value);
    std::vector<chat::UserId> users;
    sessions_.each([&](Session& session) {
      if (session.user && session.stage != Stage::rest && sessions_.of(session.user) == &session) users.push_back(session.user);
    });
    std::ranges::sort(users);
    progress_.on_closed(router.value);
    routers_.opened(router, std::move(attach), users);
    hello_.on_homes_moved();
  }

  void on_link_down(RouterId router, const link::Down& message) {
    if (!routers_.is_open(router)) return;
    routers_.heard(router);
    chat::TimeMs now = sessions_.now();
    for (const link::Progress& p : message.from()) progress_.on_from(router.value, {p.partition()}, {p.offset()}, now);
    for (const link::Delivery& delivery : message.deliveries()) deliver_.on_delivery(delivery);
    for (const link::Progress& p : message.upto()) progress_.on_upto(router.value, {p.partition()}, {p.offset()}, now);
    progress_.advance();
    if (message.confirmed() != 0) {
      routers_.confirmed(router, message.confirmed());
      resumes_.on_confirmed();
    }
    for (const link::HomeReply& reply : message.home()) hello_.on_home(reply);
    for (const link::Ephemeral& ephemeral : message.ephemeral()) deliver_.on_ephemeral(ephemeral);
  }

  void on_link_closed(RouterId router) {
    if (!routers_.is_open(router)) return;
    progress_.on_closed(router.value);
    routers_.closed(router);
    hello_.on_homes_moved();
    resumes_.on_confirmed();
  }

  void on_login_ended(chat::UserId user, std::optional<chat::LoginId> login, bool revoked) { hello_.on_login_ended(user, login, revoked); }

  // ---- time ------------------------------------------------------------------------------------------------------------

  void on_tick() {
    for (RouterId router : routers_.tick()) on_link_closed(router);
    reads_.on_tick();
    hello_.on_tick();
    attempts_.on_tick(progress_.at());
    rates_.on_tick();
    reading_.on_tick(drain_.draining() && sessions_.empty());
    if (progress_.gaps(sessions_.now())) resumes_.ask_everyone("gap");
    resumes_.on_tick();
    drain_.on_tick(ports_.clock.wall());
    sessions_.wheel().advance(sessions_.now(), [this](TimingWheel::Node& node) { on_timer(static_cast<Session&>(node)); });
  }

  bool take_read(const chat::UserId& user) { return rates_.take_read(user); }

  void drain(std::uint32_t window_ms, chat::TimeMs deadline) { drain_.begin(window_ms, deadline, ports_.clock.wall(), instance_); }
  bool drained() const { return drain_.draining() && sessions_.empty() && reading_.settled() && publisher_.in_flight() == 0; }

  Stats stats() {
    Stats stats;
    stats.connections = sessions_.connections();
    stats.links = routers_.open();
    stats.behind = resumes_.behind();
    stats.silent_partitions = progress_.silent(sessions_.now());
    stats.reads_waiting = reads_.waiting();
    sessions_.each([&](Session& session) {
      stats.sessions += session.greeted() && session.stage != Stage::rest;
      stats.resuming += session.stage == Stage::resuming;
      if (session.unanswered) stats.unanswered += session.unanswered->items.size() + session.unanswered->marks.size();
    });
    return stats;
  }

  void sweep() { sessions_.sweep(); }
  std::weak_ptr<bool> alive() const { return alive_; }

 private:
  void early(Session& session, client::Frame&& frame) {
    if (hello_.early(session, std::move(frame))) return;
    Refusal refusal{.req_id = frame.req_id(), .code = Code::rate_limited, .message = "too much before welcome", .temporary = true, .retry_after_ms = kRetryMs};
    if (!is_operation(frame)) {
      if (frame.req_id() != 0) hello_.early_answer(session, nack_frame(std::move(refusal)));
      return;
    }
    RequestIds ids = request_ids(frame);
    refusal.client_msg_id = std::move(ids.client_msg_id);
    refusal.op_id = std::move(ids.op_id);
    auto read = operation(std::move(frame), {session.user, ports_.clock.wall(), settings_.limits, settings_.scheduled_sends});
    if (read) return hello_.early_answer(session, nack_frame(std::move(refusal)), Greeting::Refused{(*read)->record.conversation, (*read)->turn});
    refusal.code = read.error().code;
    refusal.message = std::move(read.error().message);
    refusal.temporary = false;
    refusal.retry_after_ms = 0;
    hello_.early_answer(session, nack_frame(std::move(refusal)));
  }

  // A frame of a session that was welcomed, or of a REST request.
  void dispatch(Session& session, client::Frame&& frame) {
    const std::uint32_t req_id = frame.req_id();
    switch (frame.body_case()) {
      case client::Frame::kHello:
        return sessions_.fail(session, Close::bad_frame, "hello comes once");
      case client::Frame::kPing: {
        client::Frame pong;
        pong.set_req_id(req_id);
        pong.mutable_pong()->set_t(frame.ping().t());
        return sessions_.send(session, std::move(pong));
      }
      case client::Frame::kPong:
        return;
      case client::Frame::kAuth:
        return hello_.auth(session, frame.auth(), req_id);
      case client::Frame::kResume:
        return resume(session, frame);
      case client::Frame::kAck: {
        auto cursors = read_cursors(frame.ack().cursors(), settings_.limits.cursors);
        if (!cursors) {
          if (req_id != 0) attempts_.refuse(session, req_id, {}, Code::invalid, std::string(cursors.error()));
          return;
        }
        reading_.ack(session, *cursors, req_id);
        return resumes_.on_ack(session, *cursors);
      }
      case client::Frame::kHistory:
        return reading_.history(session, frame.history(), req_id);
      case client::Frame::kConversations:
        return reading_.conversations(session, frame.conversations(), req_id);
      case client::Frame::kMarkRead:
        return reading_.mark_read(session, frame.mark_read(), req_id);
      case client::Frame::kTyping:
        if (req_id == 0) return;  // D2: never answered without a reqId
        return unsupported(session, frame);
      default:
        break;
    }
    if (!is_operation(frame)) return unsupported(session, frame);
    auto read = operation(std::move(frame), {session.user, ports_.clock.wall(), settings_.limits, settings_.scheduled_sends});
    if (!read) return attempts_.refuse(session, req_id, request_ids(frame), read.error().code, std::move(read.error().message));
    attempts_.accept(session, std::move(*read), req_id);
  }

  void resume(Session& session, const client::Frame& frame) {
    const client::Resume& asked = frame.resume();
    auto refuse = [&](Code code, std::string message, std::uint32_t retry_after_ms = 0) {
      attempts_.refuse(session, frame.req_id(), {}, code, std::move(message), retry_after_ms);
    };
    auto cursors = read_cursors(asked.cursors(), settings_.limits.cursors);
    if (!cursors) return refuse(Code::invalid, std::string(cursors.error()));
    if (!rates_.take_read(session.user, cursors->size())) return refuse(Code::rate_limited, "too many requests", kRetryMs);
    resumes_.begin(session, std::move(*cursors), asked.sync_token(), frame.req_id(), routers_.epoch());
  }

  void unsupported(Session& session, const client::Frame& frame) {
    attempts_.refuse(session, frame.req_id(), request_ids(frame), Code::unsupported, "not served here");
  }

  // The one timer of a session: whatever is due, then the next moment at which something may be.
  void on_timer(Session& session) {
    const std::uint64_t now = sessions_.now().value;
    if (session.stage == Stage::opened) return sessions_.fail(session, Close::hello_timeout, "no hello in time");
    if (session.stage == Stage::greeting) {
      std::uint64_t deadline = Hello::deadline(session).value;
      if (now >= deadline) return sessions_.fail(session, Close::overloaded, "the home does not answer");
      return sessions_.wheel().schedule(session, {deadline});
    }
    const std::uint64_t silence = session.last_heard.value + std::uint64_t{settings_.heartbeat_ms} * 22 / 10;
    if (now >= silence) return sessions_.fail(session, Close::heartbeat_timeout, "nothing was heard");
    if (now >= session.expires.value) return sessions_.fail(session, Close::token_expired, "the token has expired");
    const std::uint64_t overdue = Resumes::deadline(session).value;
    if (overdue != 0 && now >= overdue) return sessions_.fail(session, Resumes::overdue(session), "no answer to resume or replay");
    std::uint64_t ping = session.last_sent.value + settings_.heartbeat_ms - session.ping_early_ms;
    if (now >= ping) {
      session.ping_early_ms = 0;
      client::Frame frame;
      frame.mutable_ping()->set_t(std::to_string(ports_.clock.wall().value));
      sessions_.send(session, std::move(frame));
      if (session.closed()) return;
      ping = session.last_sent.value + settings_.heartbeat_ms;
    }
    std::uint64_t next = std::min({silence, session.expires.value, ping});
    if (overdue != 0) next = std::min(next, overdue);
    sessions_.wheel().schedule(session, {next});
  }

  Settings settings_;
  Ports ports_;
  std::uint64_t instance_;
  eventlog::Topic topic_;
  std::string name_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  Progress progress_;
  Sessions sessions_;
  Routers routers_;
  BarrierReads reads_;
  Rates rates_;
  KnownUsers users_;
  Publisher publisher_;
  Attempts attempts_;
  Deliver deliver_;
  Resumes resumes_;
  Hello hello_;
  Reading reading_;
  Drain drain_;
};

Core::Core(Settings settings, Ports ports, std::uint64_t instance, eventlog::Topic topic, std::vector<chat::Offset> progress, std::string name)
    : impl_(std::make_unique<Impl>(settings, ports, instance, std::move(topic), std::move(progress), std::move(name))) {}
Core::~Core() = default;

void Core::on_open(ConnectionId connection) { impl_->on_open(connection); }
void Core::on_frame(ConnectionId connection, client::Frame&& frame) { impl_->on_frame(connection, std::move(frame)); }
void Core::on_invalid(ConnectionId connection, std::uint32_t req_id, std::string client_msg_id, std::string op_id, std::string message) {
  impl_->on_invalid(connection, req_id, std::move(client_msg_id), std::move(op_id), std::move(message));
}
void Core::fail(ConnectionId connection, chat::Close close, std::string_view message) { impl_->fail(connection, close, message); }
void Core::on_alive(ConnectionId connection) { impl_->on_alive(connection); }
void Core::on_closed(ConnectionId connection) { impl_->on_closed(connection); }
void Core::request(chat::UserId user, client::Frame&& frame, std::move_only_function<void(client::Frame)> answer) {
  impl_->request(user, std::move(frame), std::move(answer));
}
void Core::on_members(std::vector<std::string> names) { impl_->on_members(std::move(names)); }
void Core::on_link_open(RouterId router) { impl_->on_link_open(router); }
void Core::on_link_down(RouterId router, const link::Down& message) { impl_->on_link_down(router, message); }
void Core::on_link_closed(RouterId router) { impl_->on_link_closed(router); }
void Core::on_login_ended(chat::UserId user, std::optional<chat::LoginId> login, bool revoked) { impl_->on_login_ended(user, login, revoked); }
void Core::on_tick() {
  impl_->sweep();  // nothing of the core is on the stack here
  impl_->on_tick();
}
void Core::drain(std::uint32_t window_ms, chat::TimeMs deadline) { impl_->drain(window_ms, deadline); }
bool Core::take_read(const chat::UserId& user) { return impl_->take_read(user); }
bool Core::drained() const { return impl_->drained(); }
Core::Stats Core::stats() const { return impl_->stats(); }

}  // namespace parley::gateway
