#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>

#include "gateway/json/json.h"
#include "gateway/json/json_tables.h"
#include "gateway/server/websocket.h"

namespace parley::gateway::json {

namespace {

void append_varint(std::string& out, std::uint64_t value) {
  while (value >= 0x80) {
    out.push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  out.push_back(static_cast<char>(value));
}

// Makes room for the length of what was appended since `at`, where one byte was kept for it.
void patch_length(std::string& out, std::size_t at) {
  auto length = out.size() - at - 1;
  if (length < 0x80) {
    out[at] = static_cast<char>(length);
    return;
  }
  std::string varint;
  append_varint(varint, length);
  out[at] = varint[0];
  out.insert(at + 1, varint, 1);
}

std::optional<std::uint8_t> base64_digit(char c) {
  if (c >= 'A' && c <= 'Z') return static_cast<std::uint8_t>(c - 'A');
  if (c >= 'a' && c <= 'z') return static_cast<std::uint8_t>(c - 'a' + 26);
  if (c >= '0' && c <= '9') return static_cast<std::uint8_t>(c - '0' + 52);
  if (c == '+' || c == '-') return 62;
  if (c == '/' || c == '_') return 63;
  return std::nullopt;
}

// RFC 4648 sections 4 and 5, padded or not; bits left over must be zero.
bool append_base64_decoded(std::string& out, std::string_view text) {
  if (text.size() % 4 == 0) {
    for (int i = 0; i < 2 && text.ends_with('='); ++i) text.remove_suffix(1);
  }
  if (text.size() % 4 == 1) return false;
  std::uint32_t bits = 0;
  int have = 0;
  for (char c : text) {
    auto digit = base64_digit(c);
    if (!digit) return false;
    bits = bits << 6 | *digit;
    have += 6;
    if (have >= 8) {
      have -= 8;
      out.push_back(static_cast<char>(bits >> have));
    }
  }
  return (bits & ((1u << have) - 1)) == 0;
}

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Length of the JSON number at the front of `text`; 0: none.
std::size_t number_length(std::string_view text) {
  std::size_t at = 0;
  auto digits = [&] {
    auto begin = at;
    while (at < text.size() && is_digit(text[at])) ++at;
    return at - begin;
  };
  if (at < text.size() && text[at] == '-') ++at;
  auto first = at;
  auto whole = digits();
  if (whole == 0 || (whole > 1 && text[first] == '0')) return 0;
  if (at < text.size() && text[at] == '.') {
    ++at;
    if (digits() == 0) return 0;
  }
  if (at < text.size() && (text[at] == 'e' || text[at] == 'E')) {
    ++at;
    if (at < text.size() && (text[at] == '+' || text[at] == '-')) ++at;
    if (digits() == 0) return 0;
  }
  return at;
}

// A JSON number as an unsigned integer up to `max`: also 1.0 and 1e3, which are integers in JSON.
std::optional<std::uint64_t> to_unsigned(std::string_view number, std::uint64_t max) {
  std::uint64_t value = 0;
  auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), value);
  if (error == std::errc{} && end == number.data() + number.size()) return value <= max ? std::optional(value) : std::nullopt;
  double real = 0;
  auto [real_end, real_error] = std::from_chars(number.data(), number.data() + number.size(), real);
  if (real_error != std::errc{} || real_end != number.data() + number.size()) return std::nullopt;
  if (!(real >= 0) || real >= 18446744073709551616.0 || real != std::floor(real)) return std::nullopt;
  value = static_cast<std::uint64_t>(real);
  return value <= max ? std::optional(value) : std::nullopt;
}

// One pass over one text. `false` from a member means: not JSON, stop. What is JSON but not the message is noted in
// `invalid_` and read on, for the rest may still not be JSON, or hold the ids that the nack should bear.
class Pass {
 public:
  Pass(std::string_view text, std::string& wire, std::string& scratch) : at_(text.data()), end_(at_ + text.size()), wire_(wire), scratch_(scratch) {}

  bool run(const Table& table) {
    skip_space();
    if (!take('{') || !object(table, 0)) return false;
    skip_space();
    return at_ == end_;
  }

  bool valid() const { return !invalid_; }
  Invalid& told() { return told_; }

 private:
  struct Seen {
    std::uint64_t fields = 0;
    std::uint32_t oneofs = 0;
  };

