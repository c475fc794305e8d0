#include "bench/connection.h"

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/asio/write.hpp>
#include <cstring>

namespace parley::bench {

namespace asio = boost::asio;
namespace ws = gateway::websocket;
using boost::system::error_code;

void Connection::open(const Endpoint& endpoint) {
  socket_.async_connect(endpoint.address, [this, &endpoint](error_code error) {
    if (error) return fail("connect: " + error.message());
    on_connected(endpoint);
  });
}

void Connection::on_connected(const Endpoint& endpoint) {
  socket_.set_option(asio::ip::tcp::no_delay(true));
  socket_.non_blocking(true);
  queued_ = "GET /v1/ws HTTP/1.1\r\nHost: " + endpoint.host +
            "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: AAECAwQFBgcICQoLDA0ODw==\r\nSec-WebSocket-Protocol: parley.v1.pb\r\n\r\n";
  flush();
  await_readable();
}

void Connection::await_readable() {
  socket_.async_wait(asio::ip::tcp::socket::wait_read, [this](error_code error) {
    if (error) return fail("wait: " + error.message());
    on_readable();
  });
}

void Connection::on_readable() {
  error_code error;
  const std::size_t got = socket_.read_some(asio::buffer(shared_.read_buffer), error);
  if (error == asio::error::would_block) return await_readable();
  if (error) return fail("read: " + error.message());
  on_bytes({shared_.read_buffer.data(), got});
  if (!over_) await_readable();
}

void Connection::on_bytes(std::span<char> bytes) {
  if (!upgraded_ && !take_handshake(bytes)) return;
  while (!over_) {
    auto message = decoder_.next(bytes);
    if (!message) return fail("broken framing from the server");
    if (!*message) return;
    switch ((*message)->opcode) {
      case ws::Opcode::binary:
        on_message((*message)->payload);
        break;
      case ws::Opcode::ping:
        ws::append_frame(queued_, ws::Opcode::pong, (*message)->payload, std::array<std::uint8_t, 4>{1, 2, 3, 4});
        flush();
        break;
      case ws::Opcode::close:
        return fail("closed: " + std::string(ws::parse_close((*message)->payload).reason));
      default:
        break;
    }
  }
}

bool Connection::take_handshake(std::span<char>& bytes) {
  const std::size_t before = handshake_.size();
  handshake_.append(bytes.data(), bytes.size());
  const std::size_t end = handshake_.find("\r\n\r\n");
  if (end == std::string::npos) return false;
  if (!handshake_.starts_with("HTTP/1.1 101")) {
    fail("handshake: " + handshake_.substr(0, handshake_.find('\r')));
    return false;
  }
  bytes = bytes.subspan(end + 4 - before);
  std::string().swap(handshake_);
  upgraded_ = true;
  client::Frame frame;
  auto& hello = *frame.mutable_hello();
  hello.set_token(credentials_.token);
  hello.set_device_id("bench");
  hello.set_platform("bench");
  hello.set_sdk("parley-bench");
  send(frame);
  std::string().swap(credentials_.token);
  return true;
}

void Connection::on_message(std::string_view payload) {
  auto& frame = shared_.frame;
  if (!frame.ParseFromArray(payload.data(), static_cast<int>(payload.size()))) return fail("a message that is no frame");
  if (frame.has_caught_up()) return handlers_.ready(*this);
  if (frame.has_error()) return fail("error " + frame.error().code() + ": " + frame.error().message());
  if (frame.has_ping()) {
    client::Frame pong;
    pong.mutable_pong()->set_t(frame.ping().t());
    return send(pong);
  }
  if (frame.has_send_ack()) {
    taken_in_ = frame.send_ack().conversation();
    taken_seq_ = std::max(taken_seq_, frame.send_ack().seq());
  } else if (frame.has_event()) {
    if (taken_in_ == frame.event().conversation() && frame.event().seq() <= taken_seq_) return;  // R26: a repeat, after a takeover
    taken_in_ = frame.event().conversation();
    taken_seq_ = frame.event().seq();
    if (++untold_ >= 64) acknowledge();
  }
  handlers_.frame(*this, frame);
}

void Connection::acknowledge() {
  if (untold_ == 0) return;
  untold_ = 0;
  client::Frame frame;
  auto& cursor = *frame.mutable_ack()->add_cursors();
  cursor.set_conversation(taken_in_);
  cursor.set_seq(taken_seq_);
  send(frame);
}

void Connection::send(const client::Frame& frame) {
  const auto random = shared_.random();
  std::array<std::uint8_t, 4> key;
  std::memcpy(key.data(), &random, key.size());
  ws::append_frame(queued_, ws::Opcode::binary, frame.SerializeAsString(), key);
  flush();
}

void Connection::flush() {
  if (writing_ || over_ || queued_.empty()) return;
  // Mostly the kernel takes it at once; what it leaves goes the long way.
  error_code error;
  const std::size_t sent = socket_.write_some(asio::buffer(queued_), error);
  if (error && error != asio::error::would_block) return fail("write: " + error.message());
  if (!error && sent == queued_.size()) return queued_.clear();
  if (!error) queued_.erase(0, sent);
  in_flight_.swap(queued_);
  queued_.clear();
  writing_ = true;
  asio::async_write(socket_, asio::buffer(in_flight_), [this](error_code failure, std::size_t) {
    writing_ = false;
    if (failure) return fail("write: " + failure.message());
    in_flight_.clear();
    flush();
  });
}

void Connection::close() {
  over_ = true;
  error_code ignored;
  socket_.close(ignored);
}

void Connection::fail(std::string why) {
  if (over_) return;
  close();
  handlers_.failed(*this, std::move(why));
}

}  // namespace parley::bench
