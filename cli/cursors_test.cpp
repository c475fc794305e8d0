#include "cli/cursors.h"

#include <gtest/gtest.h>

namespace parley::cli {
namespace {

TEST(Cursors, DropTakeOrAsk) {
  Cursors cursors;
  EXPECT_EQ(cursors.look("a", 1), Cursors::Take::take);
  EXPECT_EQ(cursors.look("a", 2), Cursors::Take::ask);
  cursors.hold("a", 4);
  EXPECT_EQ(cursors.look("a", 4), Cursors::Take::drop);
  EXPECT_EQ(cursors.look("a", 5), Cursors::Take::take);
  EXPECT_EQ(cursors.look("a", 6), Cursors::Take::ask);
  EXPECT_EQ(cursors.look("b", 1), Cursors::Take::take);
}

TEST(Cursors, NeverGoBack) {
  Cursors cursors;
  cursors.hold("a", 4);
  cursors.hold("a", 2);
  EXPECT_EQ(cursors.held("a"), 4u);
}

TEST(Cursors, KeepTheOnesWithTheNewestNews) {
  Cursors cursors;
  for (std::size_t i = 0; i < Cursors::kMax; ++i) cursors.hold(std::to_string(i), 1);
  cursors.hold("0", 2);
  cursors.hold("new", 1);
  EXPECT_EQ(cursors.all().size(), Cursors::kMax);
  EXPECT_TRUE(cursors.knows("0"));
  EXPECT_FALSE(cursors.knows("1"));
  EXPECT_EQ(cursors.all().back().conversation, "new");
}

}  // namespace
}  // namespace parley::cli
