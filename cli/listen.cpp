#include <fmt/format.h>

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <iostream>
#include <random>

#include "cli/backoff.h"
#include "cli/commands.h"
#include "cli/show.h"

namespace parley::cli {

namespace asio = boost::asio;

namespace {

constexpr auto kAckAfter = std::chrono::seconds(1);
constexpr unsigned kAckEvents = 64;
constexpr std::uint16_t kTokenExpired = 4009;

class Listener {
 public:
  Listener(Arguments arguments, Login login)
      : arguments_(std::move(arguments)), login_(std::move(login)), names_(login_), seen_(Seen::load(arguments_.profile, login_.user_id)) {}

  asio::awaitable<int> run() {
    while (!enough()) {
      Closed closed;
      try {
        co_await session();
        break;
      } catch (const Closed& why) {
        closed = why;
      }
      connection_.reset();
      if (closed.code == kTokenExpired)
        login_ = co_await fresh_login_or_old(true);
      else if (closed.terminal())
        throw Failure(kExitNoLogin, "the server closed the connection: " + closed.reason);
      auto wait = backoff_.next(closed.retry_after_ms);
      note(fmt::format("connection lost ({}); again in {} ms", closed.reason, wait.count()));
      asio::steady_timer timer(co_await asio::this_coro::executor, wait);
      co_await timer.async_wait(asio::use_awaitable);
      login_ = co_await fresh_login_or_old();
    }
    if (connection_) {
      send_ack();
      co_await connection_->close();
    }
    co_return 0;
  }

 private:
  bool enough() const { return arguments_.count > 0 && shown_ >= arguments_.count; }

  void note(const std::string& text) const {
    if (!arguments_.json) std::cerr << "-- " << text << std::endl;
  }

  // The server may be away: then the old tokens are tried again later.
  asio::awaitable<Login> fresh_login_or_old(bool expired = false) {
    try {
      auto login = co_await fresh_login(arguments_.profile, expired);
      co_return login;
    } catch (const Failure& failure) {
      if (failure.exit_code != kExitUnavailable) throw;
    }
    co_return login_;
  }

  template <class Message>
  void put_cursors(Message& message) const {
    for (const auto& cursor : seen_.cursors.all()) {
      auto& item = *message.add_cursors();
      item.set_conversation(cursor.conversation);
      item.set_seq(cursor.seq);
    }
    message.set_sync_token(seen_.sync_token);
  }

  // One connection, from hello to its end.
  asio::awaitable<void> session() {
    client::Hello hello;
    hello.set_token(login_.access_token);
    hello.set_device_id(login_.device_id);
    hello.set_platform("cli");
    hello.set_sdk("parley-cli");
    bool is_new = seen_.sync_token.empty() && seen_.cursors.all().empty();
    put_cursors(hello);
    connection_ = co_await Connection::open(Server::parse(login_.server), std::move(hello));
    backoff_.reset();
    ack_at_ = SteadyTime::max();
    resume_at_ = SteadyTime::max();
    unacked_ = 0;
    while (!enough()) {
      auto frame = co_await connection_->receive(std::min(ack_at_, resume_at_));
      auto now = std::chrono::steady_clock::now();
      if (now >= ack_at_) send_ack();
      if (now >= resume_at_) send_resume();
      if (!frame) continue;
      if (frame->has_event()) {
        co_await take(std::move(*frame->mutable_event()));
      } else if (frame->has_caught_up()) {
        if (is_new) co_await begin_now();
        is_new = false;
        co_await catch_up(frame->caught_up());
      } else if (frame->has_resync()) {
        resync(frame->resync());
      } else if (frame->has_resume()) {
        auto window = std::uniform_int_distribution<std::uint32_t>(0, frame->resume().window_ms())(random_);
        resume_at_ = now + std::chrono::milliseconds(window);
      } else if (frame->has_goaway()) {
        // What the old socket still carries the cursors cover.
        throw Closed{0, "the server goes away: " + frame->goaway().reason(),
                     1 + std::uniform_int_distribution<std::uint32_t>(0, frame->goaway().window_ms())(random_)};
      } else if (arguments_.json) {
        std::cout << json_line(*frame) << std::endl;
      }
    }
  }

  // A device without any cursor gets nothing replayed: it begins with what is there now.
  asio::awaitable<void> begin_now() {
    std::string cursor;
    do {
      client::Frame frame;
      frame.mutable_conversations()->set_limit(200);
      frame.mutable_conversations()->set_cursor(cursor);
      auto answer = co_await connection_->request(std::move(frame));
      if (answer.nack().temporary()) throw Closed{0, "conversations are unavailable", answer.nack().retry_after_ms()};
      expect_success(answer, "conversations");
      for (const auto& summary : answer.conversation_page().items()) {
        names_.learn(summary);
        seen_.cursors.hold(summary.conversation(), summary.last_seq());
      }
      cursor = answer.conversation_page().next_cursor();
    } while (!cursor.empty());
  }

