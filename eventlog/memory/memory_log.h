// The log for simulations: nothing happens unless it is asked for, so a schedule is replayable.
//
//   MemoryBroker           the entries, offsets and orphans; outlives every simulated process
//   MemoryLog              one process's connection to it; destroying it is that process's crash: nothing is told any more
//   MemoryProducer         a queue of attempts: `land` appends the next one, `tell` answers the next one
//   MemoryConsumer         `deliver` hands over the next entries of a partition
//
// The interface is Log's; the verbs beyond it belong to the schedule. One thread. The broker grows without bound (a
// simulation is finite); a producer's queue is bounded by MemoryBroker::Settings::queue_entries (queue_full).
//
// Where Kafka leaves a choice, a verb makes it: how many purged attempts were in flight and land later (always the
// first ones of their partition, in their order), when an answer arrives, whether an offset is skipped.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "eventlog/log.h"
#include "runtime/clock.h"

namespace parley::eventlog::memory {

class MemoryConsumer;
class MemoryLog;
class MemoryProducer;

struct Attempt {
  Partition partition;
  std::string key, value, traceparent;
};

class MemoryBroker {
 public:
  struct Settings {
    std::uint32_t partitions = 4;
    std::string topic_id = "memory";
    std::size_t queue_entries = 10'000;  // per producer
    std::size_t entry_bytes = 1 << 20;   // beyond: too_large
  };

  MemoryBroker(Settings settings, const runtime::Clock& clock);

  // ---- what a schedule does to the log ----
  void set_available(bool available) { available_ = available; }  // away: nothing lands, queries fail
  Offset append(const Attempt& attempt);                          // by whom does not matter
  void skip_offsets(Partition partition, std::uint64_t count);    // as Kafka's control records do
  void trim(Partition partition, Offset before);
  void set_committed(const std::string& group, Partition partition, std::optional<Offset> next);
  // Attempts of dead or purged producers that were in flight: one queue for each time that it happened.
  std::size_t orphans() const { return orphans_.size(); }
  void land_orphan(std::size_t queue);  // appends the first of that queue

  // For tests that care for no schedule: lets everyone attached do the next thing, in the order they came. False: all is at rest.
  bool step();

  // ---- what a checker looks at ----
  const Settings& settings() const { return settings_; }
  bool available() const { return available_; }
  Offset begin(Partition partition) const { return partitions_.at(partition.value).begin; }
  Offset end(Partition partition) const { return partitions_.at(partition.value).end; }
  std::optional<Offset> committed(const std::string& group, Partition partition) const;
  // The first entry at or after `from`; nothing at the end.
  std::optional<Entry> at_or_after(Partition partition, Offset from) const;

 private:
  friend class MemoryConsumer;
  friend class MemoryLog;
  friend class MemoryProducer;
  struct Stored {
    TimeMs time;
    std::string key, value, traceparent;
  };
  struct Sequence {
    std::map<Offset, Stored> entries;
    Offset begin{}, end{};
    TimeMs last_time{};
  };

  Settings settings_;
  const runtime::Clock& clock_;
  bool available_ = true;
  std::vector<Sequence> partitions_;
  std::map<std::string, std::map<Partition, Offset>> committed_;
  std::deque<std::deque<Attempt>> orphans_;
  std::vector<MemoryProducer*> producers_;  // attached now
  std::vector<MemoryConsumer*> consumers_;
  std::vector<MemoryLog*> logs_;
};

class MemoryProducer final : public Producer {
 public:
  explicit MemoryProducer(MemoryBroker& broker) : broker_(broker) { broker_.producers_.push_back(this); }
  // A crash: of every partition the first `in_flight` attempts become orphans, the others are gone.
  ~MemoryProducer() override;

  std::expected<void, Error> produce(Partition partition, std::string_view key, std::string_view value, std::string_view traceparent,
                                     std::move_only_function<void(std::expected<Offset, Error>)> done) override;
  void purge(Partition partition) override;
  void flush(std::move_only_function<void()> done) override;

