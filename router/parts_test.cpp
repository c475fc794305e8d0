// The small parts: registry, takeover, parking.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>

#include "router/parking.h"
#include "router/registry.h"
#include "router/takeover.h"
#include "router/test_bed.h"

namespace parley::router {
namespace {

std::multiset<Slot> slots(const Registry& registry, const chat::UserId& who) {
  std::multiset<Slot> found;
  registry.each(who, [&](Slot slot) { found.insert(slot); });
  return found;
}

TEST(Registry, a_user_is_found_on_every_stream_that_has_him_once) {
  Registry registry;
  EXPECT_TRUE(registry.add(user(1), 0));
  EXPECT_FALSE(registry.add(user(1), 0));
  EXPECT_TRUE(registry.add(user(1), 3));
  EXPECT_EQ(slots(registry, user(1)), (std::multiset<Slot>{0, 3}));
  EXPECT_TRUE(registry.remove(user(1), 0));
  EXPECT_FALSE(registry.remove(user(1), 0));
  EXPECT_EQ(slots(registry, user(1)), std::multiset<Slot>{3});
  EXPECT_TRUE(slots(registry, user(2)).empty());
}

TEST(Registry, equals_a_plain_set_under_random_use) {
  std::mt19937 rng(7);
  Registry registry;
  std::set<std::pair<chat::UserId, Slot>> plain;
  for (int i = 0; i < 60'000; ++i) {
    chat::UserId who;
    who.bytes[15] = static_cast<std::uint8_t>(rng() % 200);
    who.bytes[7] = static_cast<std::uint8_t>(rng() % 3);
    Slot slot = rng() % 5;
    if (rng() % 5'000 == 0) {
      registry.remove_slot(slot);
      std::erase_if(plain, [slot](const auto& entry) { return entry.second == slot; });
    } else if (rng() % 2) {
      EXPECT_EQ(registry.add(who, slot), plain.insert({who, slot}).second);
    } else {
      EXPECT_EQ(registry.remove(who, slot), plain.erase({who, slot}) == 1);
    }
    ASSERT_EQ(registry.size(), plain.size());
  }
  for (int a = 0; a < 3; ++a)
    for (int n = 0; n < 200; ++n) {
      chat::UserId who;
      who.bytes[15] = static_cast<std::uint8_t>(n);
      who.bytes[7] = static_cast<std::uint8_t>(a);
      std::multiset<Slot> expected;
      for (Slot slot = 0; slot < 5; ++slot)
        if (plain.contains({who, slot})) expected.insert(slot);
      EXPECT_EQ(slots(registry, who), expected);
    }
}

TEST(Takeover, folds_from_the_lower_commit_and_delivers_from_its_own) {
  EXPECT_EQ(takeover(Offset{10}, Offset{7}, {}, {20}), (Takeover{{7}, {10}}));
  EXPECT_EQ(takeover(Offset{10}, Offset{12}, {}, {20}), (Takeover{{10}, {10}}));
}

TEST(Takeover, below_the_begin_means_the_begin) {
  EXPECT_EQ(takeover(Offset{3}, Offset{2}, {5}, {20}), (Takeover{{5}, {5}}));
  EXPECT_EQ(takeover(Offset{8}, Offset{2}, {5}, {20}), (Takeover{{5}, {8}}));
}

TEST(Takeover, without_commits) {
  EXPECT_EQ(takeover({}, {}, {}, {20}), (Takeover{{0}, {0}}));
  EXPECT_EQ(takeover({}, Offset{9}, {}, {20}), (Takeover{{9}, {9}}));
  EXPECT_EQ(takeover(Offset{9}, {}, {2}, {20}), (Takeover{{2}, {9}}));
}

// A log that lost its tail: what is appended from now on is delivered.
TEST(Takeover, a_commit_beyond_the_end_means_the_end) {
  EXPECT_EQ(takeover(Offset{30}, Offset{25}, {}, {20}), (Takeover{{20}, {20}}));
  EXPECT_EQ(takeover(Offset{30}, Offset{15}, {}, {20}), (Takeover{{15}, {20}}));
}

TEST(Parking, keeps_its_own_copy_in_order) {
  TestLog log;
  log.send(1, 1, {}, "first");
  log.send(1, 1, {}, "second");
  Parking parking(1 << 20);
  {
    TestLog gone = log;  // the consumer's buffers are reused
    EXPECT_TRUE(parking.park(conversation(1), gone.kept[0].entry()));
    EXPECT_FALSE(parking.park(conversation(1), gone.kept[1].entry()));
  }
  ParkedRun run = parking.take(conversation(1));
  ASSERT_EQ(run.records.size(), 2u);
  EXPECT_EQ(std::get<chat::op::Send>(run.records[0].record.op).body, "first");
  EXPECT_EQ(std::get<chat::op::Send>(run.records[1].record.op).body, "second");
  EXPECT_FALSE(run.dropped_to);
  EXPECT_EQ(parking.bytes(), 0u);
  EXPECT_FALSE(parking.first());
}

TEST(Parking, after_dropping_bodies_newer_ones_are_kept_again) {
  TestLog log;
  Parking parking(1'500);
  for (int i = 0; i < 4; ++i) log.send(1, 1, {}, std::string(400, 'x'));
  for (const auto& kept : log.kept) parking.park(conversation(1), kept.entry());
  EXPECT_LE(parking.bytes(), 1'500u);
  ParkedRun run = parking.take(conversation(1));
  EXPECT_EQ(run.first, Offset{0});
  ASSERT_TRUE(run.dropped_to);
  EXPECT_EQ(*run.dropped_to, Offset{2});
  ASSERT_EQ(run.records.size(), 1u);
  EXPECT_EQ(run.records[0].offset, Offset{3});
}

TEST(Parking, first_is_the_lowest_of_all_runs) {
  TestLog log;
  for (std::uint8_t c : {1, 2, 1}) log.send(c, 1);
  Parking parking(1 << 20);
  parking.park(conversation(1), log.kept[0].entry());
  parking.park(conversation(2), log.kept[1].entry());
  EXPECT_EQ(parking.first(), Offset{0});
  parking.take(conversation(1));
  EXPECT_EQ(parking.first(), Offset{1});
}

}  // namespace
}  // namespace parley::router
