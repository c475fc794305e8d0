#include "eventlog/opening.h"

#include <chrono>

#include "runtime/log.h"

namespace parley::eventlog {

namespace {

constexpr auto kAgain = std::chrono::milliseconds(500);

}  // namespace

Opening::Opening(boost::asio::io_context& io, Log& log, std::function<void(Topic)> opened, std::function<void(std::string)> misconfigured)
    : log_(log), opened_(std::move(opened)), misconfigured_(std::move(misconfigured)), again_(io) {
  ask();
}

void Opening::ask() {
  log_.open([this, alive = std::weak_ptr(alive_)](std::expected<Topic, Error> topic) {
    if (alive.expired()) return;
    if (topic) {
      runtime::log::info("log.open", {{"topic", topic->id}, {"partitions", topic->partitions}});
      return opened_(std::move(*topic));
    }
    if (topic.error().code == Errc::misconfigured) {
      runtime::log::error("log.misconfigured", {{"error", topic.error().message}});
      return misconfigured_(topic.error().message);
    }
    runtime::log::limited(runtime::log::Level::warn, "log.away", "open", {{"error", topic.error().message}});
    again_.expires_after(kAgain);
    again_.async_wait([this, alive](boost::system::error_code failed) {
      if (!failed && !alive.expired()) ask();
    });
  });
}

}  // namespace parley::eventlog
