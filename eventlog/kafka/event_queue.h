// A librdkafka queue on the event loop: an eventfd becomes readable, the queue is drained on the io_context's thread.
//
// Bound: kMostEvents a turn, then others get theirs. A slow timer drains too, because a group member that nobody polls for
// max.poll.interval.ms leaves its group.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <memory>

#include "eventlog/kafka/handle.h"

namespace parley::eventlog::kafka {

class EventQueue {
 public:
  static constexpr int kMostEvents = 1'000;

  // `on_event` for each, `on_drained` after each turn that had any. `on_drained` may destroy this queue.
  EventQueue(boost::asio::io_context& io, QueueHandle queue, std::move_only_function<void(EventHandle)> on_event, std::move_only_function<void()> on_drained);
  ~EventQueue();

  rd_kafka_queue_t* raw() const { return queue_.get(); }

 private:
  void wait_readable();
  void wait_timer();
  void drain();

  boost::asio::io_context& io_;
  QueueHandle queue_;
  boost::asio::posix::stream_descriptor readable_;
  boost::asio::steady_timer timer_;
  bool posted_ = false;
  struct Owner {
    std::move_only_function<void(EventHandle)> on_event;
    std::move_only_function<void()> on_drained;
  };
  std::shared_ptr<Owner> owner_;  // shared with the turn under way, which may outlive this; expired: nobody listens
};

}  // namespace parley::eventlog::kafka