  bool more() const { return at_ != end_; }
  char peek() const { return more() ? *at_ : '\0'; }
  void skip_space() {
    while (more() && is_space(*at_)) ++at_;
  }
  bool take(char c) {
    if (peek() != c || !more()) return false;
    ++at_;
    return true;
  }
  bool take(std::string_view word) {
    if (std::string_view(at_, static_cast<std::size_t>(end_ - at_)).substr(0, word.size()) != word) return false;
    at_ += word.size();
    return true;
  }

  void mark_invalid(std::string_view what, const Field* field) {
    if (!invalid_) {
      told_.message = what;
      if (field) told_.message.append(": ").append(std::string_view(field->key).substr(1, field->key.size() - 3));
    }
    invalid_ = true;
  }

  // After '{'.
  bool object(const Table& table, int depth) {
    Seen seen;
    skip_space();
    if (take('}')) return true;
    for (;;) {
      scratch_.clear();
      bool clean = true;
      if (!take('"') || !string(scratch_, clean)) return false;
      const Field* field = table.find(scratch_);
      skip_space();
      if (!take(':')) return false;
      skip_space();
      if (!(field ? known(table, *field, seen, depth) : skip())) return false;
      skip_space();
      if (take('}')) return true;
      if (!take(',')) return false;
      skip_space();
    }
  }

  bool known(const Table& table, const Field& field, Seen& seen, int depth) {
    if (take("null")) return true;  // reads as absent
    auto bit = std::uint64_t{1} << (&field - table.fields.data());
    if (seen.fields & bit) return refuse("given twice", field);
    seen.fields |= bit;
    if (field.oneof >= 0) {
      auto group = 1u << field.oneof;
      if (seen.oneofs & group) return refuse("only one of these may be given", field);
      seen.oneofs |= group;
    }
    if (!field.repeated) return value(field, depth);
    if (peek() != '[') return refuse("must be an array", field);
    ++at_;
    skip_space();
    if (take(']')) return true;
    for (;;) {
      if (!value(field, depth)) return false;
      skip_space();
      if (take(']')) return true;
      if (!take(',')) return false;
      skip_space();
    }
  }

  bool refuse(std::string_view what, const Field& field) {
    mark_invalid(what, &field);
    return skip();
  }

  bool value(const Field& field, int depth) {
    switch (field.kind) {
      case Kind::uint32:
        return integer(field, std::numeric_limits<std::uint32_t>::max(), depth);
      case Kind::uint64:
        return integer(field, std::numeric_limits<std::uint64_t>::max(), depth);
      case Kind::boolean: {
        bool yes = take("true");
        if (!yes && !take("false")) return refuse("must be true or false", field);
        append_varint(wire_, field.tag);
        wire_.push_back(yes ? 1 : 0);
        return true;
      }
      case Kind::string:
        return text(field, depth);
      case Kind::bytes:
        return bytes(field);
      case Kind::real:
        return real(field);
      case Kind::message: {
        if (!take('{')) return refuse("must be an object", field);
        append_varint(wire_, field.tag);
        auto length_at = wire_.size();
        wire_.push_back('\0');
        if (!object(*field.type, depth + 1)) return false;
        patch_length(wire_, length_at);
        return true;
      }
    }
    return false;
  }

  // A number, or a string that holds one; the view lives until scratch_ is used again.
  enum class Token : std::uint8_t { broken, other, number };
  Token number(std::string_view& out) {
    if (peek() == '"') {
      ++at_;
      scratch_.clear();
      bool clean = true;
      if (!string(scratch_, clean)) return Token::broken;
      out = scratch_;
      return Token::number;
    }
    if (peek() != '-' && !is_digit(peek())) return Token::other;
    auto length = number_length({at_, static_cast<std::size_t>(end_ - at_)});
    if (length == 0) return Token::broken;
    out = {at_, length};
    at_ += length;
    return Token::number;
  }

