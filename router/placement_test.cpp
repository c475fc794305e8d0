#include "router/placement.h"

#include <gtest/gtest.h>

#include <set>

namespace parley::router {
namespace {

constexpr std::uint32_t kPartitions = 32;

std::set<std::uint32_t> numbers(const std::vector<chat::Partition>& partitions) {
  std::set<std::uint32_t> out;
  for (auto p : partitions) out.insert(p.value);
  return out;
}

struct Bed {
  runtime::Ring alone{{"a"}}, both{{"a", "b"}};
  Placement placement{"a", kPartitions, 4'000};
  std::set<std::uint32_t> of_b() const {
    std::set<std::uint32_t> out;
    for (std::uint32_t p = 0; p < kPartitions; ++p)
      if (both.owner({p}) == "b") out.insert(p);
    return out;
  }
};

TEST(Placement, takes_at_once_and_leaves_after_the_handover) {
  Bed bed;
  EXPECT_EQ(bed.placement.on_ring(bed.alone, {1'000}).take.size(), kPartitions);
  EXPECT_TRUE(bed.placement.on_ring(bed.both, {2'000}).take.empty());
  EXPECT_EQ(bed.placement.held(), kPartitions);
  EXPECT_TRUE(bed.placement.due({5'999}).leave.empty());
  EXPECT_EQ(numbers(bed.placement.due({6'000}).leave), bed.of_b());
  EXPECT_TRUE(bed.placement.due({9'000}).leave.empty());
  EXPECT_EQ(numbers(bed.placement.on_ring(bed.alone, {9'000}).take), bed.of_b());
}

TEST(Placement, keeps_what_comes_back_before_the_handover_is_over) {
  Bed bed;
  bed.placement.on_ring(bed.alone, {1'000});
  bed.placement.on_ring(bed.both, {2'000});
  EXPECT_TRUE(bed.placement.on_ring(bed.alone, {3'000}).take.empty());
  EXPECT_TRUE(bed.placement.due({60'000}).leave.empty());
}

TEST(Placement, what_was_given_up_is_taken_anew_only_if_it_is_still_mine) {
  Bed bed;
  bed.placement.on_ring(bed.alone, {1'000});
  bed.placement.on_ring(bed.both, {2'000});
  std::uint32_t others = *bed.of_b().begin(), mine = 0;
  while (bed.of_b().contains(mine)) ++mine;
  EXPECT_TRUE(bed.placement.given_up({mine}));
  EXPECT_FALSE(bed.placement.given_up({others}));
  EXPECT_FALSE(numbers(bed.placement.due({60'000}).leave).contains(others));
}

}  // namespace
}  // namespace parley::router
