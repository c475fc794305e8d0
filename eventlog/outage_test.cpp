// The log while its server dies and comes back: a Kafka and a PostgreSQL of the test's own, killed with -9.
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <map>
#include <thread>
#include <utility>

#include "eventlog/kafka/kafka_log.h"
#include "eventlog/postgres/postgres_log.h"
#include "tests/services/own_server.h"
#include "tests/services/services.h"

namespace parley::eventlog::test {
namespace {

using parley::test::OwnServer;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr Partition kFirst{0};

class Reader final : public ConsumerEvents {
 public:
  void on_entries(Partition, std::span<const Entry> entries, Offset end) override {
    for (const auto& entry : entries) {
      EXPECT_GE(entry.offset, next) << "repeated or out of order";
      next = entry.offset.next();
      read.emplace_back(entry.value, entry.offset);
    }
    next = end;
  }
  void on_out_of_range(Partition, Offset) override { ADD_FAILURE() << "out of range"; }

  std::vector<std::pair<std::string, Offset>> read;
  Offset next{};
};

class Outage : public testing::TestWithParam<OwnServer::Kind> {
 protected:
  void open(std::uint32_t message_timeout_ms) {
    if (GetParam() == OwnServer::Kind::kafka)
      log_ = kafka::make_log({.bootstrap = server_.address(), .create_topic = kafka::CreateTopic{}, .message_timeout_ms = message_timeout_ms}, io_);
    else
      log_ = postgres::make_log({.dsn = server_.address(), .batch_timeout_ms = message_timeout_ms, .message_timeout_ms = message_timeout_ms}, io_);
    std::optional<std::expected<Topic, Error>> topic;
    log_->open([&](auto result) { topic = std::move(result); });
    ASSERT_TRUE(until([&] { return topic.has_value(); }));
    ASSERT_TRUE(*topic) << topic->error().message;
  }

  bool until(std::predicate auto holds, milliseconds limit = std::chrono::seconds(30)) {
    const auto deadline = steady_clock::now() + limit;
    while (!holds()) {
      if (steady_clock::now() > deadline) return false;
      io_.run_one_for(milliseconds(10));
    }
    return true;
  }

  // The script runs beside the event loop, as a server's end would.
  void beside(auto act) {
    std::thread thread(act);
    bool done = false;
    std::thread watch([&] {
      thread.join();
      boost::asio::post(io_, [&] { done = true; });
    });
    EXPECT_TRUE(until([&] { return done; }, std::chrono::seconds(60)));
    watch.join();
  }

  std::expected<std::vector<Offset>, Error> ends() {
    std::optional<std::expected<std::vector<Offset>, Error>> result;
    log_->ends([&](auto told) { result = std::move(told); });
    EXPECT_TRUE(until([&] { return result.has_value(); }));
    return std::move(*result);
  }

