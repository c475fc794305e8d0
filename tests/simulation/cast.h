// Who plays: three users on four devices, five conversations on two partitions, three routers, two gateways, two persisters.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "chat/ids.h"
#include "chat/record.h"
#include "eventlog/log.h"
#include "runtime/clock.h"

namespace parley::simulation {

inline constexpr std::uint32_t kPartitions = 2;
inline constexpr std::size_t kRouters = 3, kGateways = 2, kPersisters = 2, kUsers = 3, kDevices = 4, kConversations = 5;

inline constexpr std::array<std::string_view, kDevices> kDeviceNames = {"a", "b", "c", "e"};
inline constexpr std::array<std::size_t, kDevices> kDeviceUsers = {0, 0, 1, 2};

// g0 and g1 exist from the start, with everyone in them; n2 is created during the run; d is users 1 and 2; s is user 0 alone.
enum Talk : std::size_t { kG0, kG1, kN2, kD, kS };
inline constexpr std::array<std::string_view, kConversations> kTalkNames = {"g0", "g1", "n2", "d", "s"};

inline const eventlog::Topic kTopic{"simulation", kPartitions};

inline chat::UserId user(std::size_t n) {
  chat::UserId id;
  id.bytes = {0x01, 0x92, 0, 0, 0, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, static_cast<std::uint8_t>(n + 1)};
  return id;
}

inline chat::LoginId login(std::size_t device) {
  chat::LoginId id;
  id.bytes = {0x02, 0x92, 0, 0, 0, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, static_cast<std::uint8_t>(device + 1)};
  return id;
}

inline chat::RequestId request(std::uint64_t n) {
  chat::RequestId id;
  id.bytes = {0x03, 0x92, 0, 0, 0, 0, 0x70, 0, 0x80};
  for (std::size_t i = 0; i < 4; ++i) id.bytes[12 + i] = static_cast<std::uint8_t>(n >> (24 - 8 * i));
  return id;
}

// The number that made it; 0 for ids of others.
inline std::uint64_t number_of(const chat::RequestId& id) {
  if (id.bytes[0] != 0x03) return 0;
  std::uint64_t n = 0;
  for (std::size_t i = 0; i < 4; ++i) n = n << 8 | id.bytes[12 + i];
  return n;
}

class SimClock final : public runtime::Clock {
 public:
  chat::TimeMs wall() const override { return {1'700'000'000'000 + at_}; }
  chat::TimeMs steady() const override { return {10'000 + at_}; }
  void advance(std::uint64_t ms) { at_ += ms; }
  std::uint64_t elapsed() const { return at_; }

 private:
  std::uint64_t at_ = 0;
};

// A rollout (R6): who knows a fold comes before who stamps it.
struct Release {
  std::uint32_t knows, stamps;
};
inline constexpr std::array<Release, 3> kReleases = {{
    {chat::kFoldVersion, chat::kFoldVersion},
    {chat::kFoldVersion + 1, chat::kFoldVersion},
    {chat::kFoldVersion + 1, chat::kFoldVersion + 1},
}};
inline constexpr std::size_t kKnows = 1, kStamps = 2;  // from this release on
// Both are found half done: the first router and the first persister do not know the new fold yet.
enum class Rollout : std::uint8_t {
  none,
  orderly,  // nobody stamps before every router and persister knows: nobody stops
  hasty,    // the second gateway stamps already; any release at any time, older ones too
};

// The conversations' ids, and the operations that create the groups among them.
struct Cast {
  std::array<chat::ConversationId, kConversations> ids;
  std::array<chat::RequestId, kConversations> created_by{};

  Cast() {
    ids[kD] = chat::direct_conversation(user(1), user(2));
    ids[kS] = chat::direct_conversation(user(0), user(0));
    std::uint64_t n = 1'000'000;
    for (const auto& [talk, partition] : {std::pair{kG0, 0u}, {kG1, 1u}, {kN2, 0u}}) {
      do {
        created_by[talk] = request(++n);
        ids[talk] = chat::group_conversation(user(0), created_by[talk]);
      } while (chat::partition_of(ids[talk], kPartitions).value != partition);
    }
  }
  // kConversations where it is none of them.
  std::size_t talk(const chat::ConversationId& id) const {
    std::size_t i = 0;
    while (i < kConversations && ids[i] != id) ++i;
    return i;
  }
};

}  // namespace parley::simulation
