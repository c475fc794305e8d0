#include "router/placement.h"

#include <algorithm>
#include <utility>

namespace parley::router {

Placement::Placement(std::string self, std::uint32_t partitions, std::uint32_t handover_ms)
    : self_(std::move(self)), places_(partitions), handover_ms_(handover_ms) {}

Placement::Moves Placement::on_ring(const runtime::Ring& ring, chat::TimeMs now) {
  Moves moves;
  for (std::uint32_t p = 0; p < places_.size(); ++p) {
    Place& place = places_[p];
    place.mine = !ring.empty() && ring.owner({p}) == self_;
    if (place.mine) {
      place.leave_at.reset();
      if (!std::exchange(place.held, true)) moves.take.push_back({p});
    } else if (place.held && !place.leave_at) {
      place.leave_at = chat::TimeMs{now.value + handover_ms_};
    }
  }
  return moves;
}

Placement::Moves Placement::due(chat::TimeMs now) {
  Moves moves;
  for (std::uint32_t p = 0; p < places_.size(); ++p) {
    Place& place = places_[p];
    if (!place.leave_at || now < *place.leave_at) continue;
    place.leave_at.reset();
    place.held = false;
    moves.leave.push_back({p});
  }
  return moves;
}

bool Placement::given_up(chat::Partition partition) {
  Place& place = places_[partition.value];
  place.leave_at.reset();
  place.held = place.mine;
  return place.mine;
}

std::size_t Placement::held() const { return static_cast<std::size_t>(std::ranges::count_if(places_, &Place::held)); }

}  // namespace parley::router
