#include "runtime/ring.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

namespace parley::runtime {
namespace {

using chat::Partition;
using chat::UserId;

UserId user(std::uint64_t n) {
  UserId id;
  for (int i = 0; i < 8; ++i) id.bytes[15 - i] = static_cast<std::uint8_t>(n >> (8 * i));
  id.bytes[6] = 0x70;
  return id;
}

std::string owners(const Ring& ring, std::uint32_t partitions) {
  std::string text;
  for (std::uint32_t p = 0; p < partitions; ++p) text += ring.owner(Partition{p}).back();
  return text;
}

std::string homes(const Ring& ring, std::uint64_t users) {
  std::string text;
  for (std::uint64_t u = 0; u < users; ++u) text += ring.home(user(u)).back();
  return text;
}

// Golden: a change here moves partitions and users while old and new binaries run side by side.
TEST(Ring, golden_vectors) {
  Ring two({"router-0", "router-1"});
  EXPECT_EQ(owners(two, 32), "00011001001010010111101110101100");
  EXPECT_EQ(homes(two, 32), "10111000100110101110001000011000");
  Ring three({"router-0", "router-1", "router-2"});
  EXPECT_EQ(owners(three, 32), "00022021002012010211121120201202");
  EXPECT_EQ(homes(three, 32), "10111200120110101120002000211022");
}

TEST(Ring, order_and_repetition_of_the_list_do_not_matter) {
  Ring a({"x:1", "y:1", "z:1"}), b({"z:1", "x:1", "y:1", "x:1"});
  EXPECT_EQ(a, b);
  for (std::uint32_t p = 0; p < 256; ++p) EXPECT_EQ(a.owner(Partition{p}), b.owner(Partition{p}));
}

TEST(Ring, one_member_has_everything) {
  Ring ring({"only"});
  EXPECT_EQ(ring.owner(Partition{7}), "only");
  EXPECT_EQ(ring.home(user(7)), "only");
}

TEST(Ring, members_get_similar_shares) {
  Ring ring({"r-0", "r-1", "r-2", "r-3"});
  std::map<std::string, int> homes, partitions;
  for (std::uint64_t u = 0; u < 100'000; ++u) ++homes[ring.home(user(u))];
  for (std::uint32_t p = 0; p < 4'096; ++p) ++partitions[ring.owner(Partition{p})];
  ASSERT_EQ(homes.size(), 4u);
  ASSERT_EQ(partitions.size(), 4u);
  for (const auto& [member, n] : homes) EXPECT_NEAR(n, 25'000, 25'000 * 0.25) << member;
  for (const auto& [member, n] : partitions) EXPECT_NEAR(n, 1'024, 1'024 * 0.3) << member;
}

// What stays is not moved: only the share of the member that came or went changes hands.
TEST(Ring, movement_is_minimal) {
  Ring before({"r-0", "r-1", "r-2", "r-3"}), after({"r-0", "r-1", "r-2"});
  int moved = 0;
  for (std::uint64_t u = 0; u < 20'000; ++u) {
    const std::string &was = before.home(user(u)), &is = after.home(user(u));
    if (was != "r-3") EXPECT_EQ(was, is);
    moved += was != is;
  }
  EXPECT_NEAR(moved, 5'000, 1'500);
  for (std::uint32_t p = 0; p < 1'024; ++p)
    if (before.owner(Partition{p}) != "r-3") EXPECT_EQ(before.owner(Partition{p}), after.owner(Partition{p}));
}

}  // namespace
}  // namespace parley::runtime
