// One record of the log, decoded. `decode_record` is the only way in from bytes, `encode_record` the only way out.
//
// Strings and bodies are views into the log entry's bytes: a Record lives no longer than its entry.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "chat/ids.h"

namespace parley::chat {

// The newest fold this binary knows; it knows every one from 1 on (R6).
inline constexpr std::uint32_t kFoldVersion = 1;
// The one it stamps on the records it makes. Raised a release after kFoldVersion: by then every router and persister that may meet
// such a record knows it, in whatever order processes are replaced. Not only gateways make records: persisters fire schedules (R10).
inline constexpr std::uint32_t kStampedFold = 1;
static_assert(kStampedFold <= kFoldVersion);

enum class Role : std::uint8_t { member = 1, admin = 2, owner = 3 };

struct Origin {
  std::uint64_t gateway = 0;
  std::uint64_t connection = 0;
  std::uint64_t attempt = 0;
  auto operator<=>(const Origin&) const = default;
};

struct FoldLimits {
  std::uint64_t recall_window_ms = 120'000;
  std::uint64_t edit_window_ms = 86'400'000;
  std::uint32_t group_size = 100'000;
};

namespace op {
struct Send {
  std::optional<UserId> peer{};  // directTo; absent where `conversation` was given
  std::string_view body{};
  bool mention_all = false;
};
struct MarkRead {
  Seq seq{};
  MessageNumber number{};
};
struct Delivered {
  Seq seq{};
};
struct Create {
  std::string_view title{};
  std::vector<UserId> members{};  // without the creator
};
struct Update {
  std::optional<std::string_view> title{}, notice{}, avatar{}, description{};
  std::optional<bool> history_for_new_members{}, members_may_add{}, mention_all_admins{};
};
struct Add {
  std::vector<UserId> users{};
};
struct Remove {
  std::vector<UserId> users{};
};
struct SetRole {
  UserId user{};
  Role role = Role::member;
};
struct Mute {
  std::optional<UserId> user{};  // absent: everyone
  TimeMs until{};                // 0: without end
  bool off = false;
};
struct Leave {};
struct Dissolve {};
struct Block {
  bool off = false;
  std::optional<UserId> peer{};  // creates the direct conversation where there is none yet
};
struct Schedule {
  std::optional<UserId> peer{};
  std::string_view body{};
  TimeMs due{};
};
// Made by a persister: the record's actor, device, id and payload hash are those of the schedule.
struct Fire {
  std::string_view body{};
};
struct Cancel {
  RequestId scheduled{};
};
struct Account {
  std::string_view body{};
};
// Declared in the log, not folded by version 1: Rejected{unsupported}.
struct Unsupported {};
}  // namespace op

using Operation = std::variant<op::Unsupported, op::Send, op::MarkRead, op::Delivered, op::Create, op::Update, op::Add, op::Remove, op::SetRole, op::Mute,
                               op::Leave, op::Dissolve, op::Block, op::Schedule, op::Fire, op::Cancel, op::Account>;

struct Record {
  std::uint32_t fold_version = kStampedFold;
  ConversationId conversation;  // from the entry's key
  UserId actor;
  std::string_view device;
  Origin origin;
  RequestId id;  // nil: none
  bool id_is_op = false;
  Offset since;
  std::array<std::uint8_t, 16> salt{};
  std::uint64_t payload_hash = 0;
  FoldLimits limits;
  Operation op;
};

enum class DecodeError : std::uint8_t {
  malformed,      // not a record, or ids of the wrong length: folds to Rejected{internal} on every side (R1)
  newer_version,  // a fold version above kFoldVersion: the partition stops and alarms (R6)
};

// key: conversation id in UUID text form. value: serialised parley.log.v1.Record.
std::expected<Record, DecodeError> decode_record(std::string_view key, std::string_view value);
std::string encode_record(const Record& record);

}  // namespace parley::chat
