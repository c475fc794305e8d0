// What the fold keeps of one conversation (R3), and nothing else: facts about older messages travel in the record.
//
// Bound: `kWindow` consumed ids, `kPendingSchedules` schedules, `group_size` members. Equal histories give equal states,
// byte for byte (`encode_state`), whatever point they were loaded at: that is what cold load and comparison rest on.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "chat/ids.h"
#include "chat/record.h"
#include "chat/window.h"

namespace parley::chat {

inline constexpr std::size_t kPendingSchedules = 256;

enum class Kind : std::uint8_t { none = 0, direct = 1, group = 2, self = 3 };
std::string_view name(Kind kind);  // "direct" "group" "self"
std::string_view name(Role role);  // "member" "admin" "owner"
std::optional<Role> parse_role(std::string_view text);

using Digest = std::array<std::uint8_t, 16>;  // SHA-256 cut to 128 bits

// The seqs one may see between joining and leaving: [from, to], `to` empty while the stay lasts (R11). Only the present
// stay is state; earlier ones are rows in PostgreSQL.
struct Member {
  Role role = Role::member;
  Seq stay_from;                      // seq of the event that added him (1 for founders)
  std::optional<TimeMs> muted_until;  // 0: without end; absent: not muted
  Seq read_seq;
  MessageNumber read_number;
  Seq delivered_seq;
  auto operator<=>(const Member&) const = default;
};

struct GroupSettings {
  bool history_for_new_members = false;
  bool members_may_add = false;
  bool mention_all_admins = false;
  auto operator<=>(const GroupSettings&) const = default;
};

struct ConversationState {
  Kind kind = Kind::none;  // none: does not exist (yet)
  Seq last_seq;
  MessageNumber last_number;
  Seq last_message_seq;  // seq of the event with last_number
  TimeMs last_time;
  Digest chain{};
  std::map<UserId, Member> members;  // ordered, so that encodings and fan-outs are deterministic
  std::string title, notice, avatar, description;
  GroupSettings settings;
  std::optional<TimeMs> all_muted_until;  // 0: without end
  bool dissolved = false;
  std::vector<UserId> blockers;                       // direct: those who block the other, ascending
  std::vector<std::pair<UserId, RequestId>> pending;  // schedules not fired or cancelled, oldest first
  Window window;
  std::optional<Offset> left;  // offset of the newest id that fell out of the window

  bool operator==(const ConversationState&) const = default;
  const Member* member(const UserId& user) const {
    auto it = members.find(user);
    return it == members.end() ? nullptr : &it->second;
  }
};

// About what a state takes in memory, itself included: caches are bounded by it. Costs nothing: no list is walked.
std::size_t memory_of(const ConversationState& state);

// Canonical bytes of a state: equal states give equal bytes and the reverse. Includes everything above.
std::string encode_state(const ConversationState& state);
std::optional<ConversationState> decode_state(std::string_view bytes);

// Appends to the window what was consumed at a higher offset than everything in it; what falls out moves `left`.
void consume(ConversationState& state, const Consumed& consumed);

// The window and `left` as a store finds them (R18): `newest` holds the conversation's last kWindow + 1 consumed ids (fewer where
// there are no more), events that bear an id and schedules alike, by ascending offset.
void restore_window(ConversationState& state, std::span<const Consumed> newest);

// P5: the one formula. 0 for those who are not members.
inline std::uint64_t unread(MessageNumber last, MessageNumber read) { return last.value > read.value ? last.value - read.value : 0; }

}  // namespace parley::chat
