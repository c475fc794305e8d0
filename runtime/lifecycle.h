// How a process ends: one signal (SIGTERM, SIGINT, SIGHUP) starts the written sequence of steps, a second one exits at once.
//
//   runtime::Lifecycle lifecycle;                      // first thing in main: threads made later inherit the blocked signals
//   ... construct, wire, run ...
//   lifecycle.step("drain gateway", 30s, [&](auto done) { gateway.drain(std::move(done)); });
//   lifecycle.step("flush log", 5s, [&](auto done) { producer.flush(std::move(done)); });
//   return lifecycle.wait();                           // sleeps; runs the steps in the order they were added
//
// Steps are started on the main thread and must not block; `done` may be called from any thread, once, also late. A step past its deadline
// is logged and left behind, and the exit code is then 1.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace parley::runtime {

class Lifecycle {
 public:
  using Done = std::function<void()>;

  Lifecycle();
  ~Lifecycle();
  Lifecycle(const Lifecycle&) = delete;
  Lifecycle& operator=(const Lifecycle&) = delete;

  void step(std::string name, std::chrono::milliseconds deadline, std::function<void(Done)> start);

  // Waits for a signal or `stop`, then runs the steps. The exit code.
  int wait();

  // Asks for the same sequence from inside, from any thread: a drain (0) or a fault that the process cannot go on with (else).
  void stop(int exit_code = 0);

 private:
  struct Step {
    std::string name;
    std::chrono::milliseconds deadline;
    std::function<void(Done)> start;
  };
  struct Wake;  // shared with `done` callbacks, which may outlive this

  bool sleep(std::chrono::milliseconds limit, unsigned step);  // false: the limit passed
  void on_signal();

  int signals_ = -1;
  std::shared_ptr<Wake> wake_;
  std::vector<Step> steps_;
  bool stopping_ = false;
};

}  // namespace parley::runtime
