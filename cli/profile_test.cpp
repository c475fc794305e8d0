#include "cli/profile.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

namespace parley::cli {
namespace {

class ProfileTest : public testing::Test {
 protected:
  ProfileTest() {
    char name[] = "/tmp/parley-profile-XXXXXX";
    EXPECT_NE(mkdtemp(name), nullptr);
    directory = name;
    setenv("XDG_CONFIG_HOME", directory.c_str(), 1);
  }
  ~ProfileTest() override {
    unsetenv("XDG_CONFIG_HOME");
    std::filesystem::remove_all(directory);
  }
  std::string directory;
};

TEST_F(ProfileTest, WhatIsSavedIsLoadedAndPrivate) {
  EXPECT_FALSE(Login::load("alice"));
  Login login{.server = "http://h:1", .user_id = "u", .username = "alice", .access_token = "a", .refresh_token = "r", .expires_ms = 5, .device_id = "d"};
  login.save("alice");
  auto loaded = Login::load("alice");
  ASSERT_TRUE(loaded);
  EXPECT_EQ(loaded->server, "http://h:1");
  EXPECT_EQ(loaded->refresh_token, "r");
  EXPECT_EQ(loaded->expires_ms, 5u);
  struct stat info{};
  ASSERT_EQ(stat((directory + "/parley/alice.json").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
}

TEST_F(ProfileTest, WhatWasSeenBelongsToOneUser) {
  Seen seen{.user_id = "u", .cursors = {}, .sync_token = "t"};
  seen.cursors.hold("c1", 4);
  seen.cursors.hold("c2", 7);
  seen.save("alice");
  auto loaded = Seen::load("alice", "u");
  EXPECT_EQ(loaded.sync_token, "t");
  EXPECT_EQ(loaded.cursors.held("c2"), 7u);
  EXPECT_EQ(Seen::load("alice", "someone else").cursors.held("c2"), 0u);
}

TEST_F(ProfileTest, NamesCannotLeaveTheDirectory) {
  for (const char* bad : {"", "../x", "a/b", ".hidden"}) EXPECT_THROW(Login::load(bad), Failure) << bad;
}

TEST_F(ProfileTest, ADamagedFileIsNamed) {
  std::filesystem::create_directories(directory + "/parley");
  std::ofstream(directory + "/parley/alice.json") << "{";
  try {
    Login::load("alice");
    ADD_FAILURE() << "loaded";
  } catch (const Failure& failure) {
    EXPECT_NE(std::string(failure.what()).find("alice.json"), std::string::npos);
  }
}

}  // namespace
}  // namespace parley::cli
