// A token bucket for each of many keys: addresses (registering, logging in, opening a WebSocket) and usernames (wrong passwords).
// Per shard, thread of the owner.
//
// Bound: kKeys buckets; beyond, the one longest unused is forgotten (its key starts afresh: an attacker with that many
// addresses is not stopped by counting addresses).
#pragma once

#include <algorithm>
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

class KeyedBuckets {
 public:
  static constexpr std::size_t kKeys = 65'536;

  explicit KeyedBuckets(Rate rate) : rate_(rate) {}
  // Takes one token. 0: it was there; else how long until there is one.
  std::uint32_t take(std::string_view key, chat::TimeMs now);
  // One that was taken turns out not to count.
  void give_back(std::string_view key);
  std::size_t size() const { return buckets_.size(); }

 private:
  struct Bucket {
    std::string key;
    double tokens;
    chat::TimeMs at;
  };
  double burst() const { return std::max<std::uint32_t>(rate_.burst, 1); }

  Rate rate_;
  std::list<Bucket> buckets_;  // most recently used first
  std::unordered_map<std::string_view, std::list<Bucket>::iterator> by_key_;
};

}  // namespace parley::gateway
