// Which partitions this router holds, decided from the ring alone (R15, R17).
//
// What the ring gives is taken at once; what it takes away is kept for `handover_ms`, in which the new owner finds out, takes
// over and delivers (make before break: two owners are harmless). Pure; the owner's thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "chat/ids.h"
#include "runtime/ring.h"

namespace parley::router {

class Placement {
 public:
  struct Moves {
    std::vector<chat::Partition> take, leave;
    bool operator==(const Moves&) const = default;
  };

  Placement(std::string self, std::uint32_t partitions, std::uint32_t handover_ms);

  Moves on_ring(const runtime::Ring& ring, chat::TimeMs now);
  Moves due(chat::TimeMs now);
  // Given up for a fault; true: it is still this router's and must be taken anew.
  bool given_up(chat::Partition partition);

  std::size_t held() const;

 private:
  struct Place {
    bool mine = false, held = false;
    std::optional<chat::TimeMs> leave_at;
  };
  std::string self_;
  std::vector<Place> places_;
  std::uint32_t handover_ms_;
};

}  // namespace parley::router
