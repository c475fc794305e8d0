// What the router tells Prometheus. Sampled once a second from the Core's and the links' counts.
#pragma once

#include "router/core.h"
#include "router/link_server.h"
#include "runtime/metrics.h"

namespace parley::router {

class RouterMetrics {
 public:
  explicit RouterMetrics(runtime::Metrics& metrics);

  void sample(const Core::Stats& core, const LinkServer::Stats& link, std::size_t stopped_partitions);
  void ring(std::size_t members) const { ring_members_.set(static_cast<double>(members)); }
  void takeover() const { takeovers_.add(); }
  void folded(double seconds_since_append) const { fold_.observe(seconds_since_append); }
  void dispatched(double seconds) const { dispatch_.observe(seconds); }

 private:
  // A count that grows elsewhere.
  struct Grown {
    runtime::Counter counter;
    std::uint64_t last = 0;
    void to(std::uint64_t now) {
      counter.add(static_cast<double>(now - last));
      last = now;
    }
  };

  Grown records_, malformed_, deliveries_, evictions_, loads_done_, loads_refused_, loads_failed_, dropped_, opened_, overflowed_, silent_, shed_, messages_,
      bytes_;
  runtime::Gauge streams_, users_, registrations_, conversations_, cached_bytes_, parked_, parked_bytes_, partitions_, stopped_, behind_, loading_,
      ring_members_;
  runtime::Counter takeovers_;
  runtime::Histogram fold_, dispatch_;
};

}  // namespace parley::router
