#include "runtime/lifecycle.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <csignal>
#include <mutex>
#include <optional>
#include <system_error>

#include "runtime/log.h"

namespace parley::runtime {
namespace {

std::string_view signal_name(unsigned number) {
  switch (number) {
    case SIGTERM:
      return "SIGTERM";
    case SIGINT:
      return "SIGINT";
    default:
      return "SIGHUP";
  }
}

constexpr unsigned kNoStep = 0;

}  // namespace

struct Lifecycle::Wake {
  std::mutex mutex;
  int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  unsigned done = kNoStep;       // the step that said so last
  std::optional<int> requested;  // exit code asked for by stop()

  ~Wake() { close(fd); }
  void poke() const {
    std::uint64_t one = 1;
    // Can only fail when the counter is full, and then the sleeper wakes anyway.
    [[maybe_unused]] auto written = write(fd, &one, sizeof one);
  }
};

Lifecycle::Lifecycle() : wake_(std::make_shared<Wake>()) {
  sigset_t set;
  sigemptyset(&set);
  for (int number : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&set, number);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  signal(SIGPIPE, SIG_IGN);  // a peer that went away is an error of the write, not the end of the process
  signals_ = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  if (signals_ < 0 || wake_->fd < 0) throw std::system_error(errno, std::generic_category(), "signalfd");
}

Lifecycle::~Lifecycle() { close(signals_); }

void Lifecycle::step(std::string name, std::chrono::milliseconds deadline, std::function<void(Done)> start) {
  steps_.push_back({std::move(name), deadline, std::move(start)});
}

void Lifecycle::stop(int exit_code) {
  {
    std::lock_guard lock(wake_->mutex);
    if (!wake_->requested) wake_->requested = exit_code;
  }
  wake_->poke();
}

// Sleeps until step `step` is done; with kNoStep until stopping is asked for.
bool Lifecycle::sleep(std::chrono::milliseconds limit, unsigned step) {
  auto end = std::chrono::steady_clock::now() + limit;
  while (true) {
    {
      std::lock_guard lock(wake_->mutex);
      if (step == kNoStep ? stopping_ || wake_->requested.has_value() : wake_->done == step) return true;
    }
    auto left = std::chrono::ceil<std::chrono::milliseconds>(end - std::chrono::steady_clock::now()).count();
    if (step != kNoStep && left <= 0) return false;
    pollfd fds[] = {{.fd = signals_, .events = POLLIN, .revents = 0}, {.fd = wake_->fd, .events = POLLIN, .revents = 0}};
    poll(fds, 2, step == kNoStep ? -1 : static_cast<int>(left));
    std::uint64_t pokes;
    if (fds[1].revents) [[maybe_unused]]
      auto drained = read(wake_->fd, &pokes, sizeof pokes);
    if (fds[0].revents) on_signal();
  }
}

void Lifecycle::on_signal() {
  signalfd_siginfo info{};
  if (read(signals_, &info, sizeof info) != sizeof info) return;
  if (stopping_) {
    log::warn("lifecycle.killed", {{"signal", signal_name(info.ssi_signo)}});
    _exit(128 + static_cast<int>(info.ssi_signo));
  }
  log::info("lifecycle.signal", {{"signal", signal_name(info.ssi_signo)}});
  stopping_ = true;
}

int Lifecycle::wait() {
  sleep({}, kNoStep);
  stopping_ = true;
  int exit_code;
  {
    std::lock_guard lock(wake_->mutex);
    exit_code = wake_->requested.value_or(0);
  }
  for (unsigned i = 0; i < steps_.size(); ++i) {
    auto& step = steps_[i];
    auto began = std::chrono::steady_clock::now();
    step.start([wake = wake_, number = i + 1] {
      {
        std::lock_guard lock(wake->mutex);
        wake->done = std::max(wake->done, number);  // a late one does not undo a later one
      }
      wake->poke();
    });
    bool in_time = sleep(step.deadline, i + 1);
    auto took = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - began).count();
    if (in_time) {
      log::info("lifecycle.step", {{"step", step.name}, {"took_ms", took}});
    } else {
      log::error("lifecycle.step_late", {{"step", step.name}, {"deadline_ms", step.deadline.count()}});
      exit_code = exit_code == 0 ? 1 : exit_code;
    }
  }
  log::info("lifecycle.stopped", {{"exit_code", exit_code}});
  return exit_code;
}

}  // namespace parley::runtime