  asio::awaitable<void> catch_up(client::CaughtUp caught_up) {
    for (const auto& summary : caught_up.changed()) {
      names_.learn(summary);
      if (summary.last_seq() > seen_.cursors.held(summary.conversation())) co_await fetch(summary.conversation(), summary.last_seq());
    }
    if (!caught_up.sync_token().empty()) seen_.sync_token = caught_up.sync_token();
    seen_.save(arguments_.profile);
    note("caught up, listening as " + login_.username);
  }

  void resync(const client::Resync& resync) {
    if (resync.reason() == "storeUnavailable") {
      note("the server cannot replay now; it will ask again");
      return;
    }
    note("too much was missed (" + resync.reason() + "): see 'parley history'");
    seen_.cursors.clear();
    for (const auto& summary : resync.conversations()) {
      names_.learn(summary);
      seen_.cursors.hold(summary.conversation(), summary.last_seq());
    }
    seen_.save(arguments_.profile);
  }

  asio::awaitable<void> take(client::Event event) {
    if (event.seq() == 0) {  // D59: outside order
      co_await show(std::move(event));
      co_return;
    }
    switch (seen_.cursors.look(event.conversation(), event.seq())) {
      case Cursors::Take::drop:
        break;
      case Cursors::Take::take:
        co_await hold(std::move(event));
        break;
      case Cursors::Take::ask:
        co_await fetch(event.conversation(), event.seq() - 1);
        if (seen_.cursors.held(event.conversation()) < event.seq()) co_await hold(std::move(event));
        break;
    }
  }

  // Everything after what is held, up to `seq`; what the answer leaves out one may not see.
  asio::awaitable<void> fetch(std::string conversation, std::uint64_t seq) {
    bool more = true;
    while (more && seen_.cursors.held(conversation) < seq) {
      client::Frame frame;
      frame.mutable_history()->set_conversation(conversation);
      frame.mutable_history()->set_after_seq(seen_.cursors.held(conversation));
      frame.mutable_history()->set_limit(200);
      auto answer = co_await connection_->request(std::move(frame));
      if (answer.nack().temporary()) throw Closed{0, "history is unavailable", answer.nack().retry_after_ms()};
      if (answer.has_nack()) break;
      for (auto& event : *answer.mutable_history_page()->mutable_events())
        if (event.seq() > seen_.cursors.held(conversation)) co_await hold(std::move(event));
      more = answer.history_page().more() && !answer.history_page().events().empty();
    }
    seen_.cursors.hold(conversation, seq);
  }

  asio::awaitable<void> hold(client::Event event) {
    std::string conversation = event.conversation();
    auto seq = event.seq();
    co_await show(std::move(event));
    seen_.cursors.hold(conversation, seq);
    seen_.save(arguments_.profile);
    fresh_[conversation] = seq;
    if (++unacked_ >= kAckEvents)
      send_ack();
    else if (ack_at_ == SteadyTime::max())
      ack_at_ = std::chrono::steady_clock::now() + kAckAfter;
  }

  asio::awaitable<void> show(client::Event event) {
    std::string line;
    if (arguments_.json) {
      client::Frame frame;
      *frame.mutable_event() = std::move(event);
      line = json_line(frame);
    } else {
      line = co_await event_line(std::move(event), names_, *connection_);
    }
    std::cout << line << std::endl;
    ++shown_;  // not before: the connection may be lost while a name is asked for, and then the event comes again
  }

  void send_ack() {
    ack_at_ = SteadyTime::max();
    unacked_ = 0;
    if (fresh_.empty()) return;
    client::Frame frame;
    for (const auto& [conversation, seq] : fresh_) {
      auto& cursor = *frame.mutable_ack()->add_cursors();
      cursor.set_conversation(conversation);
      cursor.set_seq(seq);
    }
    fresh_.clear();
    connection_->post(std::move(frame));
  }

  void send_resume() {
    resume_at_ = SteadyTime::max();
    client::Frame frame;
    put_cursors(*frame.mutable_resume());
    connection_->post(std::move(frame));
  }

  Arguments arguments_;
  Login login_;
  Names names_;
  Seen seen_;
  Backoff backoff_;
  std::mt19937_64 random_{std::random_device{}()};
  std::unique_ptr<Connection> connection_;
  std::map<std::string, std::uint64_t> fresh_;  // held since the last ack
  unsigned unacked_ = 0;
  std::uint64_t shown_ = 0;
  SteadyTime ack_at_ = SteadyTime::max(), resume_at_ = SteadyTime::max();
};

}  // namespace

asio::awaitable<int> listen(Arguments arguments) {
  if (arguments.words.size() != 1) throw Failure(kExitUsage, "parley listen [--count=N]");
  auto login = co_await fresh_login(arguments.profile);
  Listener listener(std::move(arguments), std::move(login));
  auto code = co_await listener.run();
  co_return code;
}

}  // namespace parley::cli
