#include "gateway/core/barrier_reads.h"

#include <algorithm>

#include "chat/rules.h"

namespace parley::gateway {

using chat::Rule;

BarrierReads::BarrierReads(runtime::Clock& clock, eventlog::Log& log, store::Reader& reader, std::uint32_t partitions, std::uint32_t timeout_ms)
    : clock_(clock), log_(log), reader_(reader), timeout_ms_(timeout_ms), positions_(partitions) {}

void BarrierReads::add(Read read) {
  read.deadline = {clock_.steady().value + timeout_ms_};
  reads_.emplace(next_++, std::move(read));
  if (!asking_ends_) ask_ends();
}

void BarrierReads::ends(Done<std::monostate> done) {
  auto shared = std::make_shared<Done<std::monostate>>(std::move(done));
  add({.scope = {},
       .run = {},
       .fail = [shared] { (*shared)(std::unexpected(Unavailable{})); },
       .bare = [shared](Barrier barrier) { (*shared)(Fresh<std::monostate>{{}, std::move(barrier)}); }});
}

// A question counts only for reads that were there when it was asked; the others share the next one.
void BarrierReads::ask_ends() {
  bool anyone = false;
  for (auto& [number, read] : reads_)
    if (!read.barrier) anyone = read.asked = true;
  if (!anyone) return;
  asking_ends_ = true;
  log_.ends([this, alive = std::weak_ptr(alive_)](std::expected<std::vector<chat::Offset>, eventlog::Error> ends) {
    if (alive.expired()) return;
    asking_ends_ = false;
    if (!ends || ends->size() != positions_.size()) {
      for (auto& [number, read] : reads_) read.asked = false;
      return;  // asked again with the next tick
    }
    auto barrier = std::make_shared<const std::vector<chat::Offset>>(std::move(*ends));
    if (told_ends_) told_ends_(*barrier);
    bool later = false;
    std::vector<std::uint64_t> bare;
    for (auto& [number, read] : reads_) {
      if (read.asked && !read.barrier) {
        read.barrier = barrier;
        if (read.bare) bare.push_back(number);
      }
      later = later || !read.barrier;
    }
    if (later) ask_ends();
    for (std::uint64_t number : bare)
      if (auto node = reads_.extract(number)) node.mapped().bare(barrier);
    run_ready();
    ask_positions();
  });
}

void BarrierReads::ask_positions() {
  if (asking_positions_) return;
  bool anyone = false;
  for (const auto& [number, read] : reads_) anyone = anyone || (read.barrier && !read.running);
  if (!anyone) return;
  asking_positions_ = true;
  reader_.positions([this, alive = std::weak_ptr(alive_)](store::Result<store::Positions> positions) {
    if (alive.expired()) return;
    asking_positions_ = false;
    if (!positions || positions->size() != positions_.size()) return;
    positions_ = std::move(*positions);
    run_ready();
  });
}

void BarrierReads::on_moved(chat::Partition partition, chat::Offset position) {
  if (partition.value >= positions_.size()) return;
  positions_[partition.value] = position;  // also downwards: the store may have gone back
  if (!reads_.empty()) run_ready();
}

bool BarrierReads::reached(const Read& read, const std::vector<chat::Offset>& positions) const {
  if (!chat::on(Rule::barrier)) return true;
  if (positions.size() != read.barrier->size()) return false;
  if (read.scope) return positions[read.scope->value] >= (*read.barrier)[read.scope->value];
  for (std::size_t p = 0; p < positions.size(); ++p)
    if (positions[p] < (*read.barrier)[p]) return false;
  return true;
}

void BarrierReads::run_ready() {
  std::vector<std::uint64_t> ready;
  const chat::TimeMs now = clock_.steady();
  for (auto& [number, read] : reads_) {
    if (running_ + ready.size() >= room_) break;
    if (read.barrier && !read.running && !read.bare && read.again <= now && reached(read, positions_)) ready.push_back(number);
  }
  for (std::uint64_t number : ready) {
    auto it = reads_.find(number);
    if (it == reads_.end() || it->second.running) continue;
    it->second.running = true;
    ++running_;
    it->second.run(number);  // may answer at once, and so change reads_
  }
}

std::optional<BarrierReads::Barrier> BarrierReads::judge(std::uint64_t number, const std::vector<chat::Offset>* positions) {
  auto it = reads_.find(number);
  if (it == reads_.end()) return std::nullopt;  // it was given up before
  Read& read = it->second;
  read.running = false;
  --running_;
  room_ = positions ? std::min(room_ + 1, kMostRoom) : std::max(running_, kLeastRoom);
  if (!positions) {
    read.again = {clock_.steady().value + kAgainMs};
    return std::nullopt;
  }
  if (!reached(read, *positions)) {
    positions_ = *positions;
    return std::nullopt;
  }
  Barrier barrier = std::move(read.barrier);
  if (!chat::on(Rule::barrier)) barrier = std::make_shared<const std::vector<chat::Offset>>(*positions);
  // `run` of this read may be on the stack (a store that answers at once): it must not die under it.
  auto node = reads_.extract(it);
  dead_.push_back(std::move(node.mapped()));
  return barrier;
}

void BarrierReads::on_tick() {
  dead_.clear();
  while (!reads_.empty() && reads_.begin()->second.deadline <= clock_.steady()) {
    auto node = reads_.extract(reads_.begin());
    if (node.mapped().running) --running_;
    node.mapped().fail();
  }
  if (reads_.empty()) return;
  if (!asking_ends_) ask_ends();
  run_ready();
  ask_positions();
}

}  // namespace parley::gateway
