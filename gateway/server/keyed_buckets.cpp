#include "gateway/server/keyed_buckets.h"

#include <algorithm>
#include <cmath>

namespace parley::gateway {

std::uint32_t KeyedBuckets::take(std::string_view key, chat::TimeMs now) {
  if (rate_.per_minute == 0) return 0;
  const double per_ms = rate_.per_minute / 60'000.0;
  if (auto found = by_key_.find(key); found != by_key_.end()) {
    buckets_.splice(buckets_.begin(), buckets_, found->second);
  } else {
    if (buckets_.size() == kKeys) {
      by_key_.erase(buckets_.back().key);
      buckets_.pop_back();
    }
    buckets_.push_front({std::string(key), burst(), now});
    by_key_.emplace(buckets_.front().key, buckets_.begin());
  }
  auto& bucket = buckets_.front();
  if (now > bucket.at) {
    bucket.tokens = std::min(burst(), bucket.tokens + static_cast<double>(now.value - bucket.at.value) * per_ms);
    bucket.at = now;
  }
  if (bucket.tokens >= 1) {
    bucket.tokens -= 1;
    return 0;
  }
  return static_cast<std::uint32_t>(std::ceil((1 - bucket.tokens) / per_ms));
}

void KeyedBuckets::give_back(std::string_view key) {
  if (auto found = by_key_.find(key); found != by_key_.end()) found->second->tokens = std::min(found->second->tokens + 1, burst());
}

}  // namespace parley::gateway
