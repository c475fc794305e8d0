// Kafka's consumer side of the log.
//
// Manual mode assigns partition by partition. Group mode subscribes (range assignor, eager): a rebalance is answered with an
// empty assignment, and `start` then assigns what the owner wants, so that nothing is read before it. Pausing gives the
// partition back and resuming assigns it again at the next offset: librdkafka 2.0's own pause loses its place when entries
// that were already handed out are not taken.
//
// A fatal error (another process took the static membership) is told, and nothing is read any more.
//
// Entries of one turn of the event loop are told as one batch per partition. Commits of one turn go out as one request.
//
// Thread: that of the io_context. `start`, `stop`, `pause` and `resume` wait for a hand-over between threads of librdkafka (some
// ten microseconds), never for the network. Bound: `prefetch_bytes` held by librdkafka.
#pragma once

#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "eventlog/kafka/event_queue.h"
#include "eventlog/kafka/worker.h"
#include "eventlog/log.h"

namespace parley::eventlog::kafka {

class KafkaConsumer final : public Consumer {
 public:
  // `begins` asks the log for the first offsets: what an out-of-range consumer is told.
  using Begins = std::move_only_function<void(Callback<std::vector<Offset>>)>;

  KafkaConsumer(const Settings& settings, ConsumerOptions options, ConsumerEvents& events, boost::asio::io_context& io, std::shared_ptr<Worker> worker,
                Begins begins);
  ~KafkaConsumer() override;

  void start(Partition partition, Offset from) override;
  void stop(Partition partition) override;
  void pause(Partition partition) override;
  void resume(Partition partition) override;
  void commit(Partition partition, Offset next) override;

 private:
  struct Reading {
    Offset next;
    std::uint64_t epoch;  // of the latest start; what was fetched for an earlier one is dropped
    bool paused = false;
    bool assigned = false;  // librdkafka reads it from `next`; until then what comes is of an earlier place
  };
  // What one turn brought of a partition.
  struct Batch {
    std::vector<Entry> entries;
    Offset end;
    std::uint64_t epoch;
  };

  struct Rebalance {
    bool assigned;  // false: lost
    std::vector<Partition> partitions;
  };

  void on_event(EventHandle event);
  void on_message(const rd_kafka_message_t& message);
  void on_error(const rd_kafka_event_t& event);
  void on_end(Partition partition, Offset end);
  void on_rebalance(rd_kafka_event_t& event);
  void on_drained();
  void on_out_of_range(Partition partition);
  Batch& batch(Partition partition, const Reading& reading);
  void read(Partition partition, Offset from);
  void unread(Partition partition);
  void assign_all();
  void let_stop();
  void send_commits();

  Settings settings_;
  ConsumerOptions options_;
  ConsumerEvents& owner_;
  boost::asio::io_context& io_;
  std::shared_ptr<Worker> worker_;
  Begins begins_;
  ClientHandle client_;
  std::unique_ptr<EventQueue> events_;
  std::map<Partition, Reading> reading_;
  std::uint64_t epochs_ = 0;
  std::vector<EventHandle> held_;  // own the bytes of `batches_`
  std::map<Partition, Batch> batches_;
  std::vector<Rebalance> rebalances_;
  std::map<Partition, Offset> commits_;
  bool reassign_ = false;
  std::string failed_;  // why this consumer is beyond repair; told at the end of the turn
  std::shared_ptr<int> alive_ = std::make_shared<int>();
};

}  // namespace parley::eventlog::kafka
