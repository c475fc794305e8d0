#include "cli/connection.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/websocket.hpp>

#include "runtime/config.h"

namespace parley::cli {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace websocket = beast::websocket;
using tcp = asio::ip::tcp;

namespace {

constexpr auto kAnswer = std::chrono::seconds(10);
constexpr auto kHeartbeatGrace = std::chrono::seconds(10);

}  // namespace

struct Connection::Wire {
  explicit Wire(asio::any_io_executor executor) : socket(executor), arrived(executor), posted(executor), room(executor) {}

  websocket::stream<beast::tcp_stream> socket;
  std::deque<client::Frame> inbox;
  std::deque<std::string> outbox;
  std::optional<Closed> closed;
  bool closing = false;
  std::uint32_t retry_after_ms = 0;
  // Each is woken by cancelling its wait.
  asio::steady_timer arrived, posted, room;

  void end(const beast::error_code& error) {
    if (closed) return;
    auto reason = socket.reason();
    bool told = error == websocket::error::closed;
    closed =
        Closed{told ? static_cast<std::uint16_t>(reason.code) : std::uint16_t{0}, told ? std::string(reason.reason.c_str()) : error.message(), retry_after_ms};
    beast::get_lowest_layer(socket).close();
    arrived.cancel();
    posted.cancel();
    room.cancel();
  }

  static asio::awaitable<void> wait(asio::steady_timer& timer, SteadyTime until) {
    beast::error_code error;
    timer.expires_at(until);
    co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, error));
  }

  static asio::awaitable<void> read(std::shared_ptr<Wire> wire) {
    beast::flat_buffer buffer;
    beast::error_code error;
    while (!wire->closed) {
      while (wire->inbox.size() >= kInbox && !wire->closed) co_await wait(wire->room, SteadyTime::max());
      if (wire->closed) break;
      co_await wire->socket.async_read(buffer, asio::redirect_error(asio::use_awaitable, error));
      if (error) break;
      client::Frame frame;
      if (!frame.ParseFromArray(buffer.data().data(), static_cast<int>(buffer.size()))) {
        error = websocket::error::bad_data_frame;
        break;
      }
      buffer.consume(buffer.size());
      if (frame.has_error()) wire->retry_after_ms = frame.error().retry_after_ms();
      wire->inbox.push_back(std::move(frame));
      wire->arrived.cancel();
    }
    wire->end(error);
  }

  static asio::awaitable<void> write(std::shared_ptr<Wire> wire) {
    beast::error_code error;
    while (!wire->closed) {
      if (wire->outbox.empty()) {
        if (wire->closing) {
          co_await wire->socket.async_close(websocket::close_code::normal, asio::redirect_error(asio::use_awaitable, error));
          break;
        }
        co_await wait(wire->posted, SteadyTime::max());
        continue;
      }
      co_await wire->socket.async_write(asio::buffer(wire->outbox.front()), asio::redirect_error(asio::use_awaitable, error));
      if (error) break;
      wire->outbox.pop_front();
    }
    wire->end(error);
  }
};

asio::awaitable<std::unique_ptr<Connection>> Connection::open(Server server, client::Hello hello) {
  auto executor = co_await asio::this_coro::executor;
  auto wire = std::make_shared<Wire>(executor);
  beast::error_code error;
  auto check = [&error] {
    if (error) throw Closed{0, error.message(), 0};
  };
  tcp::resolver resolver(executor);
  auto addresses = co_await resolver.async_resolve(server.host, server.port, asio::redirect_error(asio::use_awaitable, error));
  check();
  auto& stream = beast::get_lowest_layer(wire->socket);
  stream.expires_after(kAnswer);
  co_await stream.async_connect(addresses, asio::redirect_error(asio::use_awaitable, error));
  check();
  stream.expires_never();  // from here on the WebSocket's own timeouts
  stream.socket().set_option(tcp::no_delay(true));
  wire->socket.binary(true);
  wire->socket.set_option(websocket::stream_base::timeout{kAnswer, std::chrono::seconds(35), false});
  wire->socket.set_option(websocket::stream_base::decorator([](websocket::request_type& request) {
    request.set(beast::http::field::sec_websocket_protocol, "parley.v1.pb");
    request.set(beast::http::field::user_agent, "parley-cli/" + std::string(runtime::version()));
  }));
  co_await wire->socket.async_handshake(server.host + ":" + server.port, "/v1/ws", asio::redirect_error(asio::use_awaitable, error));
  check();

  auto rethrow = [](std::exception_ptr failure) {
    if (failure) std::rethrow_exception(failure);
  };
  asio::co_spawn(executor, Wire::read(wire), rethrow);
  asio::co_spawn(executor, Wire::write(wire), rethrow);
  std::unique_ptr<Connection> connection(new Connection(wire));
  client::Frame frame;
  *frame.mutable_hello() = std::move(hello);
  connection->post(std::move(frame));
  auto deadline = std::chrono::steady_clock::now() + kAnswer;
  while (true) {
    auto answer = co_await connection->receive(deadline);
    if (!answer) throw Closed{0, "no welcome within 10 s", 0};
    if (!answer->has_welcome()) continue;  // an `error`: its close follows
    connection->welcome_ = answer->welcome();
    break;
  }
  // Silence: the server's heartbeat and ten seconds.
  wire->socket.set_option(websocket::stream_base::timeout{kAnswer, std::chrono::milliseconds(connection->welcome_.heartbeat_ms()) + kHeartbeatGrace, false});
  co_return connection;
}

Connection::~Connection() { wire_->end(asio::error::operation_aborted); }

void Connection::post(client::Frame frame) {
  wire_->outbox.push_back(frame.SerializeAsString());
  wire_->posted.cancel();
}

asio::awaitable<std::optional<client::Frame>> Connection::next(SteadyTime deadline) {
  while (true) {
    while (wire_->inbox.empty()) {
      if (wire_->closed) throw *wire_->closed;
      if (std::chrono::steady_clock::now() >= deadline) co_return std::nullopt;
      co_await Wire::wait(wire_->arrived, deadline);
    }
    client::Frame frame = std::move(wire_->inbox.front());
    wire_->inbox.pop_front();
    wire_->room.cancel();
    if (!frame.has_ping()) co_return frame;
    client::Frame pong;
    pong.set_req_id(frame.req_id());
    pong.mutable_pong()->set_t(frame.ping().t());
    post(std::move(pong));
  }
}

asio::awaitable<std::optional<client::Frame>> Connection::receive(SteadyTime deadline) {
  if (!later_.empty()) {
    client::Frame frame = std::move(later_.front());
    later_.pop_front();
    co_return frame;
  }
  auto frame = co_await next(deadline);
  co_return frame;
}

asio::awaitable<client::Frame> Connection::request(client::Frame frame) {
  auto id = ++last_req_id_;
  frame.set_req_id(id);
  post(std::move(frame));
  auto deadline = std::chrono::steady_clock::now() + kAnswer;
  while (true) {
    auto answer = co_await next(deadline);
    if (!answer) throw Closed{0, "no answer within 10 s", 0};
    if (answer->req_id() == id) co_return std::move(*answer);
    later_.push_back(std::move(*answer));
  }
}

asio::awaitable<void> Connection::close() {
  wire_->closing = true;
  wire_->posted.cancel();
  auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(2);
  while (!wire_->closed && std::chrono::steady_clock::now() < deadline) {
    wire_->inbox.clear();
    co_await Wire::wait(wire_->arrived, deadline);
  }
}

}  // namespace parley::cli
