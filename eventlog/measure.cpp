// Measures a log as a gateway meets it: latency of produce until acknowledged, of an entry until its reader has it, and of `ends`,
// at a steady Poisson rate on one thread.
//
//   eventlog-measure kafka 127.0.0.1:19092 RATE SECONDS
//   eventlog-measure postgres 'host=127.0.0.1 port=15432 user=parley dbname=parley' RATE SECONDS
#include <fmt/core.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <random>

#include "eventlog/kafka/kafka_log.h"
#include "eventlog/postgres/postgres_log.h"

namespace parley::eventlog {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr std::uint32_t kPartitions = 4;
constexpr std::size_t kEntryBytes = 300;
constexpr milliseconds kAskEvery{5};

struct Samples {
  std::vector<double> ms;
  void add(Clock::time_point since) { ms.push_back(std::chrono::duration<double, std::milli>(Clock::now() - since).count()); }
  std::string text() {
    if (ms.empty()) return "none";
    std::ranges::sort(ms);
    const auto at = [&](double part) { return ms[std::min(ms.size() - 1, static_cast<std::size_t>(part * static_cast<double>(ms.size())))]; };
    return fmt::format("p50 {:.2f}  p90 {:.2f}  p99 {:.2f}  max {:.2f} ms  ({} samples)", at(0.5), at(0.9), at(0.99), ms.back(), ms.size());
  }
};

class Measure final : public ConsumerEvents {
 public:
  Measure(Log& log, boost::asio::io_context& io, double rate) : log_(log), io_(io), rate_(rate), next_(io), ask_(io) {}

  void run(std::chrono::seconds length) {
    prepare();
    consumer_ = log_.consumer({.group = "measure"}, *this);
    for (std::uint32_t p = 0; p < kPartitions; ++p) consumer_->start(Partition{p}, ends_[p]);
    producer_ = log_.producer();
    io_.run_for(std::chrono::seconds(2));  // connections, metadata
    const auto cpu = std::clock();
    due_ = Clock::now();
    produce();
    ask();
    io_.run_for(length);
    const auto used = static_cast<double>(std::clock() - cpu) / CLOCKS_PER_SEC;
    fmt::print("produce to acknowledged: {}\n", acknowledged_.text());
    fmt::print("produce to read:         {}\n", read_.text());
    fmt::print("ends:                    {}\n", asked_.text());
    fmt::print("failed: {}; this process used {:.1f} us of CPU an entry\n", failed_, used * 1e6 / std::max(1.0, static_cast<double>(produced_)));
  }

 private:
  void prepare() {
    bool ready = false;
    log_.open([&](auto topic) {
      if (!topic) {
        fmt::print(stderr, "{}\n", topic.error().message);
        std::exit(1);
      }
      log_.ends([&](auto ends) {
        if (!ends) {
          fmt::print(stderr, "{}\n", ends.error().message);
          std::exit(1);
        }
        ends_ = *ends;
        ready = true;
      });
    });
    while (!ready) io_.run_one();
  }

  // A late one goes out at once, and its latency counts from when it was due.
  void produce() {
    for (; due_ <= Clock::now(); due_ += std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(gap_(random_) / rate_))) {
      std::string value(kEntryBytes, 'x');
      std::memcpy(value.data(), &due_, sizeof due_);
      const auto taken = producer_->produce(Partition{static_cast<std::uint32_t>(random_() % kPartitions)}, "0192b6f0-0000-7000-8000-000000000001", value, "",
                                            [this, due = due_](auto outcome) { outcome ? acknowledged_.add(due) : void(++failed_); });
      if (!taken) ++failed_;
      ++produced_;
    }
    next_.expires_at(due_);
    next_.async_wait([this](auto) { produce(); });
  }

  void ask() {
    ask_.expires_after(kAskEvery);
    ask_.async_wait([this](auto) {
      log_.ends([this, since = Clock::now()](auto ends) { ends ? asked_.add(since) : void(++failed_); });
      ask();
    });
  }

  void on_entries(Partition, std::span<const Entry> entries, Offset) override {
    for (const auto& entry : entries) {
      Clock::time_point since;
      std::memcpy(&since, entry.value.data(), sizeof since);
      read_.add(since);
    }
  }
  void on_out_of_range(Partition, Offset) override { std::abort(); }

  Log& log_;
  boost::asio::io_context& io_;
  double rate_;
  boost::asio::steady_timer next_, ask_;
  std::unique_ptr<Consumer> consumer_;
  std::unique_ptr<Producer> producer_;
  std::vector<Offset> ends_;
  std::mt19937_64 random_{1};
  std::exponential_distribution<> gap_;
  Clock::time_point due_;
  Samples acknowledged_, read_, asked_;
  std::uint64_t produced_ = 0, failed_ = 0;
};

int main(int count, char** arguments) {
  if (count != 5) {
    fmt::print(stderr, "usage: eventlog-measure kafka|postgres ADDRESS RATE SECONDS\n");
    return 2;
  }
  boost::asio::io_context io;
  const std::string kind = arguments[1], address = arguments[2];
  const auto log = kind == "kafka" ? kafka::make_log({.bootstrap = address, .create_topic = kafka::CreateTopic{.partitions = kPartitions}}, io)
                                   : postgres::make_log({.dsn = address, .partitions = kPartitions}, io);
  Measure(*log, io, std::atof(arguments[3])).run(std::chrono::seconds(std::atoi(arguments[4])));
  return 0;
}

}  // namespace
}  // namespace parley::eventlog

int main(int count, char** arguments) { return parley::eventlog::main(count, arguments); }
