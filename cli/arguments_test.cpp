#include "cli/arguments.h"

#include <gtest/gtest.h>

#include "cli/profile.h"

namespace parley::cli {
namespace {

TEST(Arguments, OptionsMayStandAnywhere) {
  auto a = Arguments::parse({"--as", "alice", "send", "bob", "--timeout=5", "hi", "there", "--json"});
  EXPECT_EQ(a.profile, "alice");
  EXPECT_EQ(a.timeout_s, 5u);
  EXPECT_TRUE(a.json);
  EXPECT_EQ(a.words, (std::vector<std::string>{"send", "bob", "hi", "there"}));
}

TEST(Arguments, TwoDashesEndTheOptions) {
  EXPECT_EQ(Arguments::parse({"send", "bob", "--", "--json"}).words, (std::vector<std::string>{"send", "bob", "--json"}));
}

TEST(Arguments, WhatIsNotUnderstoodIsRefused) {
  for (const std::vector<std::string>& bad :
       {std::vector<std::string>{}, {"--as"}, {"listen", "--cuont=1"}, {"history", "bob", "--limit=ten"}, {"history", "bob", "--limit="}}) {
    try {
      Arguments::parse(bad);
      ADD_FAILURE() << "accepted";
    } catch (const Failure& failure) {
      EXPECT_EQ(failure.exit_code, kExitUsage);
    }
  }
}

}  // namespace
}  // namespace parley::cli
