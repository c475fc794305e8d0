// Kafka's producer side of the log: idempotent, acks=all, no timeout inside librdkafka.
//
//   produce -> handed to librdkafka (at most `handed_entries` a partition) -> delivery report -> done
//           \-> waiting here while that many are on their way
//
// Order is what this protects. librdkafka never gives up an entry by itself (message.timeout.ms=0), because giving up one and
// sending the next would let a later one land without an earlier one. This side expires attempts, oldest first, and the
// owner then purges the partition (R24): what waits here is gone, what librdkafka has stays there, unanswered, and lands
// in order or not at all. Once nothing but such abandoned entries is left in librdkafka the client is replaced, so that they do
// not land after an hour's outage; at most what was on the wire does. A fatal error (facts: rare, after a disconnect) ends all
// attempts as timed_out and replaces the client.
//
// Thread: that of the io_context.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstdint>
#include <deque>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "eventlog/kafka/event_queue.h"
#include "eventlog/kafka/worker.h"
#include "eventlog/log.h"

namespace parley::eventlog::kafka {

class KafkaProducer final : public Producer {
 public:
  using Done = std::move_only_function<void(std::expected<Offset, Error>)>;

  KafkaProducer(const Settings& settings, boost::asio::io_context& io, std::shared_ptr<Worker> worker);
  ~KafkaProducer() override;

  std::expected<void, Error> produce(Partition partition, std::string_view key, std::string_view value, std::string_view traceparent, Done done) override;
  void purge(Partition partition) override;
  void flush(std::move_only_function<void()> done) override;

 private:
  struct Attempt {
    Partition partition;
    std::uint64_t number;
    std::size_t bytes;
    std::chrono::steady_clock::time_point deadline;
    Done done;                            // empty: answered, the entry is abandoned
    std::string key, value, traceparent;  // only while waiting here
    std::list<Attempt>::iterator self;
  };
  struct Lane {
    std::list<Attempt> handed;  // librdkafka points at these
    std::list<Attempt> waiting;
  };
  struct Flush {
    std::uint64_t upto;
    std::size_t unanswered;
    std::move_only_function<void()> done;
  };
  struct Outcome {
    Done done;
    std::expected<Offset, Error> result;
  };

  void connect();
  std::vector<Outcome> replace(const Error& error);
  void replace_if_only_abandoned();
  Lane& lane(Partition partition);
  std::optional<Error> hand_over(std::list<Attempt>& from, Lane& to, std::string_view key, std::string_view value, std::string_view traceparent);
  void on_event(EventHandle event);
  void on_drained();
  void on_report(const rd_kafka_message_t& report);
  void refill(Lane& lane);
  void settle(Attempt& attempt, std::expected<Offset, Error> result, std::vector<Outcome>& outcomes);
  void forget(std::list<Attempt>& list, std::list<Attempt>::iterator attempt);
  void tell(std::vector<Outcome> outcomes);
  void tell_later(std::vector<Outcome> outcomes);
  void wait_expiry();
  void expire();

  Settings settings_;
  boost::asio::io_context& io_;
  std::shared_ptr<Worker> worker_;
  ClientHandle client_;
  TopicHandle topic_;
  std::unique_ptr<EventQueue> events_;
  std::vector<Lane> lanes_;
  std::size_t entries_ = 0, bytes_ = 0, unanswered_ = 0;
  std::uint64_t produced_ = 0;
  std::vector<Outcome> reported_;  // of the turn being drained
  std::deque<Flush> flushes_;
  bool failed_ = false;
  boost::asio::steady_timer timer_;
  std::shared_ptr<int> alive_ = std::make_shared<int>();
};

}  // namespace parley::eventlog::kafka
