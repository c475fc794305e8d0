#include "bench/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace parley::bench {

std::size_t Histogram::bucket(std::uint64_t value) {
  value = std::min(value, (std::uint64_t{1} << kMaxBits) - 1);
  if (value < (1u << kSubBits)) return value;  // the linear part: one bucket a value
  const unsigned exponent = static_cast<unsigned>(std::bit_width(value)) - kSubBits - 1;
  return (std::size_t{exponent + 1} << kSubBits) + ((value >> exponent) & ((1u << kSubBits) - 1));
}

std::uint64_t Histogram::upper_bound(std::size_t bucket) {
  if (bucket < (1u << kSubBits)) return bucket;
  const auto exponent = static_cast<unsigned>(bucket >> kSubBits) - 1;
  const std::uint64_t sub = (bucket & ((1u << kSubBits) - 1)) | (1u << kSubBits);
  return ((sub + 1) << exponent) - 1;
}

void Histogram::add(std::uint64_t value) {
  ++counts_[bucket(value)];
  ++count_;
  sum_ += value;
  max_ = std::max(max_, value);
}

std::uint64_t Histogram::quantile(double share) const {
  if (count_ == 0) return 0;
  const auto wanted = std::max<std::uint64_t>(1, static_cast<std::uint64_t>(std::ceil(share * static_cast<double>(count_))));
  std::uint64_t seen = 0;
  for (std::size_t at = 0; at < counts_.size(); ++at) {
    seen += counts_[at];
    if (seen >= wanted) return std::min(upper_bound(at), max_);
  }
  return max_;
}

void Histogram::reset() {
  std::fill(counts_.begin(), counts_.end(), 0);
  count_ = sum_ = max_ = 0;
}

}  // namespace parley::bench
