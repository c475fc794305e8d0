// D21: how fast a user may send and read.
//
// Sends and operations take a token from the user's one bucket at the home, leased in small portions (R16), so that all
// connections of a user, on all gateways, and REST share it. Reads and marks have a local bucket per shard, and another as large is
// charged for what was nacked: it costs no send, but it was in the log or looked up all the same. Where the home does not
// answer within a second a local bucket of the same size stands in: a limit is no reason to refuse service.
// Owner's thread only. Bound: an entry lives while its user is active and 10 s longer; waiters are bounded by unanswered sends.
#pragma once

#include <functional>
#include <optional>
#include <unordered_map>
#include <vector>

#include "chat/limits.h"
#include "gateway/core/routers.h"

namespace parley::gateway {

struct TokenBucket {
  std::optional<double> tokens{};  // none: full, at first use; below zero: owed
  chat::TimeMs at{};
  double& fill(chat::TimeMs now, double per_second, double burst) {
    tokens = tokens ? std::min(burst, *tokens + static_cast<double>(now.value - at.value) * per_second / 1000) : burst;
    at = now;
    return *tokens;
  }
  bool take(chat::TimeMs now, double per_second, double burst, double cost = 1) {
    if (fill(now, per_second, burst) < cost) return false;
    *tokens -= cost;
    return true;
  }
};

class Rates {
 public:
  static constexpr std::uint32_t kLease = 10;
  static constexpr std::uint64_t kIdleMs = 10'000, kAnswerMs = 1'000;
  static constexpr double kReadsPerSecond = 100, kReadBurst = 200, kCursorsPerRead = 10;
  // No client that waits for its answers is as fast (D21: what is nacked costs it nothing); one that floods is.
  static constexpr double kRefusedPerSecond = 500, kRefusedBurst = 1'000;

  // nullopt: granted; else when to try again.
  using Granted = std::move_only_function<void(std::optional<std::uint32_t> retry_after_ms)>;

  Rates(const chat::Limits& limits, Routers& routers, runtime::Clock& clock) : limits_(limits), routers_(routers), clock_(clock) {}

  // True: taken. Otherwise `wait` for a lease.
  bool take(const chat::UserId& user);
  void wait(const chat::UserId& user, Granted granted);
  // What was nacked costs nothing.
  void refund(const chat::UserId& user);
  // For attempts that may come to nothing: how long to wait before another one (0: not at all), and what one is charged.
  std::uint32_t wait_ms(const chat::UserId& user);
  void owe(const chat::UserId& user);
  bool take_read(const chat::UserId& user, std::size_t cursors = 0);  // kCursorsPerRead cursors cost as much as a request, all a quarter of the burst at most

  void on_leased(const chat::UserId& user, std::uint32_t tokens, std::uint32_t retry_after_ms);
  void on_tick();

  std::size_t size() const { return users_.size(); }

 private:
  struct Entry {
    std::uint32_t tokens = 0;
    TokenBucket reads, refused, fallback;
    std::vector<Granted> waiting;
    chat::TimeMs asked{};  // a lease is under way since; 0: none
    chat::TimeMs used{};
  };
  Entry& entry(const chat::UserId& user);
  void ask(const chat::UserId& user, Entry& entry);
  void serve_locally(Entry& entry);

  const chat::Limits& limits_;
  Routers& routers_;
  runtime::Clock& clock_;
  std::unordered_map<chat::UserId, Entry> users_;
  chat::TimeMs sweep_at_{};
};

}  // namespace parley::gateway
