#include "runtime/log.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <limits>

namespace parley::runtime {
namespace {

class LogTest : public testing::Test {
 protected:
  LogTest() {
    EXPECT_EQ(pipe2(pipe_, O_NONBLOCK), 0);
    fcntl(pipe_[1], F_SETPIPE_SZ, 16'384);
    fcntl(pipe_[1], F_SETFL, 0);  // blocking for the writer, as stderr is
    log::redirect(pipe_[1]);
    log::configure(log::Level::info, "test", "test-0");
  }
  ~LogTest() override {
    log::redirect(STDERR_FILENO);
    close(pipe_[0]);
    close(pipe_[1]);
  }

  // All lines written since the last call; each must be JSON.
  std::vector<boost::json::object> lines() {
    std::string text;
    char buffer[8192];
    for (ssize_t n; (n = read(pipe_[0], buffer, sizeof buffer)) > 0;) text.append(buffer, static_cast<std::size_t>(n));
    std::vector<boost::json::object> lines;
    for (std::size_t at = 0, end; (end = text.find('\n', at)) != std::string::npos; at = end + 1)
      lines.push_back(boost::json::parse(text.substr(at, end - at)).as_object());
    return lines;
  }

 private:
  int pipe_[2];
};

TEST_F(LogTest, ALineIsOneJsonObject) {
  log::info("persister.batch", {{"partition", 3},
                                {"rows", 512u},
                                {"ok", true},
                                {"share", 0.5},
                                {"note", "a \"quoted\"\n\x01 \\ line"},
                                {"bad", std::numeric_limits<double>::infinity()}});
  auto written = lines();
  ASSERT_EQ(written.size(), 1u);
  auto& line = written[0];
  EXPECT_EQ(line["level"], "info");
  EXPECT_EQ(line["event"], "persister.batch");
  EXPECT_EQ(line["role"], "test");
  EXPECT_EQ(line["instance"], "test-0");
  EXPECT_EQ(line["partition"], 3);
  EXPECT_EQ(line["ok"], true);
  EXPECT_EQ(line["note"], "a \"quoted\"\n\x01 \\ line");
  EXPECT_TRUE(line["bad"].is_null());
  EXPECT_TRUE(line["time"].as_string().ends_with("Z"));
}

TEST_F(LogTest, BelowTheLeastLevelNothingIsWritten) {
  log::debug("x.y");
  EXPECT_TRUE(lines().empty());
  log::configure(log::Level::debug, "test", "test-0");
  log::debug("x.y");
  EXPECT_EQ(lines().size(), 1u);
}

TEST_F(LogTest, TraceScopesNest) {
  log::info("outside");
  {
    log::Trace outer("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    {
      log::Trace inner("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b8-01");
      log::info("inner");
    }
    log::info("outer");
  }
  log::info("outside");
  auto written = lines();
  ASSERT_EQ(written.size(), 4u);
  EXPECT_FALSE(written[0].contains("trace_id"));
  EXPECT_EQ(written[1]["span_id"], "00f067aa0ba902b8");
  EXPECT_EQ(written[2]["span_id"], "00f067aa0ba902b7");
  EXPECT_EQ(written[2]["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
  EXPECT_FALSE(written[3].contains("trace_id"));
}

TEST_F(LogTest, AFullPipeDropsLinesAndSaysSo) {
  auto before = log::dropped();
  std::string long_text(1'000, 'x');
  // Would hang here if a full pipe could block us.
  for (int i = 0; i < 40; ++i) log::info("flood", {{"text", long_text}});
  auto dropped = log::dropped() - before;
  EXPECT_GT(dropped, 10u);
  EXPECT_EQ(lines().size(), 40 - dropped);
  log::info("after");
  auto after = lines();
  ASSERT_EQ(after.size(), 1u);
  EXPECT_EQ(static_cast<std::uint64_t>(after[0]["dropped"].as_int64()), dropped);
  log::info("told once");
  EXPECT_FALSE(lines().at(0).contains("dropped"));
}

TEST_F(LogTest, ALineHasABound) {
  log::info("big", {{"first", 1}, {"text", std::string(10'000, 'x')}, {"last", 2}});
  auto written = lines();
  ASSERT_EQ(written.size(), 1u);
  EXPECT_EQ(written[0]["first"], 1);
  EXPECT_FALSE(written[0].contains("text"));
  EXPECT_EQ(written[0]["last"], 2);
  EXPECT_EQ(written[0]["cut"], true);
}

TEST_F(LogTest, AStrangerGetsOneLineASecond) {
  // 100 attempts take less than a second; one second's boundary may fall among them.
  static int address = 0;
  std::string key = "10.0.0." + std::to_string(++address);  // another one when the test is repeated
  for (int i = 0; i < 100; ++i) log::limited(log::Level::warn, "stranger", key, {{"n", i}});
  auto written = lines();
  EXPECT_GE(written.size(), 1u);
  EXPECT_LE(written.size(), 2u);
}

}  // namespace
}  // namespace parley::runtime
