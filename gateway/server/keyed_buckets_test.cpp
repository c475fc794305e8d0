#include "gateway/server/keyed_buckets.h"

#include <gtest/gtest.h>

namespace parley::gateway {
namespace {

using chat::TimeMs;

TEST(KeyedBuckets, BurstThenRate) {
  KeyedBuckets buckets({.per_minute = 60, .burst = 3});
  for (int i = 0; i < 3; ++i) EXPECT_EQ(buckets.take("a", TimeMs{1000}), 0u);
  EXPECT_EQ(buckets.take("a", TimeMs{1000}), 1000u);
  EXPECT_EQ(buckets.take("b", TimeMs{1000}), 0u);  // another address
  EXPECT_EQ(buckets.take("a", TimeMs{1500}), 500u);
  EXPECT_EQ(buckets.take("a", TimeMs{2000}), 0u);
  EXPECT_GT(buckets.take("a", TimeMs{2000}), 0u);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(buckets.take("a", TimeMs{1'000'000}), 0u);  // never more than the burst
  EXPECT_GT(buckets.take("a", TimeMs{1'000'000}), 0u);
}

TEST(KeyedBuckets, WhatIsGivenBackCountsNot) {
  KeyedBuckets buckets({.per_minute = 1, .burst = 1});
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(buckets.take("a", TimeMs{0}), 0u);
    buckets.give_back("a");
  }
  buckets.give_back("a");
  buckets.give_back("nobody");
  EXPECT_EQ(buckets.take("a", TimeMs{1}), 0u);
  EXPECT_GT(buckets.take("a", TimeMs{1}), 0u) << "never more than the burst";
  EXPECT_EQ(buckets.size(), 1u);
}

TEST(KeyedBuckets, OffMeansOff) {
  KeyedBuckets buckets({});
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(buckets.take("a", TimeMs{0}), 0u);
  EXPECT_EQ(buckets.size(), 0u);
}

TEST(KeyedBuckets, Bounded) {
  KeyedBuckets buckets({.per_minute = 1, .burst = 1});
  EXPECT_EQ(buckets.take("first", TimeMs{0}), 0u);
  for (std::size_t i = 0; i < KeyedBuckets::kKeys; ++i) EXPECT_EQ(buckets.take(std::to_string(i), TimeMs{0}), 0u);
  EXPECT_EQ(buckets.size(), KeyedBuckets::kKeys);
  EXPECT_EQ(buckets.take("first", TimeMs{0}), 0u);  // forgotten, as the longest unused
  EXPECT_GT(buckets.take("5", TimeMs{0}), 0u);
}

}  // namespace
}  // namespace parley::gateway