  OwnServer server_{GetParam()};
  boost::asio::io_context io_;
  std::unique_ptr<Log> log_;
};

// P1: what was acknowledged is there, once, in order, after kill -9; and it goes on by itself.
TEST_P(Outage, LosesNothingThatWasAcknowledged) {
  open(15'000);
  Reader reader;
  const auto consumer = log_->consumer({.group = "outage"}, reader);
  consumer->start(kFirst, Offset{0});
  const auto producer = log_->producer();
  std::vector<std::optional<std::expected<Offset, Error>>> outcomes;
  outcomes.reserve(1'000'000);
  std::size_t told = 0;
  const auto pump = [&] {
    for (; outcomes.size() < told + 50; outcomes.emplace_back()) {
      const auto taken = producer->produce(kFirst, "k", fmt::format("{:07}", outcomes.size()), "", [&, at = outcomes.size()](auto outcome) {
        EXPECT_FALSE(outcomes[at]);
        outcomes[at] = std::move(outcome);
        ++told;
      });
      ASSERT_TRUE(taken) << taken.error().message;
    }
  };
  const auto go_on_until = [&](std::size_t answers) {
    return until([&] {
      pump();
      return told >= answers;
    });
  };
  ASSERT_TRUE(go_on_until(2'000));
  beside([&] { server_.kill(); });
  pump();
  beside([&] { server_.start(); });
  const auto back = steady_clock::now();
  const auto before = outcomes.size();
  ASSERT_TRUE(go_on_until(before + 1));  // acknowledged, or told that nobody knows
  ASSERT_TRUE(go_on_until(before + 1'000));
  const auto took = std::chrono::duration_cast<milliseconds>(steady_clock::now() - back);
  EXPECT_LT(took, std::chrono::seconds(10)) << "slow to notice that the server is back";
  RecordProperty("back_after_ms", static_cast<int>(took.count()));
  ASSERT_TRUE(until([&] { return told == outcomes.size(); }));
  Offset last{};
  for (const auto& outcome : outcomes) last = std::max(last, outcome->value_or(Offset{}));
  ASSERT_TRUE(until([&] { return reader.next > last; }));

  std::map<std::string, Offset> seen;
  std::string newest;
  for (const auto& [value, offset] : reader.read) {
    EXPECT_TRUE(seen.emplace(value, offset).second) << value << " twice";
    EXPECT_LT(newest, value) << "out of order";
    newest = value;
  }
  std::size_t acknowledged = 0;
  for (std::size_t i = 0; i < outcomes.size(); ++i) {
    if (!*outcomes[i]) continue;
    ++acknowledged;
    const auto found = seen.find(fmt::format("{:07}", i));
    ASSERT_NE(found, seen.end()) << i << " was acknowledged and is missing";
    EXPECT_EQ(found->second, outcomes[i]->value());
  }
  EXPECT_GE(acknowledged, 3'000u);
}

// Questions fail within a second; what was given up (R24) while the server was away does not land when it is back.
TEST_P(Outage, FailsFastAndWhatWasPurgedStaysAway) {
  open(5'000);
  const auto producer = log_->producer();
  std::optional<std::expected<Offset, Error>> first;
  ASSERT_TRUE(producer->produce(kFirst, "k", "before", "", [&](auto outcome) { first = std::move(outcome); }));
  ASSERT_TRUE(until([&] { return first.has_value(); }));
  ASSERT_TRUE(*first) << first->error().message;
  ASSERT_TRUE(ends());
  beside([&] { server_.kill(); });

  std::map<Errc, int> told;
  bool purged = false;
  for (int i = 0; i < 2'000; ++i) {  // more than librdkafka is handed
    const auto taken = producer->produce(kFirst, "k", "given up", "", [&](auto outcome) {
      ASSERT_FALSE(outcome);
      ++told[outcome.error().code];
      if (!std::exchange(purged, true)) producer->purge(kFirst);  // as a gateway does at the first expiry
    });
    ASSERT_TRUE(taken);
  }
  for (int i = 0; i < 3; ++i) {
    const auto asked = steady_clock::now();
    const auto result = ends();
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, Errc::unavailable);
    EXPECT_LT(steady_clock::now() - asked, milliseconds(1'500));
  }
  ASSERT_TRUE(until([&] { return told[Errc::timed_out] + told[Errc::purged] == 2'000; }));
  EXPECT_GE(told[Errc::timed_out], 1);

  beside([&] { server_.start(); });
  ASSERT_TRUE(until([&] { return ends().has_value(); }));
  std::optional<std::expected<Offset, Error>> after;
  ASSERT_TRUE(producer->produce(kFirst, "k", "after", "", [&](auto outcome) { after = std::move(outcome); }));
  ASSERT_TRUE(until([&] { return after.has_value(); }));
  ASSERT_TRUE(*after) << after->error().message;
  Reader reader;
  const auto consumer = log_->consumer({.group = "purged"}, reader);
  consumer->start(kFirst, Offset{0});
  ASSERT_TRUE(until([&] { return reader.next > after->value(); }));
  ASSERT_EQ(reader.read.size(), 2u) << "something that was given up landed";
  EXPECT_EQ(reader.read[1].first, "after");
}

// Nor does what expired, where nobody purges.
TEST_P(Outage, WhatExpiredStaysAway) {
  open(2'000);
  const auto producer = log_->producer();
  ASSERT_TRUE(ends());
  beside([&] { server_.kill(); });
  int told = 0;
  for (std::uint32_t i = 0; i < 100; ++i) {
    ASSERT_TRUE(producer->produce(Partition{i % 4}, "k", "expires", "", [&](auto outcome) {
      EXPECT_FALSE(outcome);
      ++told;
    }));
  }
  ASSERT_TRUE(until([&] { return told == 100; }));
  beside([&] { server_.start(); });
  ASSERT_TRUE(until([&] { return ends().has_value(); }));
  for (std::uint32_t i = 0; i < 4; ++i) {
    std::optional<std::expected<Offset, Error>> after;
    ASSERT_TRUE(producer->produce(Partition{i}, "k", "after", "", [&](auto outcome) { after = std::move(outcome); }));
    ASSERT_TRUE(until([&] { return after.has_value(); }));
    ASSERT_TRUE(*after) << after->error().message;
    EXPECT_EQ(**after, Offset{}) << "something that expired landed";
  }
}

// librdkafka's requests of this kind have ended the process when their time was up.
TEST_P(Outage, TrimmingFailsWhileTheServerIsAway) {
  open(5'000);
  const auto producer = log_->producer();
  std::optional<std::expected<Offset, Error>> first;
  ASSERT_TRUE(producer->produce(kFirst, "k", "v", "", [&](auto outcome) { first = std::move(outcome); }));
  ASSERT_TRUE(until([&] { return first.has_value(); }));
  const auto trim = [&] {
    std::optional<std::expected<void, Error>> done;
    log_->trim(kFirst, Offset{1}, [&](auto outcome) { done = std::move(outcome); });
    EXPECT_TRUE(until([&] { return done.has_value(); }));
    return done.value_or(std::expected<void, Error>{});
  };
  const auto since = [&] {
    std::optional<bool> done;
    log_->since(TimeMs{1}, [&](const auto& outcome) { done = outcome.has_value(); });
    EXPECT_TRUE(until([&] { return done.has_value(); }));
    return done.value_or(true);
  };
  beside([&] { server_.kill(); });
  for (int i = 0; i < 5; ++i) {
    EXPECT_FALSE(trim());
    EXPECT_FALSE(since());
  }
  beside([&] { server_.start(); });
  EXPECT_TRUE(until([&] { return trim().has_value(); }));
  std::optional<std::vector<Offset>> begins;
  EXPECT_TRUE(until([&] {
    bool told = false;
    log_->begins([&](auto outcome) {
      told = true;
      if (outcome) begins = *outcome;
    });
    return until([&] { return told; }) && begins.has_value();
  }));
  EXPECT_EQ((*begins)[0], Offset{1});
}

// A table that grew while nobody read: 90 MB that are no answer within 30 ms.
TEST(LogTable, AFetchThatDoesNotEndInTimeAsksForLess) {
  const std::string dsn = parley::test::fresh_database("shrink");
  boost::asio::io_context io;
  const auto until = [&](std::predicate auto holds) {
    const auto deadline = steady_clock::now() + std::chrono::seconds(60);
    while (!holds() && steady_clock::now() < deadline) io.run_one_for(milliseconds(10));
    return holds();
  };
  constexpr std::size_t kEntries = 1'500;
  {
    const auto log = postgres::make_log({.dsn = dsn, .queue_bytes = 256 << 20}, io);
    bool open = false;
    log->open([&](const auto& topic) { open = topic.has_value(); });
    ASSERT_TRUE(until([&] { return open; }));
    const auto producer = log->producer();
    std::size_t landed = 0;
    for (std::size_t i = 0; i < kEntries; ++i)
      ASSERT_TRUE(producer->produce(kFirst, "k", std::string(60'000, 'x'), "", [&](const auto& outcome) { landed += outcome.has_value() ? 1 : 0; }));
    ASSERT_TRUE(until([&] { return landed == kEntries; }));
  }
  const auto log = postgres::make_log({.dsn = dsn, .query_timeout_ms = 30, .fetch_entries = 100'000, .fetch_bytes = 1u << 30}, io);
  Reader reader;
  const auto consumer = log->consumer({.group = "shrink"}, reader);
  consumer->start(kFirst, Offset{0});
  EXPECT_TRUE(until([&] { return reader.read.size() == kEntries; })) << reader.read.size();
}

INSTANTIATE_TEST_SUITE_P(Log, Outage, testing::Values(OwnServer::Kind::kafka, OwnServer::Kind::postgres),
                         [](const auto& info) { return info.param == OwnServer::Kind::kafka ? "kafka" : "postgres"; });

}  // namespace
}  // namespace parley::eventlog::test