  // ---- verbs ----
  std::size_t queued() const { return queue_.size(); }
  bool land();  // appends the next attempt; its answer waits for `tell`. False: nothing queued or broker away
  bool tell();  // gives the next answer. False: none waits
  // The first attempt of the partition is answered timed_out (by `tell`) and stays in flight; the owner is to purge (R24).
  bool expire(Partition partition);
  // How many attempts of a partition a later purge or crash finds in flight.
  void set_in_flight(std::size_t attempts) { in_flight_ = attempts; }

 private:
  struct Queued {
    Attempt attempt;
    std::uint64_t number;
    std::move_only_function<void(std::expected<Offset, Error>)> done;  // empty: answered already
  };
  struct Answer {
    std::uint64_t number;
    std::move_only_function<void()> call;
  };
  struct Flush {
    std::uint64_t upto;
    std::move_only_function<void()> done;
  };

  void answer(Queued& queued, std::expected<Offset, Error> outcome);
  void answer_flushes();

  MemoryBroker& broker_;
  std::size_t in_flight_ = 0;
  std::uint64_t produced_ = 0;
  std::deque<Queued> queue_;
  std::deque<Answer> answers_;
  std::deque<Flush> flushes_;
};

class MemoryConsumer final : public Consumer {
 public:
  MemoryConsumer(MemoryBroker& broker, ConsumerOptions options, ConsumerEvents& events) : broker_(broker), options_(std::move(options)), events_(events) {
    broker_.consumers_.push_back(this);
  }
  ~MemoryConsumer() override { std::erase(broker_.consumers_, this); }

  void start(Partition partition, Offset from) override;
  void stop(Partition partition) override { reading_.erase(partition); }
  void pause(Partition partition) override;
  void resume(Partition partition) override;
  void commit(Partition partition, Offset next) override;

  // ---- verbs ----
  // Hands over up to `most` entries, or that the offset is out of range. False: nothing to tell.
  bool deliver(Partition partition, std::size_t most);
  // Group mode: the group gives or takes partitions.
  void assign(std::span<const Partition> partitions) { events_.on_assigned(partitions); }
  void lose(std::span<const Partition> partitions);
  std::vector<Partition> reading() const;

 private:
  struct Reading {
    Offset next;
    bool paused = false;
  };

  MemoryBroker& broker_;
  ConsumerOptions options_;
  ConsumerEvents& events_;
  std::map<Partition, Reading> reading_;
};

class MemoryLog final : public Log {
 public:
  explicit MemoryLog(MemoryBroker& broker) : broker_(broker) { broker_.logs_.push_back(this); }
  ~MemoryLog() override { std::erase(broker_.logs_, this); }

  void open(Callback<Topic> done) override;
  // What is told is the state at the time of asking: the oldest that a real log may tell.
  void ends(Callback<std::vector<Offset>> done) override;
  void begins(Callback<std::vector<Offset>> done) override;
  void since(TimeMs time, Callback<std::vector<std::optional<Offset>>> done) override;
  void committed(std::string group, Callback<std::vector<std::optional<Offset>>> done) override;
  void trim(Partition partition, Offset before, Callback<void> done) override;
  std::unique_ptr<Producer> producer() override { return make_producer(); }
  std::unique_ptr<Consumer> consumer(ConsumerOptions options, ConsumerEvents& events) override { return make_consumer(std::move(options), events); }

  // The same with the verbs in sight.
  std::unique_ptr<MemoryProducer> make_producer() { return std::make_unique<MemoryProducer>(broker_); }
  std::unique_ptr<MemoryConsumer> make_consumer(ConsumerOptions options, ConsumerEvents& events) {
    return std::make_unique<MemoryConsumer>(broker_, std::move(options), events);
  }

  // ---- verbs ----
  bool answer();  // answers the oldest question. False: none waits
  std::size_t questions() const { return questions_.size(); }

 private:
  template <class T, class Get>
  void ask(Callback<T> done, Get get);

  MemoryBroker& broker_;
  std::deque<std::move_only_function<void()>> questions_;
};

}  // namespace parley::eventlog::memory
