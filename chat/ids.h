// Typed ids and numbers: what must not be swapped has a type of its own.
//
// Every id is 16 bytes (RFC 9562 UUID). Users, groups, sessions and files are UUIDv7, made by `IdGenerator`; direct and
// self conversations and groups made by an operation are UUIDv8, derived (D5, D18). Text form is lower case.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace parley::chat {

template <class Tag>
struct Id {
  std::array<std::uint8_t, 16> bytes{};

  auto operator<=>(const Id&) const = default;

  // Nil (all zero) stands for "none".
  explicit operator bool() const { return *this != Id{}; }

  std::string_view view() const { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

  // From 16 raw bytes; nothing when the length differs.
  static std::optional<Id> from_bytes(std::string_view raw) {
    if (raw.size() != 16) return std::nullopt;
    Id id;
    std::memcpy(id.bytes.data(), raw.data(), 16);
    return id;
  }
};

// 8-4-4-4-12 hex in lower case, 36 characters.
std::string uuid_text(const std::array<std::uint8_t, 16>& bytes);
// Accepts upper and lower case, nothing but the 36-character form (D4).
std::optional<std::array<std::uint8_t, 16>> parse_uuid(std::string_view text);

template <class Tag>
std::string to_text(const Id<Tag>& id) {
  return uuid_text(id.bytes);
}

template <class T>
std::optional<T> parse_id(std::string_view text) {
  auto bytes = parse_uuid(text);
  if (!bytes) return std::nullopt;
  return T{*bytes};
}

using UserId = Id<struct UserTag>;
using ConversationId = Id<struct ConversationTag>;
using RequestId = Id<struct RequestTag>;  // a client's clientMsgId or opId
using LoginId = Id<struct LoginTag>;      // a login session (refresh family, D13)

template <class Tag, class Rep>
struct Number {
  Rep value{};
  auto operator<=>(const Number&) const = default;
  Number& operator++() {
    ++value;
    return *this;
  }
  Number next() const { return Number{static_cast<Rep>(value + 1)}; }
};

using Seq = Number<struct SeqTag, std::uint64_t>;                      // per conversation, over all events, from 1
using MessageNumber = Number<struct MessageNumberTag, std::uint64_t>;  // per conversation, over messages only, from 1
using Partition = Number<struct PartitionTag, std::uint32_t>;
using Offset = Number<struct OffsetTag, std::uint64_t>;  // of a record in its partition, from 0
using TimeMs = Number<struct TimeMsTag, std::uint64_t>;  // Unix time, milliseconds

// D5: UUIDv8 of SHA-256(min(a,b) || max(a,b)); a == b gives the self conversation.
ConversationId direct_conversation(const UserId& a, const UserId& b);
// D18: UUIDv8 of SHA-256(creator || opId), so that a resent createConversation finds the first group.
ConversationId group_conversation(const UserId& creator, const RequestId& op);

// The one placement of conversations: XXH3-64 of the 16 id bytes modulo the partition count (golden vectors in tests).
Partition partition_of(const ConversationId& conversation, std::uint32_t partitions);

// UUIDv7 (RFC 9562 section 5.7, method 1: 12-bit counter in rand_a): strictly increasing within one generator, also when
// the clock stands still or goes back. Not thread-safe: one per owner.
class IdGenerator {
 public:
  explicit IdGenerator(std::uint64_t seed) : state_(seed | 1) {}
  std::array<std::uint8_t, 16> next(TimeMs now);

 private:
  std::uint64_t random();
  std::uint64_t state_;
  std::uint64_t last_ms_ = 0;
  std::uint32_t counter_ = 0;
};

}  // namespace parley::chat

template <class Tag>
struct std::hash<parley::chat::Id<Tag>> {
  std::size_t operator()(const parley::chat::Id<Tag>& id) const noexcept {
    // Ids are random or hashes in their low half; folding both halves keeps UUIDv7 neighbours apart.
    std::uint64_t a, b;
    std::memcpy(&a, id.bytes.data(), 8);
    std::memcpy(&b, id.bytes.data() + 8, 8);
    return static_cast<std::size_t>((a ^ (b << 1 | b >> 63)) * 0x9E3779B97F4A7C15ull);
  }
};

template <class Tag, class Rep>
struct std::hash<parley::chat::Number<Tag, Rep>> {
  std::size_t operator()(const parley::chat::Number<Tag, Rep>& n) const noexcept { return std::hash<Rep>{}(n.value); }
};
