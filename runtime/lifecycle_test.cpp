#include "runtime/lifecycle.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <thread>

#include "runtime/log.h"

namespace parley::runtime {
namespace {

using namespace std::chrono_literals;

// Each case runs in a child: signals and masks belong to a process.
class Child {
 public:
  template <class Body>
  explicit Child(Body body) {
    EXPECT_EQ(pipe(pipe_), 0);
    pid_ = fork();
    if (pid_ == 0) {
      close(pipe_[0]);
      alarm(30);
      _exit(body([this](std::string_view text) { [[maybe_unused]] auto n = write(pipe_[1], text.data(), text.size()); }));
    }
    close(pipe_[1]);
  }
  ~Child() { close(pipe_[0]); }

  void signal(int number) { kill(pid_, number); }
  void wait_for(std::string_view text) {
    char c;
    while (said_.find(text) == std::string::npos && read(pipe_[0], &c, 1) == 1) said_ += c;
    EXPECT_NE(said_.find(text), std::string::npos);
  }
  int exit_code() {
    int status = 0;
    waitpid(pid_, &status, 0);
    char c;
    while (read(pipe_[0], &c, 1) == 1) said_ += c;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  const std::string& said() const { return said_; }

 private:
  int pipe_[2];
  pid_t pid_;
  std::string said_;
};

TEST(Lifecycle, EachStopSignalRunsTheStepsInOrder) {
  for (int number : {SIGTERM, SIGINT, SIGHUP}) {
    Child child([](auto say) {
      log::configure(log::Level::error, "", "");
      Lifecycle lifecycle;
      std::thread thread;
      lifecycle.step("first", 5s, [&](auto done) {
        thread = std::thread([&say, done] {
          say("first ");
          done();
        });
      });
      lifecycle.step("second", 5s, [&](auto done) {
        say("second ");
        done();
      });
      say("up ");
      int code = lifecycle.wait();
      thread.join();
      return code;
    });
    child.wait_for("up ");
    child.signal(number);
    EXPECT_EQ(child.exit_code(), 0);
    EXPECT_EQ(child.said(), "up first second ");
  }
}

TEST(Lifecycle, ASecondSignalExitsAtOnce) {
  Child child([](auto say) {
    log::configure(log::Level::error, "", "");
    Lifecycle lifecycle;
    lifecycle.step("endless", 60s, [&](auto) { say("stopping "); });
    say("up ");
    return lifecycle.wait();
  });
  child.wait_for("up ");
  child.signal(SIGTERM);
  child.wait_for("stopping ");
  child.signal(SIGINT);
  EXPECT_EQ(child.exit_code(), 128 + SIGINT);
}

TEST(Lifecycle, AStepPastItsDeadlineIsLeftBehind) {
  Child child([](auto say) {
    log::redirect(-1);
    Lifecycle lifecycle;
    std::function<void()> late;
    lifecycle.step("hangs", 50ms, [&](auto done) { late = done; });
    lifecycle.step("goes on", 5s, [&](auto done) {
      say("next ");
      late();  // must not count for this step
      std::thread([done] { done(); }).join();
    });
    lifecycle.stop();
    return lifecycle.wait();
  });
  EXPECT_EQ(child.exit_code(), 1);
  EXPECT_EQ(child.said(), "next ");
}

TEST(Lifecycle, StoppingFromInsideKeepsTheExitCode) {
  Child child([](auto) {
    log::configure(log::Level::error, "", "");
    Lifecycle lifecycle;
    std::thread thread([&] { lifecycle.stop(70); });
    int code = lifecycle.wait();
    thread.join();
    return code;
  });
  EXPECT_EQ(child.exit_code(), 70);
}

}  // namespace
}  // namespace parley::runtime
