#include "eventlog/kafka/event_queue.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <boost/asio/post.hpp>
#include <boost/system/system_error.hpp>
#include <cerrno>
#include <chrono>
#include <utility>

namespace parley::eventlog::kafka {
namespace {

constexpr std::chrono::milliseconds kSlowPoll{500};

int make_eventfd() {
  const int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (fd < 0) throw boost::system::system_error(errno, boost::system::system_category(), "eventfd");
  return fd;
}

}  // namespace

EventQueue::EventQueue(boost::asio::io_context& io, QueueHandle queue, std::move_only_function<void(EventHandle)> on_event,
                       std::move_only_function<void()> on_drained)
    : io_(io),
      queue_(std::move(queue)),
      readable_(io, make_eventfd()),
      timer_(io),
      owner_(std::make_shared<Owner>(std::move(on_event), std::move(on_drained))) {
  const std::uint64_t one = 1;
  rd_kafka_queue_io_event_enable(queue_.get(), readable_.native_handle(), &one, sizeof one);
  wait_readable();
  wait_timer();
}

// Not a member of the descriptor's close: librdkafka must have stopped writing before the number can be reused.
EventQueue::~EventQueue() { rd_kafka_queue_io_event_enable(queue_.get(), -1, nullptr, 0); }

void EventQueue::wait_readable() {
  readable_.async_wait(boost::asio::posix::stream_descriptor::wait_read, [this, owner = std::weak_ptr(owner_)](boost::system::error_code error) {
    if (error || owner.expired()) return;
    std::uint64_t count = 0;
    // Before draining: what comes in meanwhile makes it readable again.
    [[maybe_unused]] const auto got = ::read(readable_.native_handle(), &count, sizeof count);
    drain();
    if (!owner.expired()) wait_readable();
  });
}

void EventQueue::wait_timer() {
  timer_.expires_after(kSlowPoll);
  timer_.async_wait([this, owner = std::weak_ptr(owner_)](boost::system::error_code error) {
    if (error || owner.expired()) return;
    drain();
    if (!owner.expired()) wait_timer();
  });
}

void EventQueue::drain() {
  const auto owner = owner_;
  int events = 0;
  for (; events < kMostEvents; ++events) {
    EventHandle event(rd_kafka_queue_poll(queue_.get(), 0));
    if (!event) break;
    owner->on_event(std::move(event));
  }
  if (events == 0) return;
  owner->on_drained();
  // The only holder left: on_drained destroyed this queue.
  if (owner.use_count() == 1 || events < kMostEvents || posted_) return;
  posted_ = true;
  boost::asio::post(io_, [this, watch = std::weak_ptr(owner)] {
    if (watch.expired()) return;
    posted_ = false;
    drain();
  });
}

}  // namespace parley::eventlog::kafka
