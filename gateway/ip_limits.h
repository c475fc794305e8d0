// What one address may do: connections open at once, and a token bucket for things that cost us (registering, logging in,
// opening a WebSocket). Per shard and process, thread of the owner.
//
// Bound: kAddresses buckets; beyond, the one longest unused is forgotten (its address starts afresh: an attacker with that
// many addresses is not stopped by counting addresses).
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <string>
#include <string_view>
#include <unordered_map>

#include "chat/ids.h"

namespace parley::gateway {

struct Rate {
  std::uint32_t per_minute = 0;  // 0: off
  std::uint32_t burst = 0;
};

class IpBuckets {
 public:
  static constexpr std::size_t kAddresses = 65'536;

  explicit IpBuckets(Rate rate) : rate_(rate) {}
  // Takes one token. 0: it was there; else how long until there is one.
  std::uint32_t take(std::string_view address, chat::TimeMs now);
  std::size_t size() const { return buckets_.size(); }

 private:
  struct Bucket {
    std::string address;
    double tokens;
    chat::TimeMs at;
  };
  Rate rate_;
  std::list<Bucket> buckets_;  // most recently used first
  std::unordered_map<std::string_view, std::list<Bucket>::iterator> by_address_;
};

}  // namespace parley::gateway
