#include "gateway/core/progress.h"

#include <algorithm>

namespace parley::gateway {

Progress::Progress(std::vector<chat::Offset> at, chat::TimeMs now) : at_(std::move(at)), heard_(at_.size(), now) {}

Progress::Stream& Progress::stream(std::uint32_t router, chat::Partition partition) {
  if (router >= streams_.size()) streams_.resize(router + 1);
  auto& row = streams_[router];
  if (row.empty()) row.resize(at_.size());
  return row[partition.value];
}

void Progress::on_from(std::uint32_t router, chat::Partition partition, chat::Offset from, chat::TimeMs now) {
  if (partition.value >= at_.size()) return;
  Stream& s = stream(router, partition);
  s = {.open = true, .from = from, .upto = from, .ahead_since = now};
  heard_[partition.value] = now;
  ahead_ = true;
}

void Progress::on_upto(std::uint32_t router, chat::Partition partition, chat::Offset upto, chat::TimeMs now) {
  if (partition.value >= at_.size()) return;
  Stream& s = stream(router, partition);
  if (!s.open) return;  // complete from nowhere: says nothing
  s.upto = std::max(s.upto, upto);
  heard_[partition.value] = now;
}

void Progress::on_closed(std::uint32_t router) {
  if (router < streams_.size()) streams_[router].clear();
}

void Progress::advance() {
  for (bool again = true; again;) {
    again = false;
    for (auto& row : streams_)
      for (std::size_t p = 0; p < row.size(); ++p)
        if (row[p].open && row[p].from <= at_[p] && at_[p] < row[p].upto) {
          at_[p] = row[p].upto;
          again = true;
        }
  }
}

bool Progress::gaps(chat::TimeMs now) {
  if (!ahead_) return false;
  bool found = false, waiting = false;
  for (auto& row : streams_)
    for (std::size_t p = 0; p < row.size(); ++p) {
      Stream& s = row[p];
      if (!s.open || s.from <= at_[p]) continue;
      if (now.value - s.ahead_since.value < kCureMs) {
        waiting = true;
        continue;
      }
      at_[p] = s.from;
      found = true;
    }
  ahead_ = waiting;
  advance();
  return found;
}

std::size_t Progress::silent(chat::TimeMs now) const {
  return static_cast<std::size_t>(std::ranges::count_if(heard_, [&](chat::TimeMs t) { return now.value - t.value > kSilentMs; }));
}

}  // namespace parley::gateway
