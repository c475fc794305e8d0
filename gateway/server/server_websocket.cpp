// The WebSocket phase of a connection: bytes to frames for Core, Core's frames to bytes.
#include <boost/asio/post.hpp>
#include <chrono>

#include "gateway/server/server_connection.h"
#include "runtime/log.h"

namespace parley::gateway {

namespace log = runtime::log;
using websocket::Opcode;

namespace {

constexpr std::size_t kGather = 64;  // pieces a write
constexpr std::size_t kSpareOutboxes = 256;

chat::Close close_of(websocket::Fault fault) { return fault == websocket::Fault::too_large ? chat::Close::frame_too_large : chat::Close::bad_frame; }

std::string_view text_of(websocket::Fault fault) {
  switch (fault) {
    case websocket::Fault::utf8:
      return "a text frame is not UTF-8";
    case websocket::Fault::too_large:
      return "a message is longer than limits.frameBytes";
    case websocket::Fault::protocol:
      break;
  }
  return "broken WebSocket framing";
}

}  // namespace

void Server::websocket_input(Connection& connection, std::span<char> bytes) {
  auto id = connection.id;
  core_->on_alive(id);
  while (connection.phase == Connection::Phase::websocket) {
    auto message = connection.decoder.next(bytes);
    if (!message) {
      metrics_.malformed.add();
      log::limited(log::Level::info, "gateway.bad_frame", connection.address,
                   {{"address", connection.address}, {"connection", id.value}, {"what", text_of(message.error())}});
      return core_->fail(id, close_of(message.error()), text_of(message.error()));
    }
    if (!*message) return;
    websocket_message(connection, **message);
  }
}

void Server::websocket_message(Connection& connection, const websocket::Message& message) {
  auto id = connection.id;
  switch (message.opcode) {
    case Opcode::ping: {
      std::string pong;
      websocket::append_frame(pong, Opcode::pong, message.payload);
      return push_control(connection, std::move(pong), true);
    }
    case Opcode::pong:
      return;
    case Opcode::close:
      return websocket_peer_closed(connection, message.payload);
    default:
      break;
  }
  metrics_.frames_in.add();
  auto begin = std::chrono::steady_clock::now();
  auto read = codec_.read(connection.encoding, message.opcode, message.payload);
  if (auto* frame = std::get_if<client::Frame>(&read)) {
    bool send = frame->has_send();
    core_->on_frame(id, std::move(*frame));
    if (send) metrics_.accept.observe(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
    return;
  }
  metrics_.malformed.add();
  if (auto* invalid = std::get_if<json::Invalid>(&read)) {
    log::limited(log::Level::info, "gateway.invalid_frame", connection.address,
                 {{"address", connection.address}, {"connection", id.value}, {"what", invalid->message}});
    return core_->on_invalid(id, invalid->req_id, std::move(invalid->client_msg_id), std::move(invalid->op_id), std::move(invalid->message));
  }
  auto& what = std::get<json::NotJson>(read).message;
  log::limited(log::Level::info, "gateway.bad_frame", connection.address, {{"address", connection.address}, {"connection", id.value}, {"what", what}});
  core_->fail(id, chat::Close::bad_frame, what);
}

// RFC 6455 section 5.5.1: the close frame is answered with the same code, then the server closes.
void Server::websocket_peer_closed(Connection& connection, std::string_view payload) {
  std::string answer;
  if (auto code = websocket::parse_close(payload).code) {
    websocket::append_close(answer, *code, "");
  } else {
    websocket::append_frame(answer, Opcode::close, "");
  }
  bool tell = connection.core_knows;
  connection.core_knows = false;
  connection.phase = Connection::Phase::closing;
  push_control(connection, std::move(answer), false);
  set_deadline(connection, Deadline::close);
  if (tell) core_->on_closed(connection.id);
}

// ---- from Core -------------------------------------------------------------------------------------------------------

void Server::send(ConnectionId id, OutgoingPtr frame) {
  auto* connection = find(id);
  if (!connection || connection->phase != Connection::Phase::websocket || connection->over_bound) return;
  auto wire = codec_.wire(*frame, connection->encoding);
  metrics_.frames_out.add();
  push(*connection, std::move(frame), wire, !connection->unbounded);
}

void Server::close(ConnectionId id, std::uint16_t code, std::string_view reason) {
  auto* connection = find(id);
  if (!connection || connection->phase != Connection::Phase::websocket) return;
  connection->core_knows = false;
  connection->phase = Connection::Phase::closing;
  std::string wire;
  websocket::append_close(wire, code, reason);
  push_control(*connection, std::move(wire), false);
  set_deadline(*connection, Deadline::close);
}

// ---- writing ---------------------------------------------------------------------------------------------------------

void Server::push(Connection& connection, OutgoingPtr frame, std::string_view wire, bool bounded) {
  if (!connection.outbox) {
    if (spare_outboxes_.empty()) {
      connection.outbox = std::make_unique<Outbox>();
    } else {
      connection.outbox = std::move(spare_outboxes_.back());
      spare_outboxes_.pop_back();
    }
  }
  auto shed = connection.outbox->shed();
  if (!connection.outbox->push(std::move(frame), wire, bounded ? settings_.outbox_bytes : SIZE_MAX)) connection.over_bound = true;
  if (auto more = connection.outbox->shed() - shed) metrics_.shed.add(static_cast<double>(more));
  mark(connection);
}

void Server::push_control(Connection& connection, std::string wire, bool bounded) {
  auto frame = std::make_shared<Outgoing>(client::Frame{});
  frame->wire_protobuf = std::move(wire);
  std::string_view view = frame->wire_protobuf;
  push(connection, std::move(frame), view, bounded);
}

void Server::mark(Connection& connection) {
  if (connection.marked) return;
  connection.marked = true;
  marked_.push_back(connection.id);
  if (flush_posted_) return;
  flush_posted_ = true;
  boost::asio::post(io_, [this] { flush_marked(); });
}

void Server::flush_marked() {
  flush_posted_ = false;
  flushing_.swap(marked_);
  for (auto id : flushing_) {
    auto* connection = find(id);
    if (!connection) continue;
    connection->marked = false;
    if (connection->over_bound && connection->phase == Connection::Phase::websocket) {
      connection->over_bound = false;
      connection->unbounded = true;
      metrics_.slow_consumers.add();
      core_->fail(id, chat::Close::slow_consumer, "the outbox is full");
    }
    if (!connection->writing) flush(*connection);
  }
  flushing_.clear();
}

void Server::flush(Connection& connection) {
  std::array<iovec, kGather> pieces;
  while (connection.outbox && !connection.outbox->empty()) {
    std::size_t n;
    if (connection.socket.tls()) {
      auto front = connection.outbox->front();
      pieces[0] = {const_cast<char*>(front.data()), front.size()};
      n = 1;
    } else {
      n = connection.outbox->gather(pieces);
    }
    auto result = connection.socket.write(std::span(pieces).first(n));
    switch (result.state) {
      case Socket::State::done:
        break;
      case Socket::State::wants_write:
        return wait_writable(connection);
      case Socket::State::wants_read:
        return wait_readable(connection);
      case Socket::State::closed:
        return drop(connection);
    }
    metrics_.bytes_out.add(static_cast<double>(result.bytes));
    connection.outbox->written(result.bytes);
  }
  if (connection.outbox) {
    if (spare_outboxes_.size() < kSpareOutboxes && connection.outbox->small()) {
      spare_outboxes_.push_back(std::move(connection.outbox));
    } else {
      connection.outbox.reset();
    }
  }
  if (connection.phase == Connection::Phase::closing) begin_close(connection);
}

// Everything is sent: says so, and waits (not for long) until the peer has read it and closes.
void Server::begin_close(Connection& connection) {
  if (connection.sent_shutdown) return;
  connection.sent_shutdown = true;
  connection.socket.shutdown_send();
  set_deadline(connection, Deadline::close);
  wait_readable(connection);
}

}  // namespace parley::gateway
