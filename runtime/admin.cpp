#include "runtime/admin.h"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>

#include <chrono>
#include <thread>
#include <utility>

#include "runtime/config.h"
#include "runtime/log.h"

namespace parley::runtime {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using tcp = asio::ip::tcp;
using Request = http::request<http::string_body>;
using Response = http::response<http::string_body>;

constexpr auto kIdle = std::chrono::seconds(10);
constexpr std::uint64_t kBodyBytes = 4'096;

std::string lines(const std::vector<Health::Reason>& reasons) {
  if (reasons.empty()) return "ok\n";
  std::string text;
  for (const auto& r : reasons) text += r.name + ": " + r.reason + "\n";
  return text;
}

}  // namespace

class Admin::Server {
 public:
  Server(const AdminSettings& settings, const Metrics& metrics, const Health& health, std::string config, std::function<void()> drain)
      : metrics_(metrics), health_(health), config_(std::move(config)), drain_(std::move(drain)), acceptor_(io_), closed_(io_) {
    tcp::endpoint endpoint(asio::ip::make_address(settings.host), settings.port);
    acceptor_.open(endpoint.protocol());
    acceptor_.set_option(tcp::acceptor::reuse_address(true));
    boost::system::error_code error;
    acceptor_.bind(endpoint, error);
    if (error) throw boost::system::system_error(error, "admin.port " + std::to_string(endpoint.port()) + " of " + endpoint.address().to_string());
    acceptor_.listen();
    port_ = acceptor_.local_endpoint().port();
    spawn(accept());
    thread_ = std::thread([this] { io_.run(); });
  }

  ~Server() {
    io_.stop();
    thread_.join();
  }

  std::uint16_t port() const { return port_; }

 private:
  // Every coroutine ends with the io_context, which this object owns; one that throws is a bug and ends the process.
  void spawn(asio::awaitable<void> task) {
    asio::co_spawn(io_, std::move(task), [](std::exception_ptr error) {
      if (error) std::rethrow_exception(error);
    });
  }

  asio::awaitable<void> accept() {
    while (true) {
      beast::error_code error;
      while (open_ >= kConnections) {
        closed_.expires_at(asio::steady_timer::time_point::max());
        co_await closed_.async_wait(asio::redirect_error(asio::use_awaitable, error));
      }
      tcp::socket socket = co_await acceptor_.async_accept(asio::redirect_error(asio::use_awaitable, error));
      if (error) {
        // Out of descriptors, most likely: give others time to close some.
        log::limited(log::Level::warn, "admin.accept", "", {{"error", error.message()}});
        closed_.expires_after(std::chrono::milliseconds(100));
        co_await closed_.async_wait(asio::redirect_error(asio::use_awaitable, error));
        continue;
      }
      ++open_;
      spawn(serve(beast::tcp_stream(std::move(socket))));
    }
  }

  asio::awaitable<void> serve(beast::tcp_stream stream) {
    beast::flat_buffer buffer;
    beast::error_code error;
    while (!error) {
      http::request_parser<http::string_body> parser;
      parser.body_limit(kBodyBytes);
      stream.expires_after(kIdle);
      co_await http::async_read(stream, buffer, parser, asio::redirect_error(asio::use_awaitable, error));
      if (error) break;
      Response response = answer(parser.get());
      bool keep = response.keep_alive();
      co_await http::async_write(stream, response, asio::redirect_error(asio::use_awaitable, error));
      if (!keep) break;
    }
    --open_;
    closed_.cancel();
  }

  Response answer(const Request& request) {
    Response response(http::status::ok, request.version());
    response.keep_alive(request.keep_alive());
    response.set(http::field::content_type, "text/plain; charset=utf-8");
    response.set(http::field::cache_control, "no-store");
    auto target = request.target();
    std::string_view path(target.data(), std::min(target.find('?'), target.size()));
    bool get = request.method() == http::verb::get || request.method() == http::verb::head;
    bool post = path == "/drain";
    if (post ? request.method() != http::verb::post : !get) {
      response.result(http::status::method_not_allowed);
      response.set(http::field::allow, post ? "POST" : "GET, HEAD");
    } else if (path == "/healthz") {
      auto hanging = health_.hanging();
      if (!hanging.empty()) response.result(http::status::service_unavailable);
      response.body() = lines(hanging);
    } else if (path == "/readyz") {
      auto unready = health_.unready();
      if (!unready.empty()) response.result(http::status::service_unavailable);
      response.body() = lines(unready);
    } else if (path == "/metrics") {
      response.set(http::field::content_type, "text/plain; version=0.0.4; charset=utf-8");
      response.body() = metrics_.exposition();
    } else if (path == "/config") {
      response.set(http::field::content_type, "application/json");
      response.body() = config_ + "\n";
    } else if (path == "/version") {
      response.body() = std::string(version()) + "\n";
    } else if (path == "/drain" && drain_) {
      response.result(http::status::accepted);
      response.body() = "draining\n";
      if (!std::exchange(draining_, true)) drain_();
    } else {
      response.result(http::status::not_found);
    }
    response.prepare_payload();
    if (request.method() == http::verb::head) response.body().clear();
    return response;
  }

  const Metrics& metrics_;
  const Health& health_;
  const std::string config_;
  const std::function<void()> drain_;
  bool draining_ = false;
  std::size_t open_ = 0;
  asio::io_context io_{1};
  tcp::acceptor acceptor_;
  asio::steady_timer closed_;  // woken whenever a connection ends
  std::uint16_t port_ = 0;
  std::thread thread_;
};

Admin::Admin(const AdminSettings& settings, const Metrics& metrics, const Health& health, std::string config, std::function<void()> drain)
    : server_(std::make_unique<Server>(settings, metrics, health, std::move(config), std::move(drain))) {}

Admin::~Admin() = default;

std::uint16_t Admin::port() const { return server_->port(); }

}  // namespace parley::runtime
