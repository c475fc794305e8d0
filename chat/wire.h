// Protobuf's wire format, as much of it as the log and the fold need, without protobuf itself.
//
// The writer leaves out default values and is meant to be called in field order; then its output is what protobuf writes, byte for
// byte (tests compare), so that a hash over a body made here is a hash over the message. The reader gives views into the bytes it
// reads, never copies and never reads past the end.
#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

namespace parley::chat::wire {

enum class Type : std::uint8_t { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };

class Writer {
 public:
  explicit Writer(std::string& out) : out_(out) {}

  void number(std::uint32_t field, std::uint64_t value) {
    if (value != 0) number_even_if_zero(field, value);
  }
  // For `optional` fields and members of a oneof, where presence is written even of a default.
  void number_even_if_zero(std::uint32_t field, std::uint64_t value) {
    tag(field, Type::varint);
    varint(value);
  }
  void fixed64(std::uint32_t field, std::uint64_t value) {
    if (value == 0) return;
    tag(field, Type::fixed64);
    for (int i = 0; i < 8; ++i) out_.push_back(static_cast<char>(value >> (8 * i)));
  }
  void bytes(std::uint32_t field, std::string_view value) {
    if (!value.empty()) bytes_even_if_empty(field, value);
  }
  // Also the elements of repeated fields, and messages.
  void bytes_even_if_empty(std::uint32_t field, std::string_view value) {
    tag(field, Type::bytes);
    varint(value.size());
    out_.append(value);
  }

 private:
  void tag(std::uint32_t field, Type type) { varint(std::uint64_t{field} << 3 | static_cast<std::uint64_t>(type)); }
  void varint(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) out_.push_back(static_cast<char>(value | 0x80));
    out_.push_back(static_cast<char>(value));
  }

  std::string& out_;
};

// One field as read. `number` holds varints and fixed values, `bytes` what is length-delimited.
struct Field {
  std::uint32_t id = 0;
  Type type = Type::varint;
  std::uint64_t number = 0;
  std::string_view bytes;
};

class Reader {
 public:
  explicit Reader(std::string_view data) : rest_(data) {}

  bool done() const { return rest_.empty(); }

  // The next field; nothing when the bytes are no valid message (groups are not: proto3 has none).
  std::optional<Field> next() {
    auto tag = varint();
    if (!tag || *tag > 0xffffffffu || *tag >> 3 == 0) return std::nullopt;
    Field field{.id = static_cast<std::uint32_t>(*tag >> 3), .type = static_cast<Type>(*tag & 7), .number = 0, .bytes = {}};
    switch (*tag & 7) {
      case 0: {
        auto value = varint();
        if (!value) return std::nullopt;
        field.number = *value;
        return field;
      }
      case 1:
        return fixed(field, 8);
      case 5:
        return fixed(field, 4);
      case 2: {
        auto size = varint();
        if (!size || *size > rest_.size()) return std::nullopt;
        field.bytes = rest_.substr(0, *size);
        rest_.remove_prefix(*size);
        return field;
      }
      default:
        return std::nullopt;
    }
  }

 private:
  std::optional<std::uint64_t> varint() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 70; shift += 7) {
      if (rest_.empty()) return std::nullopt;
      const auto byte = static_cast<std::uint8_t>(rest_.front());
      rest_.remove_prefix(1);
      if (shift < 64) value |= std::uint64_t{byte & 0x7fu} << shift;
      if (byte < 0x80) return value;
    }
    return std::nullopt;
  }
  std::optional<Field> fixed(Field field, std::size_t size) {
    if (rest_.size() < size) return std::nullopt;
    for (std::size_t i = 0; i < size; ++i) field.number |= std::uint64_t{static_cast<std::uint8_t>(rest_[i])} << (8 * i);
    rest_.remove_prefix(size);
    return field;
  }

  std::string_view rest_;
};

// RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF. What protobuf demands of proto3 strings.
inline bool valid_utf8(std::string_view text) {
  const auto* p = reinterpret_cast<const std::uint8_t*>(text.data());
  const auto* end = p + text.size();
  while (p < end) {
    if (*p < 0x80) {
      ++p;
      continue;
    }
    int more;
    std::uint8_t low = 0x80, high = 0xbf;
    if (*p >= 0xc2 && *p <= 0xdf) {
      more = 1;
    } else if (*p >= 0xe0 && *p <= 0xef) {
      more = 2;
      if (*p == 0xe0) low = 0xa0;
      if (*p == 0xed) high = 0x9f;
    } else if (*p >= 0xf0 && *p <= 0xf4) {
      more = 3;
      if (*p == 0xf0) low = 0x90;
      if (*p == 0xf4) high = 0x8f;
    } else {
      return false;
    }
    if (end - p <= more) return false;
    if (p[1] < low || p[1] > high) return false;
    for (int i = 2; i <= more; ++i) {
      if (p[i] < 0x80 || p[i] > 0xbf) return false;
    }
    p += more + 1;
  }
  return true;
}

}  // namespace parley::chat::wire
