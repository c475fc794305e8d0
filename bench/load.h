// The three loads that parley-bench can put on a cluster, and what each measures.
//
//   idle     N connections that said hello and then nothing: the caller looks at the gateways' memory
//   durable  pairs writing to each other; latency from the moment a message was due (open loop) or sent (closed loop) until the peer has it
//   fanout   one member of a group writes, all others receive; latency until the last of them has it
//
// Open loop: messages are due at Poisson arrivals whatever the server does, and latency counts from then: a stall is not omitted but seen by
// everything that was due in it. One thread; its own share of a core is reported, so that a reader sees when the client was the bottleneck.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "bench/connection.h"
#include "bench/histogram.h"

namespace parley::bench {

struct Options {
  std::string mode;
  std::vector<Endpoint> endpoints;
  std::vector<Credentials> users;
  std::uint32_t connections = 1000;  // idle
  std::uint32_t pairs = 100;         // durable
  std::uint32_t window = 1;          // durable, closed loop: messages in flight per pair
  double rate = 0;                   // durable: open loop at this many a second; 0: closed loop. fanout: messages a second; 0: one after the other
  std::uint32_t members = 1000;      // fanout
  std::uint32_t text_bytes = 200;
  double warmup_s = 2;
  double seconds = 10;
};

// What a run found out. Latencies in microseconds.
struct Report {
  Histogram delivery;  // due or sent -> the peer (fanout: each member) has it
  Histogram last;      // fanout: -> the last member has it
  Histogram ack;       // due or sent -> sendAck
  std::uint64_t sent = 0, delivered = 0, acked = 0, nacked = 0, undelivered = 0;
  double window_s = 0;
  double cpu_share = 0;  // of one core, used by this client
  double late_ms = 0;    // open loop: the most by which this client fell behind its own arrivals
  std::vector<std::string> failures;
};

// Runs to the end; prints "measuring" and "measured" lines on stdout around the measured time, so that the caller can take CPU readings.
Report run(const Options& options);

}  // namespace parley::bench
