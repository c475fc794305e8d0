#include <fmt/format.h>

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <iostream>

#include "cli/backoff.h"
#include "cli/commands.h"
#include "cli/show.h"

namespace parley::cli {

namespace asio = boost::asio;

namespace {

constexpr auto kAnswer = std::chrono::seconds(10);
constexpr std::uint16_t kTokenExpired = 4009;

asio::awaitable<void> pause(std::chrono::milliseconds time) {
  asio::steady_timer timer(co_await asio::this_coro::executor, time);
  co_await timer.async_wait(asio::use_awaitable);
}

// One message at a time, so that order is never in question.
class Sender {
 public:
  Sender(Arguments arguments, Login login) : arguments_(std::move(arguments)), login_(std::move(login)) {
    hello_.set_device_id(new_device_id("send"));
    hello_.set_platform("cli");
  }

  // Transmits until an answer settles it; every transmission after the first is flagged.
  asio::awaitable<client::SendAck> deliver(client::Send message) {
    auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(arguments_.timeout_s);
    std::string last = "no answer";
    bool transmitted = false;
    while (std::chrono::steady_clock::now() < give_up) {
      std::chrono::milliseconds wait{0};
      try {
        if (!connection_) connection_ = co_await Connection::open(Server::parse(login_.server), with_token());
        client::Frame frame;
        *frame.mutable_send() = message;
        frame.mutable_send()->set_resend(transmitted);
        connection_->post(std::move(frame));
        transmitted = true;
        auto answer = co_await answer_to(message.client_msg_id());
        if (answer && answer->has_send_ack()) {
          backoff_.reset();
          co_return answer->send_ack();
        }
        if (answer && !answer->nack().temporary()) expect_success(*answer, "send");
        last = answer ? answer->nack().code() : "no answer within 10 s";
        wait = backoff_.next(answer ? answer->nack().retry_after_ms() : 1);
      } catch (const Closed& closed) {
        connection_.reset();
        last = "connection lost (" + closed.reason + ")";
        if (closed.code == kTokenExpired)
          expired_ = true;
        else if (closed.terminal())
          throw Failure(kExitNoLogin, "the server closed the connection: " + closed.reason);
        wait = backoff_.next(closed.retry_after_ms);
      }
      if (!std::exchange(told_, true))
        std::cerr << fmt::format("parley: not acknowledged yet ({}); sending it again for up to {} s\n", last, arguments_.timeout_s);
      if (std::exchange(expired_, false)) login_ = co_await fresh_login(arguments_.profile, true);
      co_await pause(wait);
    }
    throw Failure(kExitUnavailable, fmt::format("not acknowledged within {} s: {}", arguments_.timeout_s, last));
  }

  asio::awaitable<void> close() {
    if (connection_) co_await connection_->close();
  }

 private:
  client::Hello with_token() {
    hello_.set_token(login_.access_token);
    return hello_;
  }

  // Nothing if it does not come in time.
  asio::awaitable<std::optional<client::Frame>> answer_to(std::string id) {
    auto deadline = std::chrono::steady_clock::now() + kAnswer;
    while (true) {
      auto frame = co_await connection_->receive(deadline);
      if (!frame) co_return std::nullopt;
      if (frame->has_send_ack() && frame->send_ack().client_msg_id() == id) co_return frame;
      if (frame->has_nack() && frame->nack().client_msg_id() == id) co_return frame;
    }
  }

  Arguments arguments_;
  Login login_;
  client::Hello hello_;
  std::unique_ptr<Connection> connection_;
  Backoff backoff_;
  bool expired_ = false;
  bool told_ = false;  // that it takes longer
};

}  // namespace

asio::awaitable<int> send(Arguments arguments) {
  if (arguments.words.size() < 3) throw Failure(kExitUsage, "parley send TO TEXT...");
  auto login = co_await fresh_login(arguments.profile);
  auto target = co_await find_target(login, arguments.words[1]);
  Sender sender(arguments, login);
  auto deliver = [&](std::string text) -> asio::awaitable<void> {
    client::Send message;
    if (target.user)
      message.set_direct_to(target.user->id);
    else
      message.set_conversation(target.conversation);
    message.set_client_msg_id(new_id());
    message.mutable_text()->set_body(text);
    auto ack = co_await sender.deliver(std::move(message));
    if (arguments.json) {
      client::Frame frame;
      *frame.mutable_send_ack() = ack;
      std::cout << json_line(frame) << std::endl;
    } else {
      std::cout << fmt::format("sent: seq {}, {}{}", ack.seq(), clock_text(ack.server_time_ms()), ack.duplicate() ? " (it had arrived the first time)" : "")
                << std::endl;
    }
  };
  if (arguments.words.size() == 3 && arguments.words[2] == "-") {
    for (std::string line; std::getline(std::cin, line);)
      if (!line.empty()) co_await deliver(line);
  } else {
    std::string text = arguments.words[2];
    for (std::size_t i = 3; i < arguments.words.size(); ++i) text += " " + arguments.words[i];
    co_await deliver(text);
  }
  co_await sender.close();
  co_return 0;
}

}  // namespace parley::cli
