#include "gateway/auth/passwords.h"

#include <gtest/gtest.h>

#include <boost/asio/executor_work_guard.hpp>
#include <optional>

namespace parley::gateway {
namespace {

constexpr PasswordSettings kQuick{.threads = 1, .waiting = 3, .memory_kib = 64, .passes = 1};

class PasswordsTest : public ::testing::Test {
 protected:
  void until(const std::function<bool()>& condition) {
    auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!condition() && std::chrono::steady_clock::now() < limit) io.run_one_for(std::chrono::milliseconds(20));
  }
  boost::asio::io_context io;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work{io.get_executor()};
};

TEST_F(PasswordsTest, HashesAndVerifies) {
  Passwords passwords(io, kQuick);
  std::optional<std::string> encoded;
  ASSERT_TRUE(passwords.hash("correct horse", [&](std::string e) { encoded = std::move(e); }));
  EXPECT_FALSE(encoded);  // never inside the call
  until([&] { return encoded.has_value(); });
  EXPECT_TRUE(encoded->starts_with("$argon2id$v=19$m=64,t=1,p=1$"));
  std::vector<bool> answers;
  passwords.verify("correct horse", *encoded, [&](bool right) { answers.push_back(right); });
  passwords.verify("wrong horse", *encoded, [&](bool right) { answers.push_back(right); });
  passwords.verify("nobody's password", "", [&](bool right) { answers.push_back(right); });
  until([&] { return answers.size() == 3; });
  EXPECT_EQ(answers, (std::vector<bool>{true, false, false}));
}

TEST_F(PasswordsTest, FullQueueRefuses) {
  Passwords passwords(io, {.threads = 1, .waiting = 3, .memory_kib = 8 * 1024, .passes = 3});
  int accepted = 0, answered = 0;
  for (int i = 0; i < 20; ++i) accepted += passwords.hash("correct horse", [&](std::string) { ++answered; });
  EXPECT_GE(accepted, 3);
  EXPECT_LT(accepted, 20);
  until([&] { return answered == accepted; });
  EXPECT_EQ(answered, accepted);
}

TEST_F(PasswordsTest, DroppedWorkTellsNobody) {
  int answered = 0;
  {
    Passwords passwords(io, kQuick);
    for (int i = 0; i < 3; ++i) passwords.hash("correct horse", [&](std::string) { ++answered; });
  }
  io.run_for(std::chrono::milliseconds(50));
  EXPECT_EQ(answered, 0);
}

}  // namespace
}  // namespace parley::gateway