  bool integer(const Field& field, std::uint64_t max, int depth) {
    std::string_view token;
    switch (number(token)) {
      case Token::broken:
        return false;
      case Token::other:
        return refuse("must be a number", field);
      case Token::number:
        break;
    }
    auto value = number_length(token) == token.size() ? to_unsigned(token, max) : std::nullopt;
    if (token.empty() || !value) {
      mark_invalid("out of range or not an integer", &field);
      return true;
    }
    if (depth == 0 && field.number == client::Frame::kReqIdFieldNumber) told_.req_id = static_cast<std::uint32_t>(*value);
    append_varint(wire_, field.tag);
    append_varint(wire_, *value);
    return true;
  }

  bool real(const Field& field) {
    std::string_view token;
    switch (number(token)) {
      case Token::broken:
        return false;
      case Token::other:
        return refuse("must be a number", field);
      case Token::number:
        break;
    }
    double value = 0;
    bool good = true;
    if (token == "NaN") {
      value = std::numeric_limits<double>::quiet_NaN();
    } else if (token == "Infinity") {
      value = std::numeric_limits<double>::infinity();
    } else if (token == "-Infinity") {
      value = -std::numeric_limits<double>::infinity();
    } else {
      good = !token.empty() && number_length(token) == token.size() && std::from_chars(token.data(), token.data() + token.size(), value).ec == std::errc{};
    }
    if (!good) {
      mark_invalid("not a number in range", &field);
      return true;
    }
    append_varint(wire_, field.tag);
    std::array<char, 8> raw;
    std::memcpy(raw.data(), &value, 8);
    wire_.append(raw.data(), 8);
    return true;
  }

  bool text(const Field& field, int depth) {
    if (!take('"')) return refuse("must be a string", field);
    append_varint(wire_, field.tag);
    auto length_at = wire_.size();
    wire_.push_back('\0');
    bool clean = true;
    if (!string(wire_, clean)) return false;
    if (!clean) {
      mark_invalid("holds U+0000 or half a surrogate pair", &field);
    } else if (depth == 1) {
      if (field.key == "\"clientMsgId\":") told_.client_msg_id.assign(wire_, length_at + 1);
      if (field.key == "\"opId\":") told_.op_id.assign(wire_, length_at + 1);
    }
    patch_length(wire_, length_at);
    return true;
  }

  bool bytes(const Field& field) {
    if (!take('"')) return refuse("must be a base64 string", field);
    scratch_.clear();
    bool clean = true;
    if (!string(scratch_, clean)) return false;
    append_varint(wire_, field.tag);
    auto length_at = wire_.size();
    wire_.push_back('\0');
    if (!append_base64_decoded(wire_, scratch_)) mark_invalid("not base64", &field);
    patch_length(wire_, length_at);
    return true;
  }

  static int hex(char c) {
    if (is_digit(c)) return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
  }
  // The four digits after "\u".
  bool code_unit(std::uint32_t& unit) {
    if (end_ - at_ < 4) return false;
    unit = 0;
    for (int i = 0; i < 4; ++i) {
      int digit = hex(*at_++);
      if (digit < 0) return false;
      unit = unit << 4 | static_cast<std::uint32_t>(digit);
    }
    return true;
  }
  static void append_utf8(std::string& out, std::uint32_t c) {
    if (c < 0x80) {
      out.push_back(static_cast<char>(c));
      return;
    }
    if (c >= 0x10000) {
      out.push_back(static_cast<char>(0xF0 | c >> 18));
      out.push_back(static_cast<char>(0x80 | (c >> 12 & 0x3F)));
    } else if (c >= 0x800) {
      out.push_back(static_cast<char>(0xE0 | c >> 12));
    }
    if (c >= 0x800) {
      out.push_back(static_cast<char>(0x80 | (c >> 6 & 0x3F)));
    } else {
      out.push_back(static_cast<char>(0xC0 | c >> 6));
    }
    out.push_back(static_cast<char>(0x80 | (c & 0x3F)));
  }

