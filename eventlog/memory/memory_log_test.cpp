// The verbs beyond the contract: what a schedule can do to the log.
#include "eventlog/memory/memory_log.h"

#include <gtest/gtest.h>

namespace parley::eventlog::memory {
namespace {

constexpr Partition kFirst{0}, kSecond{1};

class SteppedClock final : public runtime::Clock {
 public:
  TimeMs wall() const override { return now; }
  TimeMs steady() const override { return now; }
  TimeMs now{1'000};
};

class Events final : public ConsumerEvents {
 public:
  void on_entries(Partition, std::span<const Entry> entries, Offset end) override {
    for (const auto& entry : entries) values.emplace_back(entry.value);
    next = end;
  }
  void on_out_of_range(Partition, Offset begin) override { out_of_range = begin; }
  std::vector<std::string> values;
  std::optional<Offset> next, out_of_range;
};

class MemoryLogTest : public testing::Test {
 protected:
  void produce(MemoryProducer& producer, Partition partition, const std::string& value) {
    ASSERT_TRUE(producer.produce(partition, "k", value, "", [this, value](auto outcome) {
      told.push_back(value + (outcome ? "=" + std::to_string(outcome->value) : outcome.error().code == Errc::purged ? " purged" : " timed out"));
    }));
  }
  std::vector<std::string> landed(Partition partition) {
    std::vector<std::string> out;
    for (auto entry = broker.at_or_after(partition, Offset{0}); entry; entry = broker.at_or_after(partition, entry->offset.next()))
      out.emplace_back(entry->value);
    return out;
  }
  static void tell_all(MemoryProducer& producer) {
    while (producer.tell()) {
    }
  }

  SteppedClock clock;
  MemoryBroker broker{{.partitions = 2}, clock};
  MemoryLog log{broker};
  std::vector<std::string> told;
};

TEST_F(MemoryLogTest, LandsAndTellsOnlyWhenAsked) {
  const auto producer = log.make_producer();
  produce(*producer, kFirst, "a");
  produce(*producer, kFirst, "b");
  EXPECT_TRUE(landed(kFirst).empty());
  EXPECT_FALSE(producer->tell());
  EXPECT_TRUE(producer->land());
  EXPECT_EQ(landed(kFirst), std::vector<std::string>{"a"});
  EXPECT_TRUE(told.empty());
  EXPECT_TRUE(producer->tell());
  EXPECT_EQ(told, std::vector<std::string>{"a=0"});
  broker.set_available(false);
  EXPECT_FALSE(producer->land());
}

TEST_F(MemoryLogTest, PurgedAttemptsInFlightLandLaterInOrder) {
  const auto producer = log.make_producer();
  for (const auto* value : {"a", "b", "c"}) produce(*producer, kFirst, value);
  produce(*producer, kSecond, "other");
  producer->set_in_flight(2);
  producer->purge(kFirst);
  tell_all(*producer);
  EXPECT_EQ(told, (std::vector<std::string>{"a purged", "b purged", "c purged"}));
  produce(*producer, kFirst, "d");
  EXPECT_TRUE(producer->land());  // other
  EXPECT_TRUE(producer->land());  // d
  ASSERT_EQ(broker.orphans(), 1u);
  broker.land_orphan(0);
  broker.land_orphan(0);
  EXPECT_EQ(broker.orphans(), 0u);
  EXPECT_EQ(landed(kFirst), (std::vector<std::string>{"d", "a", "b"}));
  EXPECT_EQ(landed(kSecond), std::vector<std::string>{"other"});
}

TEST_F(MemoryLogTest, ACrashLeavesOrphansAndTellsNobody) {
  auto producer = log.make_producer();
  produce(*producer, kFirst, "a");
  produce(*producer, kFirst, "b");
  producer->set_in_flight(1);
  producer.reset();
  ASSERT_EQ(broker.orphans(), 1u);
  broker.land_orphan(0);
  EXPECT_EQ(landed(kFirst), std::vector<std::string>{"a"});
  EXPECT_TRUE(told.empty());
}

TEST_F(MemoryLogTest, AnExpiredAttemptStaysInFlightUntilPurged) {
  const auto producer = log.make_producer();
  produce(*producer, kFirst, "a");
  produce(*producer, kFirst, "b");
  EXPECT_FALSE(producer->expire(kSecond));
  EXPECT_TRUE(producer->expire(kFirst));
  tell_all(*producer);
  EXPECT_EQ(told, std::vector<std::string>{"a timed out"});
  producer->set_in_flight(1);
  producer->purge(kFirst);
  tell_all(*producer);
  EXPECT_EQ(told.back(), "b purged");
  EXPECT_EQ(told.size(), 2u);
  broker.land_orphan(0);
  EXPECT_EQ(landed(kFirst), std::vector<std::string>{"a"});
}

TEST_F(MemoryLogTest, SkippedOffsetsAreReadOver) {
  Events events;
  const auto consumer = log.make_consumer({.group = "g"}, events);
  broker.append({kFirst, "k", "a", ""});
  broker.skip_offsets(kFirst, 2);
  consumer->start(kFirst, Offset{0});
  EXPECT_TRUE(consumer->deliver(kFirst, 10));
  EXPECT_EQ(events.next, Offset{3});
  EXPECT_FALSE(consumer->deliver(kFirst, 10));
  EXPECT_EQ(broker.append({kFirst, "k", "b", ""}), Offset{3});
  broker.skip_offsets(kFirst, 1);
  EXPECT_TRUE(consumer->deliver(kFirst, 1));
  EXPECT_EQ(events.next, Offset{5});
  EXPECT_EQ(events.values, (std::vector<std::string>{"a", "b"}));
}

TEST_F(MemoryLogTest, TimeNeverDecreases) {
  broker.append({kFirst, "k", "a", ""});
  clock.now = {500};
  broker.append({kFirst, "k", "b", ""});
  EXPECT_EQ(broker.at_or_after(kFirst, Offset{1})->time, TimeMs{1'000});
}

TEST_F(MemoryLogTest, EndsAreTheOldestThatMayBeTold) {
  std::vector<Offset> ends;
  log.ends([&](auto result) { ends = *result; });
  broker.append({kFirst, "k", "a", ""});
  EXPECT_TRUE(log.answer());
  EXPECT_EQ(ends[0], Offset{0});
  EXPECT_FALSE(log.answer());
}

TEST_F(MemoryLogTest, IsUnavailableWhenTold) {
  broker.set_available(false);
  std::optional<Errc> code;
  log.begins([&](auto result) { code = result.error().code; });
  EXPECT_TRUE(log.answer());
  EXPECT_EQ(code, Errc::unavailable);
}

}  // namespace
}  // namespace parley::eventlog::memory
