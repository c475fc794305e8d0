#include "runtime/health.h"

#include <gtest/gtest.h>

namespace parley::runtime {
namespace {

struct StepClock final : Clock {
  std::uint64_t now = 1'000;
  chat::TimeMs wall() const override { return {now}; }
  chat::TimeMs steady() const override { return {now}; }
};

TEST(Health, ReadyOnceEveryDeclaredCheckSaidSo) {
  StepClock clock;
  Health health(clock);
  health.declare("log");
  health.declare("store");
  ASSERT_EQ(health.unready().size(), 2u);
  EXPECT_EQ(health.unready()[0].reason, "starting");
  health.ready("log");
  health.ready("store");
  EXPECT_TRUE(health.unready().empty());
  health.not_ready("store", "schema 3, needs 4");
  ASSERT_EQ(health.unready().size(), 1u);
  EXPECT_EQ(health.unready()[0].name, "store");
  EXPECT_EQ(health.unready()[0].reason, "schema 3, needs 4");
}

TEST(Health, ALoopWithoutBeatHangs) {
  StepClock clock;
  Health health(clock);
  health.beat("shard 0", 500);
  clock.now += 500;
  EXPECT_TRUE(health.hanging().empty());
  clock.now += 1;
  ASSERT_EQ(health.hanging().size(), 1u);
  EXPECT_EQ(health.hanging()[0].name, "shard 0");
  health.beat("shard 0", 500);
  EXPECT_TRUE(health.hanging().empty());
  clock.now += 5'000;
  health.end_beat("shard 0");
  EXPECT_TRUE(health.hanging().empty());
}

}  // namespace
}  // namespace parley::runtime
