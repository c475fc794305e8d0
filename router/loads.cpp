#include "router/loads.h"

#include <algorithm>

namespace parley::router {

void Loads::pump() {
  if (pumping_) return;  // a reader may answer at once
  pumping_ = true;
  while (!ready_.empty() && in_flight_ < kInFlight) {
    Load load = std::move(ready_.front());
    ready_.pop_front();
    ++in_flight_;
    const auto conversation = load.conversation;
    const auto partition = load.partition;
    const auto from = load.from;
    reader_.cold_load(conversation, partition, from,
                      [this, alive = std::weak_ptr(alive_), asked = std::move(load)](store::Result<store::ColdLoad> result) mutable {
                        if (!alive.expired()) on_read(std::move(asked), std::move(result));
                      });
  }
  pumping_ = false;
}

void Loads::on_read(Load load, store::Result<store::ColdLoad> result) {
  --in_flight_;
  if (!result) {
    ++failed_;
    const std::uint64_t wait = std::min(kMostWaitMs, kLeastWaitMs << std::min(load.attempts++, 10u));
    rest(std::move(load), wait);
  } else if (loaded_(load, std::move(*result))) {
    ++done_;
  } else {
    ++refused_;
    const std::uint64_t wait = load.there ? kLeastWaitMs : kRefusedMs;
    rest(std::move(load), wait);
  }
  pump();
}

void Loads::rest(Load load, std::uint64_t wait) {
  load.not_before = {clock_.steady().value + wait};
  resting_.push_back(std::move(load));
}

void Loads::on_position(chat::Partition partition, chat::Offset position) {
  for (Load& load : resting_)
    if (load.partition == partition && load.needs <= position) load.not_before = {};
  on_tick();
}

void Loads::on_tick() {
  if (!resting_.empty()) {
    const chat::TimeMs now = clock_.steady();
    std::vector<Load> still;
    for (Load& load : resting_)
      if (now < load.not_before)
        still.push_back(load);
      else
        ready_.push_back(load);
    resting_ = std::move(still);
  }
  pump();
}

void Loads::forget(chat::Partition partition) {
  auto of = [partition](const Load& load) { return load.partition == partition; };
  std::erase_if(ready_, of);
  std::erase_if(resting_, of);
}

}  // namespace parley::router
