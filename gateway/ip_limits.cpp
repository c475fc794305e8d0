#include "gateway/ip_limits.h"

#include <algorithm>
#include <cmath>

namespace parley::gateway {

std::uint32_t IpBuckets::take(std::string_view address, chat::TimeMs now) {
  if (rate_.per_minute == 0) return 0;
  const double burst = std::max<std::uint32_t>(rate_.burst, 1), per_ms = rate_.per_minute / 60'000.0;
  if (auto found = by_address_.find(address); found != by_address_.end()) {
    buckets_.splice(buckets_.begin(), buckets_, found->second);
  } else {
    if (buckets_.size() == kAddresses) {
      by_address_.erase(buckets_.back().address);
      buckets_.pop_back();
    }
    buckets_.push_front({std::string(address), burst, now});
    by_address_.emplace(buckets_.front().address, buckets_.begin());
  }
  auto& bucket = buckets_.front();
  if (now > bucket.at) {
    bucket.tokens = std::min(burst, bucket.tokens + static_cast<double>(now.value - bucket.at.value) * per_ms);
    bucket.at = now;
  }
  if (bucket.tokens >= 1) {
    bucket.tokens -= 1;
    return 0;
  }
  return static_cast<std::uint32_t>(std::ceil((1 - bucket.tokens) / per_ms));
}

}  // namespace parley::gateway
