#include "gateway/core/drain.h"

#include <algorithm>
#include <random>

namespace parley::gateway {

void Drain::begin(std::uint32_t window_ms, chat::TimeMs deadline, chat::TimeMs wall, std::uint64_t seed) {
  draining_ = true;
  start_ = wall;
  end_ = {wall.value + window_ms};
  deadline_ = deadline;
  order_ = sessions_.ids();
  told_ = 0;
  std::ranges::shuffle(order_, std::mt19937_64(seed));
  on_tick(wall);
}

void Drain::on_tick(chat::TimeMs wall) {
  if (!draining_) return;
  if (wall >= deadline_) {
    for (ConnectionId id : sessions_.ids())
      if (Session* session = sessions_.find(id)) sessions_.fail(*session, chat::Close::goaway_deadline, "this gateway stops");
    return;
  }
  std::size_t due = order_.size();
  if (wall < end_) due = order_.size() * (wall.value - start_.value) / (end_.value - start_.value);
  for (; told_ < due; ++told_) {
    Session* session = sessions_.find(order_[told_]);
    if (!session) continue;
    if (session->stage == Stage::opened || session->stage == Stage::greeting) {
      sessions_.fail(*session, chat::Close::goaway_deadline, "this gateway stops");  // nothing to move yet
      continue;
    }
    client::Frame frame;
    client::Goaway& goaway = *frame.mutable_goaway();
    goaway.set_reason("drain");
    goaway.set_window_ms(static_cast<std::uint32_t>(end_.value > wall.value ? end_.value - wall.value : 0));
    goaway.set_deadline_ms(deadline_.value);
    session->went_away = true;
    sessions_.send(*session, std::move(frame));
  }
}

}  // namespace parley::gateway
