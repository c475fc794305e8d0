#include "runtime/ring.h"

#include <xxhash.h>

#include <algorithm>
#include <cassert>
#include <tuple>

namespace parley::runtime {

Ring::Ring(std::vector<std::string> members) : members_(std::move(members)) {
  std::ranges::sort(members_);
  members_.erase(std::ranges::unique(members_).begin(), members_.end());
  points_.reserve(members_.size() * kVirtualNodes);
  for (std::uint32_t m = 0; m < members_.size(); ++m)
    for (std::uint32_t i = 0; i < kVirtualNodes; ++i) {
      // The index is part of the input: XXH3's seed hardly mixes into short inputs, so that points of one member would lie together.
      std::string point = members_[m] + '#' + std::to_string(i);
      points_.push_back({XXH3_64bits(point.data(), point.size()), m});
    }
  std::ranges::sort(points_, [](const Point& a, const Point& b) { return std::tie(a.hash, a.member) < std::tie(b.hash, b.member); });
}

const std::string& Ring::at(std::uint64_t hash) const {
  assert(!points_.empty());
  auto it = std::ranges::lower_bound(points_, hash, {}, &Point::hash);
  return members_[(it == points_.end() ? points_.front() : *it).member];
}

const std::string& Ring::owner(chat::Partition partition) const {
  std::string key = "partition#" + std::to_string(partition.value);
  return at(XXH3_64bits(key.data(), key.size()));
}

const std::string& Ring::home(const chat::UserId& user) const { return at(XXH3_64bits(user.bytes.data(), user.bytes.size())); }

}  // namespace parley::runtime
