// Is this process ready, and is it alive? Told by whoever knows, asked by the admin port.
//
// Ready: every named check is content; one that was declared and never told is "starting". Alive: every loop that promised to beat has
// done so lately; a process that is not alive should be restarted, one that is not ready only gets no new work.
// Any thread may call anything. Bounded by the number of names, which are fixed at start.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/clock.h"

namespace parley::runtime {

class Health {
 public:
  explicit Health(const Clock& clock) : clock_(clock) {}

  void declare(std::string_view check);
  void ready(std::string_view check);
  void not_ready(std::string_view check, std::string_view reason);

  // A loop says that it still turns; `silence_ms` without a beat means it hangs. The first call declares it.
  void beat(std::string_view loop, std::uint32_t silence_ms = 10'000);
  void end_beat(std::string_view loop);  // stopped on purpose

  struct Reason {
    std::string name;
    std::string reason;
  };
  std::vector<Reason> unready() const;  // empty: ready
  std::vector<Reason> hanging() const;  // empty: alive

 private:
  struct Beat {
    std::uint64_t last_ms;
    std::uint32_t silence_ms;
  };

  const Clock& clock_;
  mutable std::mutex mutex_;
  std::map<std::string, std::string, std::less<>> checks_;  // name -> reason; empty: ready
  std::map<std::string, Beat, std::less<>> beats_;
};

}  // namespace parley::runtime
