#include "bench/histogram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

namespace parley::bench {
namespace {

TEST(Histogram, SmallValuesAreExact) {
  Histogram h;
  for (std::uint64_t v = 0; v < 100; ++v) h.add(v);
  EXPECT_EQ(h.count(), 100u);
  EXPECT_EQ(h.quantile(0.5), 49u);
  EXPECT_EQ(h.quantile(0.99), 98u);
  EXPECT_EQ(h.quantile(1), 99u);
  EXPECT_EQ(h.quantile(0), 0u);
  EXPECT_DOUBLE_EQ(h.mean(), 49.5);
}

TEST(Histogram, QuantilesOfWideValuesAreWithinAPercent) {
  Histogram h;
  std::mt19937_64 random(1);
  std::lognormal_distribution<double> values(7, 2.5);
  std::vector<std::uint64_t> all;
  for (int i = 0; i < 200'000; ++i) {
    all.push_back(static_cast<std::uint64_t>(values(random)));
    h.add(all.back());
  }
  std::sort(all.begin(), all.end());
  for (double share : {0.01, 0.5, 0.9, 0.99, 0.999, 1.0}) {
    const auto exact = all[static_cast<std::size_t>(std::ceil(share * static_cast<double>(all.size()))) - 1];
    EXPECT_GE(h.quantile(share), exact) << share;
    EXPECT_LE(static_cast<double>(h.quantile(share)), static_cast<double>(exact) * 1.008 + 1) << share;
  }
  EXPECT_EQ(h.max(), all.back());
}

TEST(Histogram, EveryValueLiesInABucketThatEndsAtOrAboveIt) {
  for (std::uint64_t v = 1; v < (std::uint64_t{1} << 40); v = v * 5 / 4 + 1) {
    Histogram h;
    h.add(v);
    EXPECT_EQ(h.quantile(1), v);
    h.add(~std::uint64_t{0});  // beyond the range: counted, at its end
    EXPECT_GE(h.quantile(0.5), v);
    EXPECT_LE(h.quantile(0.5), v + v / 128 + 1);
  }
}

TEST(Histogram, EmptyAndReset) {
  Histogram h;
  EXPECT_EQ(h.quantile(0.99), 0u);
  h.add(5);
  h.reset();
  EXPECT_EQ(h.count(), 0u);
  EXPECT_EQ(h.max(), 0u);
}

}  // namespace
}  // namespace parley::bench
