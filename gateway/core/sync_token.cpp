#include "gateway/core/sync_token.h"

#include <xxhash.h>

#include <array>
#include <cstdint>

namespace parley::gateway {
namespace {

constexpr char kVersion = 1;
constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

std::string base64(std::string_view bytes) {
  std::string out;
  out.reserve((bytes.size() * 4 + 2) / 3);
  std::uint32_t bits = 0;
  int have = 0;
  for (unsigned char c : bytes) {
    bits = bits << 8 | c;
    for (have += 8; have >= 6; have -= 6) out += kAlphabet[bits >> (have - 6) & 63];
  }
  if (have > 0) out += kAlphabet[bits << (6 - have) & 63];
  return out;
}

std::optional<std::string> from_base64(std::string_view text) {
  std::string out;
  std::uint32_t bits = 0;
  int have = 0;
  for (char c : text) {
    auto value = kAlphabet.find(c);
    if (value == std::string_view::npos) return std::nullopt;
    bits = bits << 6 | static_cast<std::uint32_t>(value);
    have += 6;
    if (have >= 8) out += static_cast<char>(bits >> (have -= 8) & 255);
  }
  return out;
}

void put_varint(std::string& out, std::uint64_t value) {
  for (; value >= 128; value >>= 7) out += static_cast<char>(value | 128);
  out += static_cast<char>(value);
}

std::optional<std::uint64_t> take_varint(std::string_view& in) {
  std::uint64_t value = 0;
  for (int shift = 0; shift < 64 && !in.empty(); shift += 7) {
    auto byte = static_cast<unsigned char>(in.front());
    in.remove_prefix(1);
    value |= static_cast<std::uint64_t>(byte & 127) << shift;
    if (byte < 128) return value;
  }
  return std::nullopt;
}

std::string checksum(std::string_view bytes) {
  std::string out(8, '\0');
  std::uint64_t hash = XXH3_64bits(bytes.data(), bytes.size());
  for (int i = 0; i < 8; ++i) out[static_cast<std::size_t>(i)] = static_cast<char>(hash >> (8 * i));
  return out;
}

}  // namespace

std::string sync_token(const eventlog::Topic& topic, const std::vector<chat::Offset>& positions) {
  std::string bytes(1, kVersion);
  put_varint(bytes, topic.id.size());
  bytes += topic.id;
  for (chat::Offset offset : positions) put_varint(bytes, offset.value);
  bytes += checksum(bytes);
  return base64(bytes);
}

std::optional<std::vector<chat::Offset>> read_sync_token(const eventlog::Topic& topic, std::string_view token) {
  auto bytes = from_base64(token);
  if (!bytes || bytes->size() < 10 || bytes->front() != kVersion) return std::nullopt;
  std::string_view in(*bytes);
  if (checksum(in.substr(0, in.size() - 8)) != in.substr(in.size() - 8)) return std::nullopt;
  in.remove_suffix(8);
  in.remove_prefix(1);
  auto length = take_varint(in);
  if (!length || *length > in.size() || in.substr(0, *length) != topic.id) return std::nullopt;
  in.remove_prefix(*length);
  std::vector<chat::Offset> positions;
  while (!in.empty()) {
    auto offset = take_varint(in);
    if (!offset || positions.size() == topic.partitions) return std::nullopt;
    positions.push_back({*offset});
  }
  if (positions.size() != topic.partitions) return std::nullopt;
  return positions;
}

}  // namespace parley::gateway
