#include "gateway/server/websocket.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace parley::gateway::websocket {
namespace {

constexpr std::array<std::uint8_t, 4> kKey{0x37, 0xfa, 0x21, 0x3d};
constexpr std::uint32_t kMax = 64 * 1024;

std::string frame(Opcode opcode, std::string_view payload, bool fin = true) {
  std::string out;
  append_frame(out, opcode, payload, kKey, fin);
  return out;
}

// A frame as nobody should send it: any first byte, any length form.
std::string raw(std::uint8_t first, std::string_view payload, int length_bytes = 0, bool masked = true) {
  std::string out;
  out.push_back(static_cast<char>(first));
  auto mask = static_cast<char>(masked ? 0x80 : 0);
  if (length_bytes == 0) {
    out.push_back(static_cast<char>(mask | static_cast<char>(payload.size())));
  } else {
    out.push_back(static_cast<char>(mask | (length_bytes == 2 ? 126 : 127)));
    for (int i = length_bytes - 1; i >= 0; --i) out.push_back(static_cast<char>(static_cast<std::uint64_t>(payload.size()) >> (8 * i)));
  }
  if (masked) out.append("\0\0\0\0", 4);
  out.append(payload);
  return out;
}

// What a decoder made of some bytes: "text:hello ping: close:1000 !protocol".
std::string decode(std::string bytes, std::size_t piece, Side side = Side::server, std::uint32_t max = kMax) {
  Decoder decoder(side, max);
  std::string seen;
  auto add = [&](std::string_view word) { seen += (seen.empty() ? "" : " ") + std::string(word); };
  for (std::size_t at = 0; at < bytes.size(); at += piece) {
    auto in = std::span(bytes).subspan(at, std::min(piece, bytes.size() - at));
    for (;;) {
      auto message = decoder.next(in);
      if (!message) {
        add(message.error() == Fault::protocol ? "!protocol" : message.error() == Fault::utf8 ? "!utf8" : "!tooLarge");
        return seen;
      }
      if (!*message) break;
      auto payload = std::string((*message)->payload);
      switch ((*message)->opcode) {
        case Opcode::text:
          add("text:" + payload);
          break;
        case Opcode::binary:
          add("binary:" + payload);
          break;
        case Opcode::ping:
          add("ping:" + payload);
          break;
        case Opcode::pong:
          add("pong:" + payload);
          break;
        default: {
          auto close = parse_close(payload);
          add(fmt::format("close:{}{}{}", close.code.value_or(0), close.reason.empty() ? "" : ",", close.reason));
        }
      }
    }
    EXPECT_TRUE(in.empty());
  }
  return seen;
}

// However the bytes are cut, the outcome is the same.
void expect(const std::string& bytes, const std::string& outcome, std::uint32_t max = kMax) {
  for (std::size_t piece : {std::size_t{1}, std::size_t{2}, std::size_t{3}, std::size_t{7}, bytes.size()}) {
    if (piece == 1 && bytes.size() > 10'000) continue;
    EXPECT_EQ(decode(bytes, piece, Side::server, max), outcome) << "pieces of " << piece;
  }
}

std::string close_payload(std::uint16_t code, std::string_view reason = "") {
  std::string out{static_cast<char>(code >> 8), static_cast<char>(code)};
  return out.append(reason);
}

TEST(WebSocketDecoder, ExampleOfTheRfc) {
  // RFC 6455 section 5.7: a single-frame masked text message.
  std::string hello("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", 11);
  expect(hello, "text:Hello");
  EXPECT_EQ(frame(Opcode::text, "Hello"), hello);
  EXPECT_EQ(decode(std::string("\x81\x05Hello", 7), 7, Side::client), "text:Hello");
}

TEST(WebSocketDecoder, SeveralMessagesInOneBuffer) {
  expect(frame(Opcode::text, "a") + frame(Opcode::binary, "bc") + frame(Opcode::ping, "") + frame(Opcode::text, ""), "text:a binary:bc ping: text:");
}

TEST(WebSocketDecoder, MaskingIsForClientsOnly) {
  expect(raw(0x81, "x", 0, false), "!protocol");
  EXPECT_EQ(decode(frame(Opcode::text, "x"), 100, Side::client), "!protocol");
}

TEST(WebSocketDecoder, LengthsMustBeMinimal) {
  expect(raw(0x82, std::string(125, 'x'), 2), "!protocol");
  expect(raw(0x82, std::string(125, 'x'), 8), "!protocol");
  expect(raw(0x82, std::string(65535, 'x'), 8), "!protocol");
  std::string negative = raw(0x82, "", 8);
  negative[2] = static_cast<char>(0x80);
  expect(negative, "!protocol");
}

TEST(WebSocketDecoder, MessageLimitIsExactAndSumsFragments) {
  expect(frame(Opcode::binary, std::string(100, 'x')), "binary:" + std::string(100, 'x'), 100);
  expect(frame(Opcode::binary, std::string(101, 'x')), "!tooLarge", 100);
  expect(frame(Opcode::binary, std::string(60, 'x'), false) + frame(Opcode::continuation, std::string(40, 'x')), "binary:" + std::string(100, 'x'), 100);
  expect(frame(Opcode::binary, std::string(60, 'x'), false) + frame(Opcode::continuation, std::string(41, 'x')), "!tooLarge", 100);
  // The header alone is enough to refuse.
  expect(frame(Opcode::binary, std::string(70'000, 'x')).substr(0, 14), "!tooLarge");
  // The limit is per message, not per connection.
  auto one = frame(Opcode::binary, std::string(100, 'x'));
  expect(one + one, "binary:" + std::string(100, 'x') + " binary:" + std::string(100, 'x'), 100);
}

TEST(WebSocketDecoder, HoldsNothingWhenIdle) {
  Decoder decoder(Side::server, kMax);
  auto bytes = frame(Opcode::binary, std::string(50'000, 'x'));
  auto in = std::span(bytes);
  auto first = in.first(30'000), rest = in.subspan(30'000);
  ASSERT_FALSE(decoder.next(first).value());
  EXPECT_GE(decoder.held(), 29'000u);
  ASSERT_EQ(decoder.next(rest).value()->payload.size(), 50'000u);
  ASSERT_FALSE(decoder.next(rest).value());
  EXPECT_LT(decoder.held(), 32u);
}

TEST(WebSocketUnmask, EveryLengthAndPhase) {
  for (std::size_t length = 0; length < 70; ++length) {
    for (std::size_t phase = 0; phase < 4; ++phase) {
      std::string data(length, '\0');
      for (std::size_t i = 0; i < length; ++i) data[i] = static_cast<char>(i * 7);
      unmask(data, kKey, phase);
      for (std::size_t i = 0; i < length; ++i) {
        ASSERT_EQ(static_cast<std::uint8_t>(data[i]), static_cast<std::uint8_t>(i * 7) ^ kKey[(i + phase) % 4]);
      }
    }
  }
}

TEST(WebSocketUtf8, EveryCodePointAndNothingElse) {
  auto encode = [](std::uint32_t c) {
    std::string s;
    if (c < 0x80) {
      s.push_back(static_cast<char>(c));
    } else if (c < 0x800) {
      s.push_back(static_cast<char>(0xC0 | c >> 6));
      s.push_back(static_cast<char>(0x80 | (c & 63)));
    } else if (c < 0x10000) {
      s.push_back(static_cast<char>(0xE0 | c >> 12));
      s.push_back(static_cast<char>(0x80 | (c >> 6 & 63)));
      s.push_back(static_cast<char>(0x80 | (c & 63)));
    } else {
      s.push_back(static_cast<char>(0xF0 | c >> 18));
      s.push_back(static_cast<char>(0x80 | (c >> 12 & 63)));
      s.push_back(static_cast<char>(0x80 | (c >> 6 & 63)));
      s.push_back(static_cast<char>(0x80 | (c & 63)));
    }
    return s;
  };
  for (std::uint32_t c = 0; c < 0x120000; ++c) {
    bool valid = c < 0x110000 && !(c >= 0xD800 && c <= 0xDFFF);
    ASSERT_EQ(valid_utf8(encode(c)), valid) << std::hex << c;
  }
  for (auto bad : {"\xC0\x80", "\xC1\xBF", "\xE0\x9F\xBF", "\xF0\x8F\xBF\xBF", "\xF8\x88\x80\x80\x80", "\x80", "\xBF", "\xFE", "\xFF", "a\xC3", "\xE2\x82"}) {
    EXPECT_FALSE(valid_utf8(bad));
  }
}

TEST(WebSocketEncoder, WhatOneSideWritesTheOtherReads) {
  for (std::size_t size : {0, 1, 125, 126, 127, 65535, 65536, 100'000}) {
    std::string payload(size, 'p'), bytes;
    append_frame(bytes, Opcode::binary, payload);
    EXPECT_EQ(bytes.size(), size + (size < 126 ? 2 : size < 65536 ? 4 : 10));
    EXPECT_EQ(decode(bytes, bytes.size(), Side::client, 1 << 20), "binary:" + payload);
    EXPECT_EQ(decode(frame(Opcode::binary, payload), 5000, Side::server, 1 << 20), "binary:" + payload);
  }
}

TEST(WebSocketEncoder, CloseReasonIsCutToWhatFits) {
  std::string bytes;
  append_close(bytes, 4500, std::string(200, 'r'), kKey);
  expect(bytes, "close:4500," + std::string(123, 'r'));
}

TEST(WebSocketHandshake, AcceptKeyOfTheRfc) { EXPECT_EQ(accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="); }

// The Autobahn test suite's cases as far as they concern a decoder (1: framing, 2: pings, 3: reserved bits, 4: opcodes,
// 5: fragmentation, 6: UTF-8, 7: close handling). 9 and 10 are about size and cutting, 12 and 13 about compression.
struct Case {
  const char* id;
  std::string bytes;
  std::string outcome;
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.id; }

class Autobahn : public testing::TestWithParam<Case> {};

TEST_P(Autobahn, Case) { expect(GetParam().bytes, GetParam().outcome); }

std::vector<Case> autobahn_cases() {
  using enum Opcode;
  const std::string kosme = "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5";
  std::vector<Case> cases;
  for (std::size_t n : {0, 125, 126, 127, 128, 65535, 65536}) {
    cases.push_back({"1.1", frame(text, std::string(n, '*')), "text:" + std::string(n, '*')});
    cases.push_back({"1.2", frame(binary, std::string(n, '\xfe')), "binary:" + std::string(n, '\xfe')});
  }
  auto add = [&](const char* id, std::string bytes, std::string outcome) { cases.push_back({id, std::move(bytes), std::move(outcome)}); };
  add("2.1", frame(ping, ""), "ping:");
  add("2.2", frame(ping, "Hello, world!"), "ping:Hello, world!");
  add("2.3", frame(ping, std::string("\x00\xff\xfe\xfd\xfc\xfb\x00\xff", 8)), "ping:" + std::string("\x00\xff\xfe\xfd\xfc\xfb\x00\xff", 8));
  add("2.4", frame(ping, std::string(125, '\xfe')), "ping:" + std::string(125, '\xfe'));
  add("2.5", raw(0x89, std::string(126, '\xfe'), 2), "!protocol");
  add("2.7", frame(pong, ""), "pong:");
  add("2.8", frame(pong, "unsolicited"), "pong:unsolicited");
  add("2.9", frame(pong, "unsolicited") + frame(ping, "p"), "pong:unsolicited ping:p");
  for (auto bits : {0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70}) add("3.1", raw(static_cast<std::uint8_t>(0x81 | bits), "x"), "!protocol");
  add("3.2", frame(text, "a") + raw(0xA1, "b") + frame(ping, ""), "text:a !protocol");
  add("3.6", raw(0x8A | 0x60, "x"), "!protocol");
  add("3.7", raw(0x88 | 0x70, ""), "!protocol");
  for (std::uint8_t opcode : {3, 4, 5, 6, 7, 11, 12, 13, 14, 15}) {
    add("4.1", raw(static_cast<std::uint8_t>(0x80 | opcode), ""), "!protocol");
    add("4.2", frame(text, "a") + raw(static_cast<std::uint8_t>(0x80 | opcode), "x"), "text:a !protocol");
  }
  add("5.1", frame(ping, "a", false) + frame(continuation, "b"), "!protocol");
  add("5.2", frame(pong, "a", false) + frame(continuation, "b"), "!protocol");
  add("5.3", frame(text, "frag1", false) + frame(continuation, "frag2"), "text:frag1frag2");
  add("5.6", frame(text, "frag1", false) + frame(ping, "p") + frame(continuation, "frag2"), "ping:p text:frag1frag2");
  add("5.9", frame(continuation, "x") + frame(text, "y"), "!protocol");
  add("5.10", frame(continuation, "x", false) + frame(text, "y"), "!protocol");
  add("5.15", frame(text, "1", false) + frame(continuation, "2") + frame(continuation, "3", false) + frame(text, "4"), "text:12 !protocol");
  add("5.18", frame(text, "a", false) + frame(text, "b"), "!protocol");
  add("5.19",
      frame(text, "1", false) + frame(continuation, "2", false) + frame(ping, "p1") + frame(continuation, "3", false) + frame(continuation, "4", false) +
          frame(ping, "p2") + frame(continuation, "5"),
      "ping:p1 ping:p2 text:12345");
  add("6.1.1", frame(text, ""), "text:");
  add("6.1.2", frame(text, "", false) + frame(continuation, "", false) + frame(continuation, ""), "text:");
  add("6.1.3", frame(text, "", false) + frame(continuation, "middle", false) + frame(continuation, ""), "text:middle");
  add("6.2.1", frame(text, kosme), "text:" + kosme);
  add(
      "6.2.3",
      [&] {
        std::string bytes = frame(text, kosme.substr(0, 1), false);
        for (std::size_t i = 1; i < kosme.size(); ++i) bytes += frame(continuation, kosme.substr(i, 1), i + 1 == kosme.size());
        return bytes;
      }(),
      "text:" + kosme);
  add("6.3.1", frame(text, kosme + "\xed\xa0\x80" + "edited"), "!utf8");
  add("6.4.1", frame(text, kosme, false) + frame(continuation, "\xf4\x90\x80\x80", false), "!utf8");  // fails before the message is whole
  add("6.4.2", frame(text, kosme + "\xf4", false) + frame(continuation, "\x90", false), "!utf8");
  add("6.5", frame(text, std::string("a\0b", 3)), "text:" + std::string("a\0b", 3));
  for (const char* bad : {"\xf8\x88\x80\x80\x80", "\xfc\x84\x80\x80\x80\x80", "\xc3", "\xe2\x82", "\x80", "\xbf", "\x80\xbf\x80", "\xfe", "\xff", "\xc0\xaf",
                          "\xe0\x80\xaf", "\xf0\x80\x80\xaf", "\xc1\xbf", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xed\xbf\xbf", "\xed\xa0\x80\xed\xb0\x80"}) {
    add("6.10", frame(text, bad), "!utf8");
  }
  for (const char* good :
       {"\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf", "\xed\x9f\xbf", "\xee\x80\x80", "\xef\xbf\xbe"}) {
    add("6.22", frame(text, good), std::string("text:") + good);
  }
  add("6.b", frame(binary, "\xff\xfe"), "binary:\xff\xfe");
  add("7.1.2", frame(close, close_payload(1000)) + frame(close, close_payload(1000)), "close:1000");
  add("7.1.3", frame(close, close_payload(1000)) + frame(ping, "x"), "close:1000");
  add("7.1.5", frame(text, "a", false) + frame(close, close_payload(1000)) + frame(continuation, "b"), "close:1000");
  add("7.3.1", frame(close, ""), "close:0");
  add("7.3.2", frame(close, "a"), "!protocol");
  add("7.3.4", frame(close, close_payload(1000, "Hello")), "close:1000,Hello");
  add("7.3.5", frame(close, close_payload(1000, std::string(123, '*'))), "close:1000," + std::string(123, '*'));
  add("7.3.6", raw(0x88, close_payload(1000, std::string(124, '*')), 2), "!protocol");
  add("7.5.1", frame(close, close_payload(1000, "\xce\xba\xed\xa0\x80")), "!utf8");
  for (std::uint16_t code : {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999}) {
    add("7.7", frame(close, close_payload(code)), fmt::format("close:{}", code));
  }
  for (std::uint16_t code : {0, 999, 1004, 1005, 1006, 1014, 1015, 1016, 1100, 2000, 2999, 5000, 65535}) {
    add("7.9", frame(close, close_payload(code)), "!protocol");
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(WebSocket, Autobahn, testing::ValuesIn(autobahn_cases()), [](const auto& info) {
  std::string name = fmt::format("{}_{}", info.param.id, info.index);
  for (char& c : name) {
    if (c == '.') c = '_';
  }
  return name;
});

}  // namespace
}  // namespace parley::gateway::websocket
