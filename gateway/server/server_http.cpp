// The HTTP phase of a connection: requests one at a time, kept alive, until it closes or becomes a WebSocket.
#include <boost/asio/post.hpp>

#include "gateway/http/handshake.h"
#include "gateway/http/problem.h"
#include "gateway/server/server_connection.h"
#include "runtime/log.h"

namespace parley::gateway {

namespace log = runtime::log;

void Server::http_input(Connection& connection, std::string_view bytes) {
  connection.http->unread.append(bytes);
  http_next(connection);
}

// Looks for the next whole request in what was read; else waits for more.
void Server::http_next(Connection& connection) {
  auto& http = *connection.http;
  std::string_view bytes = http.unread;
  auto request = http.parser.put(bytes);
  http.unread.erase(0, http.unread.size() - bytes.size());
  if (!request) {
    metrics_.malformed.add();
    log::limited(log::Level::info, "gateway.bad_request", connection.address, {{"address", connection.address}, {"status", request.error().status}});
    http.busy = true;
    auto code = request.error().status == 413 ? chat::Code::too_large : chat::Code::invalid;
    return http_respond(connection.id, http::problem(request.error().status, code, "not an acceptable HTTP request"), false, false);
  }
  if (*request) return http_request(connection, std::move(**request));
  if (http.parser.wants_continue()) {
    http.out += "HTTP/1.1 100 Continue\r\n\r\n";
    http_write(connection);
    return;
  }
  wait_readable(connection);
}

void Server::http_request(Connection& connection, http::Request request) {
  request.address = connection.address;
  connection.http->busy = true;
  set_deadline(connection, Deadline::answer);
  if (request.path() == "/v1/ws") return http_upgrade(connection, request);
  bool keep_alive = request.keep_alive, head = request.method == "HEAD";
  rest_(std::move(request), [this, id = connection.id, keep_alive, head](http::Response response) { http_respond(id, response, keep_alive, head); });
}

void Server::http_upgrade(Connection& connection, const http::Request& request) {
  auto answer = http::handshake(request, settings_.allowed_origins);
  if (answer.encoding) {
    if (auto wait_ms = connects_.take(connection.address, clock_.steady())) {
      metrics_.refused_rate.add();
      answer = {http::problem(chat::Code::rate_limited, "too many connections from this address", wait_ms), std::nullopt};
    }
  }
  if (!answer.encoding) return http_respond(connection.id, answer.response, request.keep_alive, false);
  connection.encoding = *answer.encoding;
  connection.http->upgrade_after = true;
  http_respond(connection.id, answer.response, true, false);
}

void Server::http_respond(ConnectionId id, const http::Response& response, bool keep_alive, bool head) {
  auto* connection = find(id);
  if (!connection || connection->phase != Connection::Phase::http || !connection->http->busy) return;
  keep_alive = keep_alive && accepting_;
  connection->http->close_after = !keep_alive;
  connection->http->out += http::serialise(response, keep_alive, head);
  set_deadline(*connection, Deadline::http);
  http_write(*connection);
}

void Server::http_write(Connection& connection) {
  auto& http = *connection.http;
  while (http.out_at < http.out.size()) {
    iovec piece{http.out.data() + http.out_at, http.out.size() - http.out_at};
    auto result = connection.socket.write({&piece, 1});
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
    http.out_at += result.bytes;
  }
  http.out.clear();
  http.out_at = 0;
  if (!http.busy) return wait_readable(connection);  // "100 Continue" went out
  if (http.close_after) {
    // What the peer still sends is read away for a moment: closing at once could take the answer with it (RFC 9112 section 9.6).
    connection.phase = Connection::Phase::closing;
    connection.http.reset();
    return begin_close(connection);
  }
  http.busy = false;
  if (http.upgrade_after) {
    std::string unread = std::move(http.unread);
    connection.http.reset();
    connection.phase = Connection::Phase::websocket;
    connection.deadline = {};
    connection.decoder = websocket::Decoder(websocket::Side::server, settings_.frame_bytes);
    connection.core_knows = true;
    connection.is_websocket = true;
    ++websockets_;
    metrics_.websockets.add(1);
    auto id = connection.id;
    core_->on_open(id);
    if (!unread.empty()) websocket_input(connection, unread);
    if (auto* still = find(id)) wait_readable(*still);
    return;
  }
  if (http.unread.empty()) return wait_readable(connection);
  // Pipelined requests are answered one after the other without calling oneself.
  boost::asio::post(io_, [this, id = connection.id] {
    auto* still = find(id);
    if (still && still->http && !still->http->busy) http_next(*still);
  });
}

}  // namespace parley::gateway
