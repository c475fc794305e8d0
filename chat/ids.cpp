#include "chat/ids.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>

#include "chat/sha256.h"

namespace parley::chat {
namespace {

// Of each byte: its value as a hexadecimal digit, or -1.
constexpr std::array<std::int8_t, 256> kHexValues = [] {
  std::array<std::int8_t, 256> values;
  values.fill(-1);
  for (int i = 0; i < 16; ++i)
    values[static_cast<std::uint8_t>("0123456789abcdef"[i])] = values[static_cast<std::uint8_t>("0123456789ABCDEF"[i])] = static_cast<std::int8_t>(i);
  return values;
}();
int hex_value(char c) { return kHexValues[static_cast<std::uint8_t>(c)]; }

bool dash_at(std::size_t i) { return i == 8 || i == 13 || i == 18 || i == 23; }

// RFC 9562 section 5.8: version 8 and the variant over the first 16 bytes of SHA-256(a || b).
ConversationId derived(std::string_view a, std::string_view b) {
  const Sha256 digest = sha256({a, b});
  ConversationId id;
  std::copy_n(digest.begin(), 16, id.bytes.begin());
  id.bytes[6] = static_cast<std::uint8_t>((id.bytes[6] & 0x0f) | 0x80);
  id.bytes[8] = static_cast<std::uint8_t>((id.bytes[8] & 0x3f) | 0x80);
  return id;
}

}  // namespace

std::string uuid_text(const std::array<std::uint8_t, 16>& bytes) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string text(36, '-');
  std::size_t at = 0;
  for (const std::uint8_t byte : bytes) {
    if (dash_at(at)) ++at;
    text[at++] = kHex[byte >> 4];
    text[at++] = kHex[byte & 15];
  }
  return text;
}

std::optional<std::array<std::uint8_t, 16>> parse_uuid(std::string_view text) {
  if (text.size() != 36) return std::nullopt;
  std::array<std::uint8_t, 16> bytes;
  std::size_t at = 0;
  for (std::uint8_t& byte : bytes) {
    if (dash_at(at) && text[at++] != '-') return std::nullopt;
    const int high = hex_value(text[at]), low = hex_value(text[at + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    byte = static_cast<std::uint8_t>(high << 4 | low);
    at += 2;
  }
  return bytes;
}

ConversationId direct_conversation(const UserId& a, const UserId& b) {
  const auto& [low, high] = std::minmax(a, b);
  return derived(low.view(), high.view());
}

ConversationId group_conversation(const UserId& creator, const RequestId& op) { return derived(creator.view(), op.view()); }

Partition partition_of(const ConversationId& conversation, std::uint32_t partitions) {
  return {static_cast<std::uint32_t>(XXH3_64bits(conversation.bytes.data(), conversation.bytes.size()) % partitions)};
}

std::array<std::uint8_t, 16> IdGenerator::next(TimeMs now) {
  if (now.value > last_ms_) {
    last_ms_ = now.value;
    counter_ = static_cast<std::uint32_t>(random() & 0x7ff);  // the upper half is room to count in
  } else if (++counter_ > 0xfff) {
    ++last_ms_;  // ahead of the clock rather than out of order
    counter_ = 0;
  }
  const std::uint64_t high = last_ms_ << 16 | 0x7000 | counter_;
  const std::uint64_t low = (random() & 0x3fff'ffff'ffff'ffff) | 0x8000'0000'0000'0000;
  std::array<std::uint8_t, 16> bytes;
  for (std::size_t i = 0; i < 8; ++i) {
    bytes[i] = static_cast<std::uint8_t>(high >> (56 - 8 * i));
    bytes[8 + i] = static_cast<std::uint8_t>(low >> (56 - 8 * i));
  }
  return bytes;
}

// SplitMix64: full period, and any seed is a good one.
std::uint64_t IdGenerator::random() {
  std::uint64_t z = state_ += 0x9E3779B97F4A7C15ull;
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ z >> 27) * 0x94D049BB133111EBull;
  return z ^ z >> 31;
}

}  // namespace parley::chat
