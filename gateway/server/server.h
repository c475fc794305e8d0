// The sockets of one gateway shard: accept, the HTTP phase (REST, WebSocket handshake), and WebSockets up to the frame.
//
//   accept -> caps -> [TLS] -> HTTP requests -> Handler (REST)
//                                   \-> handshake -> frames -> Core; Core -> Sockets::send -> outbox -> gather writes
//
// One shard's thread. Connections are state machines on readiness waits: an idle one is a few hundred bytes, with no
// buffer, no timer and no coroutine of its own; all share one read buffer. Handlers hold a connection's id, never a pointer.
// What Core asks for (send, close) only marks the connection: writes, closes and calls back into Core happen after the
// present handler, so that Core is never entered while it is at work; what was sent meanwhile goes out in one write.
//
// Bounds: connections (total, per address), outbox bytes (shed ephemeral, then slowConsumer), HTTP header and body bytes,
// time for a request to arrive and for a closing peer to go away. The io_context must not run any more once this is gone.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <deque>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "gateway/core/core.h"
#include "gateway/http/message.h"
#include "gateway/http/parser.h"
#include "gateway/server/encoding.h"
#include "gateway/server/keyed_buckets.h"
#include "gateway/server/outbox.h"
#include "gateway/server/socket.h"
#include "runtime/clock.h"
#include "runtime/metrics.h"

namespace parley::gateway {

struct ServerSettings {
  std::string host = "127.0.0.1";
  std::uint16_t port = 8080;                              // 0: any free one
  std::uint32_t max_connections = 100'000;                // per shard; 0: off
  std::uint32_t max_connections_per_ip = 1'000;           // per shard; 0: off
  Rate connect_rate = {.per_minute = 600, .burst = 600};  // WebSocket handshakes per address
  std::uint32_t http_timeout_ms = 10'000;                 // for a request to arrive whole, and for the next to begin
  std::uint32_t answer_timeout_ms = 30'000;               // for a handler to answer
  std::uint32_t close_timeout_ms = 3'000;                 // for a closing peer to go away
  std::uint32_t max_body_bytes = 256 * 1024;
  std::uint32_t outbox_bytes = 1 << 20;
  std::uint32_t frame_bytes = 64 * 1024;
  std::vector<std::string> allowed_origins = {};
};

struct ServerMetrics {
  explicit ServerMetrics(runtime::Metrics& metrics);
  runtime::Gauge connections, websockets;
  runtime::Counter accepted, refused_cap, refused_ip, refused_rate, http_timeouts;
  runtime::Histogram accept;  // stage: from a send's bytes to its record
  runtime::Counter frames_in, frames_out, bytes_in, bytes_out, malformed, shed, slow_consumers;
};

class Server final : public Sockets {
 public:
  using Handler = std::move_only_function<void(http::Request, http::Respond)>;

  // Listens at once; throws boost::system::system_error if it cannot. `rest` gets every request but the WebSocket's.
  Server(boost::asio::io_context& io, ServerSettings settings, const TlsContext* tls, const runtime::Clock& clock, ServerMetrics metrics, Handler rest);
  ~Server() override;

  // Begins to accept. Core is made after its Sockets, therefore it comes here.
  void start(Core& core);
  // No new connections; HTTP connections end with the answer they are at.
  void stop_accepting();
  void on_tick();  // about every 50 ms

  std::uint16_t port() const { return port_; }
  std::size_t connections() const { return open_; }
  std::size_t websockets() const { return websockets_; }

  void send(ConnectionId connection, OutgoingPtr frame) override;
  void close(ConnectionId connection, std::uint16_t code, std::string_view reason) override;

 private:
  struct Connection;
  struct HttpPhase;
  enum class Deadline : std::uint8_t { http, answer, close };
  struct Due {
    chat::TimeMs at;
    ConnectionId connection;
  };

  void accept();
  void accepted(Tcp socket);
  Connection* find(ConnectionId id);
  void remove(Connection& connection);
  void drop(Connection& connection);  // the peer is gone: tells Core if it must know

  void wait_readable(Connection& connection);
  void wait_writable(Connection& connection);
  void on_readable(ConnectionId id);
  void on_writable(ConnectionId id);
  void set_deadline(Connection& connection, Deadline kind);
  void expire(std::deque<Due>& queue, chat::TimeMs now);

  // server_http.cpp
  void http_input(Connection& connection, std::string_view bytes);
  void http_next(Connection& connection);
  void http_request(Connection& connection, http::Request request);
  void http_upgrade(Connection& connection, const http::Request& request);
  void http_respond(ConnectionId id, const http::Response& response, bool keep_alive, bool head);
  void http_write(Connection& connection);

  // server_websocket.cpp
  void websocket_input(Connection& connection, std::span<char> bytes);
  void websocket_message(Connection& connection, const websocket::Message& message);
  void websocket_peer_closed(Connection& connection, std::string_view payload);
  void push(Connection& connection, OutgoingPtr frame, std::string_view wire, bool bounded);
  void push_control(Connection& connection, std::string wire, bool bounded);
  void mark(Connection& connection);
  void flush_marked();
  void flush(Connection& connection);
  void begin_close(Connection& connection);

  boost::asio::io_context& io_;
  const ServerSettings settings_;
  SSL_CTX* tls_;
  const runtime::Clock& clock_;
  ServerMetrics metrics_;
  Handler rest_;
  Core* core_ = nullptr;

  boost::asio::basic_socket_acceptor<boost::asio::ip::tcp, boost::asio::io_context::executor_type> acceptor_;
  boost::asio::basic_waitable_timer<std::chrono::steady_clock, boost::asio::wait_traits<std::chrono::steady_clock>, boost::asio::io_context::executor_type>
      retry_;
  std::uint16_t port_ = 0;
  bool accepting_ = true;

  // Slot = low 32 bits of the id; the high ones count its uses, so that an id is never given twice.
  std::vector<std::unique_ptr<Connection>> slots_;
  std::vector<std::uint32_t> uses_;
  std::vector<std::uint32_t> free_;
  std::size_t open_ = 0, websockets_ = 0;
  std::unordered_map<std::string, std::uint32_t> per_ip_;
  KeyedBuckets connects_;

  std::vector<char> read_buffer_;
  std::vector<ConnectionId> marked_;
  std::vector<ConnectionId> flushing_;
  bool flush_posted_ = false;
  std::vector<std::unique_ptr<Outbox>> spare_outboxes_;
  Codec codec_;
  std::deque<Due> http_due_, answer_due_, close_due_;  // each in order of time
};

}  // namespace parley::gateway
