// Counts values with a bounded relative error (log-linear buckets, as HDR histograms do), so that a benchmark keeps every latency and not a sample.
//
// 128 buckets per power of two: an error below 0.8 %. Values from 0 to 2^40; larger ones count as the largest. 34 KiB, one thread.
#pragma once

#include <cstdint>
#include <vector>

namespace parley::bench {

class Histogram {
 public:
  Histogram() : counts_(kBuckets) {}

  void add(std::uint64_t value);
  std::uint64_t count() const { return count_; }
  std::uint64_t max() const { return max_; }
  double mean() const { return count_ == 0 ? 0 : static_cast<double>(sum_) / static_cast<double>(count_); }
  // The least value that at least this share (0 to 1) of all values do not exceed, as its bucket's upper bound.
  std::uint64_t quantile(double share) const;
  void reset();

 private:
  static constexpr unsigned kSubBits = 7;
  static constexpr unsigned kMaxBits = 40;
  static constexpr std::size_t kBuckets = std::size_t{kMaxBits - kSubBits + 1} << kSubBits;

  static std::size_t bucket(std::uint64_t value);
  static std::uint64_t upper_bound(std::size_t bucket);

  std::vector<std::uint64_t> counts_;
  std::uint64_t count_ = 0, sum_ = 0, max_ = 0;
};

}  // namespace parley::bench
