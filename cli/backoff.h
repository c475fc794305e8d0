// Reconnect: full jitter, rand(0, min(30 s, 0.5 s * 2^n)); what the server asks for overrides (protocol.md "Rules").
#pragma once

#include <algorithm>
#include <chrono>
#include <random>

namespace parley::cli {

class Backoff {
 public:
  std::chrono::milliseconds next(std::uint32_t retry_after_ms) {
    if (retry_after_ms > 0) return std::chrono::milliseconds(retry_after_ms);
    auto ceiling = std::min<std::uint64_t>(30'000, 500ull << std::min(attempts_, 6u));
    ++attempts_;
    return std::chrono::milliseconds(std::uniform_int_distribution<std::uint64_t>(0, ceiling)(random_));
  }
  void reset() { attempts_ = 0; }

 private:
  unsigned attempts_ = 0;
  std::mt19937_64 random_{std::random_device{}()};
};

}  // namespace parley::cli
