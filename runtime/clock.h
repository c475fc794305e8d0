// Time comes in through constructors, so that tests step it.
#pragma once

#include <chrono>
#include <cstdint>

#include "chat/ids.h"

namespace parley::runtime {

class Clock {
 public:
  virtual ~Clock() = default;
  virtual chat::TimeMs wall() const = 0;    // Unix time
  virtual chat::TimeMs steady() const = 0;  // never goes back; for timeouts
};

class SystemClock final : public Clock {
 public:
  chat::TimeMs wall() const override { return ms(std::chrono::system_clock::now()); }
  chat::TimeMs steady() const override { return ms(std::chrono::steady_clock::now()); }

 private:
  template <class T>
  static chat::TimeMs ms(T t) {
    return {static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(t.time_since_epoch()).count())};
  }
};

}  // namespace parley::runtime