  // After the opening quote: appends the characters. `clean` becomes false where it holds what no string may (D9).
  bool string(std::string& out, bool& clean) {
    for (;;) {
      const char* run = at_;
      while (end_ - at_ >= 8) {  // eight at a time while none of them is special
        std::uint64_t word;
        std::memcpy(&word, at_, 8);
        constexpr std::uint64_t kOnes = 0x0101010101010101ull, kHigh = 0x8080808080808080ull;
        auto has_zero = [](std::uint64_t w) { return (w - kOnes) & ~w & kHigh; };
        if (has_zero(word ^ kOnes * '"') || has_zero(word ^ kOnes * '\\') || has_zero(word & kOnes * 0xE0)) break;
        at_ += 8;
      }
      while (more() && *at_ != '"' && *at_ != '\\' && static_cast<std::uint8_t>(*at_) >= 0x20) ++at_;
      out.append(run, at_);
      if (!more()) return false;
      if (take('"')) return true;
      if (!take('\\') || !more()) return false;  // a bare control character
      switch (*at_++) {
        case '"':
          out.push_back('"');
          break;
        case '\\':
          out.push_back('\\');
          break;
        case '/':
          out.push_back('/');
          break;
        case 'b':
          out.push_back('\b');
          break;
        case 'f':
          out.push_back('\f');
          break;
        case 'n':
          out.push_back('\n');
          break;
        case 'r':
          out.push_back('\r');
          break;
        case 't':
          out.push_back('\t');
          break;
        case 'u': {
          std::uint32_t unit;
          if (!code_unit(unit)) return false;
          if (unit >= 0xD800 && unit < 0xDC00 && end_ - at_ >= 6 && at_[0] == '\\' && at_[1] == 'u') {
            const char* second = at_;
            at_ += 2;
            std::uint32_t low;
            if (!code_unit(low)) return false;
            if (low >= 0xDC00 && low < 0xE000) {
              unit = 0x10000 + ((unit - 0xD800) << 10 | (low - 0xDC00));
            } else {
              at_ = second;  // stands for itself
            }
          }
          if (unit == 0 || (unit >= 0xD800 && unit < 0xE000)) {
            clean = false;
          } else {
            append_utf8(out, unit);
          }
          break;
        }
        default:
          return false;
      }
    }
  }

  // A value nobody asked for: grammar only, nesting kept on the heap (one byte a level, at most the text's length).
  bool skip() {
    std::string open;
    std::string ignored;
    for (;;) {
      skip_space();
      bool clean = true;
      bool opened = false;
      if (take('{')) {
        skip_space();
        if (!take('}')) {
          open.push_back('}');
          ignored.clear();
          if (!take('"') || !string(ignored, clean)) return false;
          skip_space();
          if (!take(':')) return false;
          opened = true;
        }
      } else if (take('[')) {
        skip_space();
        if (!take(']')) {
          open.push_back(']');
          opened = true;
        }
      } else if (take('"')) {
        ignored.clear();
        if (!string(ignored, clean)) return false;
      } else if (!take("true") && !take("false") && !take("null")) {
        auto length = number_length({at_, static_cast<std::size_t>(end_ - at_)});
        if (length == 0) return false;
        at_ += length;
      }
      if (opened) continue;
      for (;;) {  // a value is over: close what it closes, or go on to the next
        if (open.empty()) return true;
        skip_space();
        if (take(open.back())) {
          open.pop_back();
          continue;
        }
        if (!take(',')) return false;
        if (open.back() == '}') {
          skip_space();
          ignored.clear();
          if (!take('"') || !string(ignored, clean)) return false;
          skip_space();
          if (!take(':')) return false;
        }
        break;
      }
    }
  }

  const char* at_;
  const char* end_;
  std::string& wire_;
  std::string& scratch_;
  bool invalid_ = false;
  Invalid told_;
};

}  // namespace

Read<client::Frame> Reader::frame(std::string_view text) {
  static const Table& table = table_of(*client::Frame::descriptor());
  wire_.clear();
  Pass pass(text, wire_, scratch_);
  if (!pass.run(table)) return NotJson{"not one JSON object"};
  if (!pass.valid()) return std::move(pass.told());
  client::Frame frame;
  if (!frame.ParseFromString(wire_)) return NotJson{"not UTF-8"};
  return frame;
}

Read<std::monostate> Reader::message(std::string_view text, google::protobuf::Message& out) {
  if (!websocket::valid_utf8(text)) return NotJson{"not UTF-8"};
  wire_.clear();
  Pass pass(text, wire_, scratch_);
  if (!pass.run(table_of(*out.GetDescriptor()))) return NotJson{"not one JSON object"};
  if (!pass.valid()) return std::move(pass.told());
  if (!out.ParseFromString(wire_)) return NotJson{"not UTF-8"};
  return std::monostate{};
}

}  // namespace parley::gateway::json
