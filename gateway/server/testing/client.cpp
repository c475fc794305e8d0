#include "gateway/server/testing/client.h"

#include <sys/socket.h>
#include <sys/time.h>

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>
#include <boost/beast/websocket/ssl.hpp>
#include <boost/beast/websocket/stream.hpp>
#include <stdexcept>
#include <variant>

namespace parley::gateway::testing {

namespace asio = boost::asio;
namespace beast = boost::beast;
using asio::ip::tcp;

namespace {

tcp::socket connect(asio::io_context& io, std::uint16_t port, int receive_buffer = 0) {
  tcp::socket socket(io);
  socket.open(tcp::v4());
  if (receive_buffer) socket.set_option(asio::socket_base::receive_buffer_size(receive_buffer));
  socket.connect({asio::ip::address_v4::loopback(), port});
  timeval limit{10, 0};  // no test may hang in a read
  ::setsockopt(socket.native_handle(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  ::setsockopt(socket.native_handle(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  return socket;
}

}  // namespace

class WebSocketClient::State {
 public:
  using Plain = beast::websocket::stream<tcp::socket>;
  using Tls = beast::websocket::stream<asio::ssl::stream<tcp::socket>>;

  template <class F>
  auto visit(F f) {
    if (auto* tls = std::get_if<std::unique_ptr<Tls>>(&stream)) return f(**tls);
    return f(*std::get<std::unique_ptr<Plain>>(stream));
  }

  State(std::uint16_t port, const Options& options) {
    if (options.tls) {
      stream.emplace<std::unique_ptr<Tls>>(std::make_unique<Tls>(connect(io, port), context));
      std::get<std::unique_ptr<Tls>>(stream)->next_layer().handshake(asio::ssl::stream_base::client);
    } else {
      stream.emplace<std::unique_ptr<Plain>>(std::make_unique<Plain>(connect(io, port, options.receive_buffer)));
    }
    visit([&](auto& ws) {
      ws.read_message_max(64 << 20);
      ws.set_option(beast::websocket::stream_base::decorator([&](beast::websocket::request_type& request) {
        if (!options.protocol.empty()) request.set(beast::http::field::sec_websocket_protocol, options.protocol);
        if (!options.origin.empty()) request.set(beast::http::field::origin, options.origin);
      }));
      beast::websocket::response_type response;
      beast::error_code ec;
      ws.handshake(response, "127.0.0.1:" + std::to_string(port), "/v1/ws", ec);
      if (ec) throw std::runtime_error(std::to_string(response.result_int()));
      protocol = std::string(response[beast::http::field::sec_websocket_protocol]);
    });
  }

  asio::io_context io;
  asio::ssl::context context{asio::ssl::context::tls_client};
  std::variant<std::monostate, std::unique_ptr<Plain>, std::unique_ptr<Tls>> stream;
  std::string protocol;
};

WebSocketClient::WebSocketClient(std::uint16_t port, Options options) : state_(std::make_unique<State>(port, options)) {}
WebSocketClient::~WebSocketClient() = default;

const std::string& WebSocketClient::protocol() const { return state_->protocol; }

void WebSocketClient::send_text(std::string_view text, std::size_t fragment) {
  state_->visit([&](auto& ws) {
    ws.text(true);
    ws.auto_fragment(fragment > 0);
    if (fragment) ws.write_buffer_bytes(fragment);
    ws.write(asio::buffer(text));
  });
}

void WebSocketClient::send_binary(std::string_view bytes) {
  state_->visit([&](auto& ws) {
    ws.binary(true);
    ws.write(asio::buffer(bytes));
  });
}

void WebSocketClient::ping() {
  state_->visit([](auto& ws) { ws.ping({}); });
}

void WebSocketClient::raw(std::string_view bytes) { asio::write(std::get<std::unique_ptr<State::Plain>>(state_->stream)->next_layer(), asio::buffer(bytes)); }

std::optional<std::string> WebSocketClient::read() {
  return state_->visit([](auto& ws) -> std::optional<std::string> {
    beast::flat_buffer buffer;
    beast::error_code ec;
    ws.read(buffer, ec);
    if (ec == asio::error::would_block || ec == asio::error::try_again) throw std::runtime_error("nothing came in 10 s");
    if (ec) return std::nullopt;
    return std::string(static_cast<const char*>(buffer.data().data()), buffer.size());
  });
}

void WebSocketClient::close(std::uint16_t code) {
  state_->visit([&](auto& ws) {
    beast::error_code ec;
    ws.close(beast::websocket::close_reason(static_cast<beast::websocket::close_code>(code)), ec);
  });
}

void WebSocketClient::reset() { std::get<std::unique_ptr<State::Plain>>(state_->stream)->next_layer().close(); }

std::uint16_t WebSocketClient::close_code() const {
  return state_->visit([](auto& ws) -> std::uint16_t { return ws.reason().code; });
}

std::string WebSocketClient::close_reason() const {
  return state_->visit([](auto& ws) { return std::string(ws.reason().reason.data(), ws.reason().reason.size()); });
}

std::string HttpAnswer::header(std::string_view name) const {
  for (auto& [key, value] : headers) {
    if (beast::iequals(key, beast::string_view(name.data(), name.size()))) return value;
  }
  return {};
}

HttpAnswer http_request(std::uint16_t port, std::string method, std::string target, std::string body,
                        std::vector<std::pair<std::string, std::string>> headers) {
  asio::io_context io;
  auto socket = connect(io, port);
  beast::http::request<beast::http::string_body> request;
  request.version(11);
  request.method_string(method);
  request.target(target);
  request.set(beast::http::field::host, "127.0.0.1");
  for (auto& [name, value] : headers) request.insert(name, value);
  request.body() = std::move(body);
  request.prepare_payload();
  beast::http::write(socket, request);
  beast::flat_buffer buffer;
  beast::http::response<beast::http::string_body> response;
  beast::http::read(socket, buffer, response);
  HttpAnswer answer{.status = response.result_int(), .body = response.body(), .headers = {}};
  for (auto& field : response) answer.headers.emplace_back(std::string(field.name_string()), std::string(field.value()));
  return answer;
}

std::string raw_exchange(std::uint16_t port, std::string_view bytes, bool shutdown) {
  asio::io_context io;
  auto socket = connect(io, port);
  asio::write(socket, asio::buffer(bytes));
  if (shutdown) socket.shutdown(tcp::socket::shutdown_send);
  std::string out;
  boost::system::error_code ec;
  asio::read(socket, asio::dynamic_buffer(out), ec);
  if (ec == asio::error::would_block || ec == asio::error::try_again) throw std::runtime_error("the server did not close in 10 s");
  return out;
}

}  // namespace parley::gateway::testing
