#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstring>

#include "gateway/json/json.h"
#include "gateway/json/json_tables.h"

namespace parley::gateway::json {

namespace {

// Reads the wire form that protobuf itself has just written: well formed, so nothing is checked but the end.
class Wire {
 public:
  explicit Wire(std::string_view bytes) : at_(bytes.data()), end_(at_ + bytes.size()) {}
  bool more() const { return at_ < end_; }
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; at_ < end_ && shift < 64; shift += 7) {
      auto byte = static_cast<std::uint8_t>(*at_++);
      value |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) break;
    }
    return value;
  }
  std::string_view delimited() {
    auto length = static_cast<std::size_t>(varint());
    std::string_view out(at_, std::min(length, static_cast<std::size_t>(end_ - at_)));
    at_ += out.size();
    return out;
  }
  std::string_view fixed(std::size_t n) {
    std::string_view out(at_, std::min(n, static_cast<std::size_t>(end_ - at_)));
    at_ += out.size();
    return out;
  }
  void skip(std::uint32_t wire_type) {
    switch (wire_type) {
      case kVarint:
        varint();
        break;
      case kFixed64:
        fixed(8);
        break;
      case kFixed32:
        fixed(4);
        break;
      case kDelimited:
        delimited();
        break;
      default:
        at_ = end_;
    }
  }

 private:
  const char* at_;
  const char* end_;
};

void append_number(std::string& out, std::uint64_t value) {
  std::array<char, 20> digits;
  out.append(digits.data(), std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr);
}

void append_real(std::string& out, double value) {
  if (std::isnan(value)) {
    out += "\"NaN\"";
  } else if (std::isinf(value)) {
    out += value > 0 ? "\"Infinity\"" : "\"-Infinity\"";
  } else {
    std::array<char, 32> digits;
    out.append(digits.data(), std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr);
  }
}

void append_base64(std::string& out, std::string_view bytes) {
  static constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  out.push_back('"');
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    auto byte = [&](std::size_t k) { return k < bytes.size() ? static_cast<std::uint32_t>(static_cast<std::uint8_t>(bytes[k])) : 0u; };
    auto bits = byte(i) << 16 | byte(i + 1) << 8 | byte(i + 2);
    auto have = bytes.size() - i;
    out.push_back(kDigits[bits >> 18]);
    out.push_back(kDigits[bits >> 12 & 63]);
    out.push_back(have > 1 ? kDigits[bits >> 6 & 63] : '=');
    out.push_back(have > 2 ? kDigits[bits & 63] : '=');
  }
  out.push_back('"');
}

void append_object(std::string& out, const Table& table, std::string_view wire, EmptyLists empty);

void append_value(std::string& out, const Field& field, Wire& wire) {
  switch (field.kind) {
    case Kind::uint32:
      append_number(out, static_cast<std::uint32_t>(wire.varint()));
      break;
    case Kind::uint64:
      out.push_back('"');
      append_number(out, wire.varint());
      out.push_back('"');
      break;
    case Kind::boolean:
      out += wire.varint() ? "true" : "false";
      break;
    case Kind::string:
      append_string(out, wire.delimited());
      break;
    case Kind::bytes:
      append_base64(out, wire.delimited());
      break;
    case Kind::real: {
      auto raw = wire.fixed(8);
      double value = 0;
      std::memcpy(&value, raw.data(), raw.size());
      append_real(out, value);
      break;
    }
    case Kind::message:
      append_object(out, *field.type, wire.delimited(), EmptyLists::omit);
      break;
  }
}

void append_object(std::string& out, const Table& table, std::string_view bytes, EmptyLists empty) {
  out.push_back('{');
  Wire wire(bytes);
  const Field* list = nullptr;  // the repeated field whose array is open
  std::uint64_t written = 0;
  bool first = true;
  while (wire.more()) {
    auto tag = static_cast<std::uint32_t>(wire.varint());
    const Field* field = table.find(tag >> 3);
    if (!field) {
      wire.skip(tag & 7);
      continue;
    }
    bool goes_on = list && field == list;
    if (list && !goes_on) out.push_back(']');
    if (!goes_on) {
      if (!first) out.push_back(',');
      out += field->key;
      list = nullptr;
      written |= std::uint64_t{1} << (field - table.fields.data());
      if (field->repeated) {
        out.push_back('[');
        list = field;
      }
    } else {
      out.push_back(',');
    }
    first = false;
    if (field->repeated && (tag & 7) == kDelimited && (field->tag & 7) != kDelimited) {  // packed
      Wire packed(wire.delimited());
      for (bool head = true; packed.more(); head = false) {
        if (!head) out.push_back(',');
        append_value(out, *field, packed);
      }
    } else {
      append_value(out, *field, wire);
    }
  }
  if (list) out.push_back(']');
  if (empty == EmptyLists::show) {
    for (std::size_t i = 0; i < table.fields.size(); ++i) {
      if (!table.fields[i].repeated || written >> i & 1) continue;
      if (!first) out.push_back(',');
      out += table.fields[i].key;
      out += "[]";
      first = false;
    }
  }
  out.push_back('}');
}

bool any_nul(const Table& table, std::string_view bytes) {
  Wire wire(bytes);
  while (wire.more()) {
    auto tag = static_cast<std::uint32_t>(wire.varint());
    if ((tag & 7) > kDelimited && (tag & 7) != kFixed32) return true;  // a group: nothing of ours, and not looked into
    const Field* field = table.find(tag >> 3);
    if (!field || (tag & 7) != kDelimited || (field->kind != Kind::string && field->kind != Kind::message)) {
      wire.skip(tag & 7);
      continue;
    }
    auto inner = wire.delimited();
    if (field->kind == Kind::string ? inner.find('\0') != inner.npos : any_nul(*field->type, inner)) return true;
  }
  return false;
}

}  // namespace

void append_string(std::string& out, std::string_view text) {
  static constexpr char kHex[] = "0123456789abcdef";
  out.push_back('"');
  std::size_t at = 0;
  while (at < text.size()) {
    auto run = at;
    while (at < text.size()) {
      auto c = static_cast<std::uint8_t>(text[at]);
      if (c < 0x20 || c == '"' || c == '\\') break;
      ++at;
    }
    out.append(text.substr(run, at - run));
    if (at == text.size()) break;
    char c = text[at++];
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        out += "\\u00";
        out.push_back(kHex[static_cast<std::uint8_t>(c) >> 4]);
        out.push_back(kHex[static_cast<std::uint8_t>(c) & 15]);
    }
  }
  out.push_back('"');
}

void Writer::write(const google::protobuf::Message& message, std::string& out, EmptyLists empty) {
  wire_.clear();
  message.AppendToString(&wire_);
  append_object(out, table_of(*message.GetDescriptor()), wire_, empty);
}

bool has_nul(const google::protobuf::Descriptor& type, std::string_view wire) { return any_nul(table_of(type), wire); }

}  // namespace parley::gateway::json
