#include "cli/rest.h"

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>
#include <boost/json.hpp>
#include <chrono>

#include "runtime/config.h"

namespace parley::cli {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
namespace json = boost::json;
using tcp = asio::ip::tcp;

constexpr auto kTimeout = std::chrono::seconds(10);
constexpr std::uint64_t kRefreshAheadMs = 60'000;

std::string text_of(const json::value& value, std::string_view key) {
  if (!value.is_object()) return {};
  const auto* field = value.as_object().if_contains(key);
  return field && field->is_string() ? std::string(field->as_string()) : std::string();
}

[[noreturn]] void nobody_answers(const Server& server, const beast::error_code& error) {
  throw Failure(kExitUnavailable,
                "no answer from http://" + server.host + ":" + server.port + " (" + error.message() + "); is it running? 'make status' tells");
}

User user_of(const json::value& value) { return {text_of(value, "id"), text_of(value, "username"), text_of(value, "displayName")}; }

std::string percent_encoded(std::string_view text) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string out;
  for (char c : text) {
    auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) || c == '-' || c == '_' || c == '.')
      out += c;
    else
      ((out += '%') += kHex[byte >> 4]) += kHex[byte & 15];
  }
  return out;
}

}  // namespace

std::uint64_t now_ms() {
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count());
}

Server Server::parse(const std::string& url) {
  constexpr std::string_view kScheme = "http://";
  if (!url.starts_with(kScheme)) throw Failure(kExitUsage, "--server takes http://host:port, not '" + url + "'");
  auto rest = url.substr(kScheme.size());
  while (rest.ends_with('/')) rest.pop_back();
  auto colon = rest.rfind(':');
  Server server{rest.substr(0, colon), colon == std::string::npos ? "80" : rest.substr(colon + 1)};
  if (server.host.empty() || server.port.empty() || rest.find('/') != std::string::npos)
    throw Failure(kExitUsage, "--server takes http://host:port, not '" + url + "'");
  return server;
}

asio::awaitable<Answer> rest(Server server, std::string method, std::string target, json::value body, std::string token) {
  auto executor = co_await asio::this_coro::executor;
  beast::error_code error;
  tcp::resolver resolver(executor);
  auto addresses = co_await resolver.async_resolve(server.host, server.port, asio::redirect_error(asio::use_awaitable, error));
  if (error) nobody_answers(server, error);
  beast::tcp_stream stream(executor);
  stream.expires_after(kTimeout);
  co_await stream.async_connect(addresses, asio::redirect_error(asio::use_awaitable, error));
  if (error) nobody_answers(server, error);

  http::request<http::string_body> request(http::string_to_verb(method), target, 11);
  request.set(http::field::host, server.host + ":" + server.port);
  request.set(http::field::user_agent, "parley-cli/" + std::string(runtime::version()));
  if (!token.empty()) request.set(http::field::authorization, "Bearer " + token);
  if (!body.is_null()) {
    request.set(http::field::content_type, "application/json");
    request.body() = json::serialize(body);
  }
  request.prepare_payload();
  co_await http::async_write(stream, request, asio::redirect_error(asio::use_awaitable, error));
  if (error) nobody_answers(server, error);
  beast::flat_buffer buffer;
  http::response<http::string_body> response;
  co_await http::async_read(stream, buffer, response, asio::redirect_error(asio::use_awaitable, error));
  if (error) nobody_answers(server, error);

  Answer answer{response.result_int(), nullptr};
  if (!response.body().empty()) {
    boost::system::error_code parse_error;
    answer.body = json::parse(response.body(), parse_error);
    if (parse_error) answer.body = json::value(nullptr);
  }
  co_return answer;
}

void expect_success(const Answer& answer, std::string_view what) {
  if (answer.status >= 200 && answer.status < 300) return;
  auto code = text_of(answer.body, "code"), detail = text_of(answer.body, "detail");
  if (detail.empty()) detail = text_of(answer.body, "title");
  std::string message = std::string(what) + ": " + (code.empty() ? "HTTP " + std::to_string(answer.status) : code);
  if (!detail.empty()) message += " (" + detail + ")";
  throw Failure(answer.status == 503 ? kExitUnavailable : answer.status == 401 ? kExitNoLogin : kExitRefused, message);
}

namespace {

void take_tokens(const json::value& body, Login& login) {
  login.access_token = text_of(body, "accessToken");
  login.refresh_token = text_of(body, "refreshToken");
  const auto* lifetime = body.as_object().if_contains("expiresInMs");
  login.expires_ms = now_ms() + (lifetime && lifetime->is_number() ? lifetime->to_number<std::uint64_t>() : 0);
}

}  // namespace

asio::awaitable<Login> sign_in(std::string server, std::string path, json::object credentials) {
  auto answer = co_await rest(Server::parse(server), "POST", path, credentials, "");
  expect_success(answer, path.ends_with("register") ? "register" : "login");
  Login login;
  login.server = server;
  auto user = user_of(answer.body.as_object().at("user"));
  login.user_id = user.id;
  login.username = user.username;
  take_tokens(answer.body, login);
  co_return login;
}

asio::awaitable<Login> fresh_login(std::string profile, bool force) {
  auto login = Login::load(profile);
  if (!login) throw Failure(kExitNoLogin, "nobody is logged in as '" + profile + "': parley --as " + profile + " login NAME");
  if (!force && login->expires_ms > now_ms() + kRefreshAheadMs) co_return *login;
  auto refused = login->access_token;
  ProfileLock lock(profile);
  login = Login::load(profile);  // another process may have been quicker
  if (login && login->access_token != refused) co_return *login;
  if (!login) throw Failure(kExitNoLogin, "nobody is logged in as '" + profile + "'");
  auto answer = co_await rest(Server::parse(login->server), "POST", "/v1/auth/refresh", {{"refreshToken", login->refresh_token}}, "");
  if (answer.status == 401) throw Failure(kExitNoLogin, "the login of '" + profile + "' has ended: parley --as " + profile + " login " + login->username);
  expect_success(answer, "refresh");
  take_tokens(answer.body, *login);
  login->save(profile);
  co_return *login;
}

asio::awaitable<User> user_by_name(const Login& login, std::string username) {
  std::string target = "/v1/users?query=" + percent_encoded(username);
  auto answer = co_await rest(Server::parse(login.server), "GET", target, nullptr, login.access_token);
  expect_success(answer, "looking up " + username);
  if (const auto* items = answer.body.as_object().if_contains("items"); items && items->is_array())
    for (const auto& item : items->as_array())
      if (text_of(item, "username") == username) co_return user_of(item);
  throw Failure(kExitRefused, "there is no user '" + username + "'");
}

asio::awaitable<User> user_by_id(const Login& login, std::string id) {
  auto answer = co_await rest(Server::parse(login.server), "GET", "/v1/users/" + id, nullptr, login.access_token);
  expect_success(answer, "looking up " + id);
  co_return user_of(answer.body);
}

}  // namespace parley::cli
