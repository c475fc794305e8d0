// P6: leaving without anyone noticing. `goaway` goes to all sessions, spread over a window in random order; each opens its
// next socket elsewhere first and then closes this one. Who is still here at the deadline is closed (4001, reconnect now).
// Owner's thread only.
#pragma once

#include <vector>

#include "gateway/core/sessions.h"

namespace parley::gateway {

class Drain {
 public:
  explicit Drain(Sessions& sessions) : sessions_(sessions) {}

  void begin(std::uint32_t window_ms, chat::TimeMs deadline, chat::TimeMs wall, std::uint64_t seed);
  bool draining() const { return draining_; }
  void on_tick(chat::TimeMs wall);

 private:
  Sessions& sessions_;
  bool draining_ = false;
  chat::TimeMs start_{}, end_{}, deadline_{};  // wall clock
  std::vector<ConnectionId> order_;
  std::size_t told_ = 0;
};

}  // namespace parley::gateway
