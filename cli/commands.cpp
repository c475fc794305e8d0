#include "cli/commands.h"

#include <fmt/format.h>
#include <termios.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <cstdlib>
#include <iostream>
#include <random>

#include "chat/ids.h"
#include "cli/show.h"
#include "runtime/config.h"

namespace parley::cli {

namespace asio = boost::asio;
namespace json = boost::json;

std::string new_id() {
  static chat::IdGenerator generator{(std::uint64_t{std::random_device{}()} << 32) ^ std::random_device{}()};
  return chat::uuid_text(generator.next({now_ms()}));
}

std::string new_device_id(std::string_view purpose) { return fmt::format("cli-{}-{:08x}", purpose, std::random_device{}()); }

void expect_success(const client::Frame& answer, std::string_view what) {
  if (!answer.has_nack()) return;
  const auto& nack = answer.nack();
  throw Failure(nack.temporary() ? kExitUnavailable : kExitRefused,
                fmt::format("{}: {}{}", what, nack.code(), nack.message().empty() ? "" : " (" + nack.message() + ")"));
}

namespace {

std::string password_of(const Arguments& arguments) {
  if (arguments.password) return *arguments.password;
  if (const char* set = std::getenv("PARLEY_PASSWORD")) return set;
  std::cerr << "password: " << std::flush;
  termios before{};
  bool terminal = tcgetattr(STDIN_FILENO, &before) == 0;
  if (terminal) {
    termios silent = before;
    silent.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    tcsetattr(STDIN_FILENO, TCSANOW, &silent);
  }
  std::string password;
  bool read = static_cast<bool>(std::getline(std::cin, password));
  if (terminal) {
    tcsetattr(STDIN_FILENO, TCSANOW, &before);
    std::cerr << '\n';
  }
  if (!read) throw Failure(kExitUsage, "no password given");
  return password;
}

void expect_words(const Arguments& arguments, std::size_t least, std::size_t most) {
  if (arguments.words.size() < least || arguments.words.size() > most)
    throw Failure(kExitUsage, "'" + arguments.words[0] + "' is used differently ('parley --help')");
}

asio::awaitable<int> sign_in_as(Arguments arguments, bool is_new) {
  expect_words(arguments, 2, is_new ? SIZE_MAX : 2);
  json::object credentials = {{"username", arguments.words[1]}, {"password", password_of(arguments)}};
  if (is_new) {
    std::string display_name;
    for (std::size_t i = 2; i < arguments.words.size(); ++i) display_name += (display_name.empty() ? "" : " ") + arguments.words[i];
    credentials["displayName"] = display_name.empty() ? arguments.words[1] : display_name;
  }
  auto known = Login::load(arguments.profile);
  auto server = arguments.server_given || !known ? arguments.server : known->server;
  auto login = co_await sign_in(server, is_new ? "/v1/auth/register" : "/v1/auth/login", credentials);
  login.device_id = known && known->user_id == login.user_id && !known->device_id.empty() ? known->device_id : new_device_id("listen");
  login.save(arguments.profile);
  std::cout << (arguments.json ? json::serialize(json::object{{"id", login.user_id}, {"username", login.username}})
                               : fmt::format("{} as {} ({}) at {}", is_new ? "registered" : "logged in", login.username, login.user_id, login.server))
            << '\n';
  co_return 0;
}

asio::awaitable<int> whoami(Arguments arguments) {
  expect_words(arguments, 1, 1);
  auto login = co_await fresh_login(arguments.profile);
  auto answer = co_await rest(Server::parse(login.server), "GET", "/v1/users/me", nullptr, login.access_token);
  expect_success(answer, "whoami");
  if (arguments.json)
    std::cout << json::serialize(answer.body) << '\n';
  else
    std::cout << fmt::format("{} ({}) at {}\n", login.username, login.user_id, login.server);
  co_return 0;
}

asio::awaitable<int> history(Arguments arguments) {
  expect_words(arguments, 2, 2);
  auto login = co_await fresh_login(arguments.profile);
  auto connection = co_await open_for_requests(arguments.profile, login);
  auto target = co_await find_target(login, arguments.words[1]);
  client::Frame frame;
  auto& ask = *frame.mutable_history();
  ask.set_conversation(target.conversation);
  ask.set_limit(arguments.limit);
  ask.set_before_seq(arguments.before);
  ask.set_after_seq(arguments.after);
  auto answer = co_await connection->request(std::move(frame));
  expect_success(answer, "history");
  if (arguments.json) {
    std::cout << json_line(answer) << '\n';
  } else {
    Names names(login);
    for (const auto& event : answer.history_page().events()) {
      auto line = co_await event_line(event, names, *connection);
      std::cout << line << '\n';
    }
    if (answer.history_page().more()) std::cout << "(there is more)\n";
  }
  co_await connection->close();
  co_return 0;
}

asio::awaitable<int> conversations(Arguments arguments) {
  expect_words(arguments, 1, 1);
  auto login = co_await fresh_login(arguments.profile);
  auto connection = co_await open_for_requests(arguments.profile, login);
  client::Frame frame;
  frame.mutable_conversations()->set_limit(arguments.limit);
  auto answer = co_await connection->request(std::move(frame));
  expect_success(answer, "conversations");
  if (arguments.json) {
    std::cout << json_line(answer) << '\n';
  } else {
    Names names(login);
    for (const auto& summary : answer.conversation_page().items()) {
      names.learn(summary);
      auto name = co_await names.conversation(*connection, summary.conversation());
      std::cout << fmt::format("{}  {:<6} {:<20} {} messages, {} unread\n", summary.conversation(), summary.kind(), name, summary.last_number(),
                               summary.unread());
    }
    if (answer.conversation_page().items().empty()) std::cout << "(none yet)\n";
    if (!answer.conversation_page().next_cursor().empty()) std::cout << "(there are more)\n";
  }
  co_await connection->close();
  co_return 0;
}

asio::awaitable<int> create_group(Arguments arguments) {
  if (arguments.words.size() < 3 || arguments.words[1] != "create") throw Failure(kExitUsage, "parley group create TITLE NAME...");
  auto login = co_await fresh_login(arguments.profile);
  client::Frame frame;
  auto& create = *frame.mutable_create_conversation();
  create.set_op_id(new_id());
  create.set_kind("group");
  create.set_title(arguments.words[2]);
  for (std::size_t i = 3; i < arguments.words.size(); ++i) {
    auto user = co_await user_by_name(login, arguments.words[i]);
    create.add_members(user.id);
  }
  auto connection = co_await open_for_requests(arguments.profile, login);
  auto answer = co_await connection->request(std::move(frame));
  expect_success(answer, "group create");
  std::cout << (arguments.json ? json_line(answer) : fmt::format("group {} seq {}", answer.result().conversation(), answer.result().seq())) << '\n';
  co_await connection->close();
  co_return 0;
}

}  // namespace

asio::awaitable<Target> find_target(const Login& login, std::string name) {
  if (auto bytes = chat::parse_uuid(name)) co_return Target{chat::uuid_text(*bytes), std::nullopt};
  auto user = co_await user_by_name(login, name);
  auto me = chat::parse_id<chat::UserId>(login.user_id), peer = chat::parse_id<chat::UserId>(user.id);
  if (!me || !peer) throw Failure(kExitRefused, "the server gave a user without an id");
  co_return Target{chat::to_text(chat::direct_conversation(*me, *peer)), user};
}

asio::awaitable<std::unique_ptr<Connection>> open_for_requests(std::string profile, Login& login) {
  client::Hello hello;
  hello.set_device_id(new_device_id("ask"));
  hello.set_platform("cli");
  for (int attempt = 0;; ++attempt) {
    hello.set_token(login.access_token);
    Closed closed;
    try {
      auto connection = co_await Connection::open(Server::parse(login.server), hello);
      co_return connection;
    } catch (const Closed& why) {
      closed = why;
    }
    constexpr std::uint16_t kTokenExpired = 4009;
    if (closed.code == 0) throw Failure(kExitUnavailable, "no answer from " + login.server + " (" + closed.reason + ")");
    if (attempt > 0 || closed.code != kTokenExpired) throw Failure(kExitNoLogin, "the server closed the connection: " + closed.reason);
    login = co_await fresh_login(profile, true);
  }
}

asio::awaitable<int> run(Arguments arguments) {
  const auto& command = arguments.words[0];
  if (command == "help") {
    std::cout << kUsage;
    co_return 0;
  }
  if (command == "version") {
    std::cout << "parley " << runtime::version() << '\n';
    co_return 0;
  }
  using Command = asio::awaitable<int> (*)(Arguments);
  Command body = command == "listen"          ? &listen
                 : command == "send"          ? &send
                 : command == "whoami"        ? &whoami
                 : command == "history"       ? &history
                 : command == "conversations" ? &conversations
                 : command == "group"         ? &create_group
                                              : nullptr;
  int code = 0;
  if (command == "register" || command == "login")
    code = co_await sign_in_as(arguments, command == "register");
  else if (body)
    code = co_await body(arguments);
  else
    throw Failure(kExitUsage, "there is no command '" + command + "' ('parley --help' lists them)");
  co_return code;
}

}  // namespace parley::cli
