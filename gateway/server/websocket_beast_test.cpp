// Beast as the oracle: whatever bytes a client sends, our decoder and Beast's agree on what they mean.
#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <boost/beast/_experimental/test/stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/websocket/stream.hpp>
#include <random>
#include <string>
#include <vector>

#include "gateway/server/websocket.h"

namespace parley::gateway::websocket {
namespace {

namespace beast = boost::beast;

constexpr std::uint32_t kMax = 300;

struct Outcome {
  std::vector<std::pair<char, std::string>> seen;  // 't', 'b', 'p' (ping), 'o' (pong), 'c' (close)
  char end = '.';                                  // '.' bytes used up, 'c' closed, 'l' too large, 'x' any other fault
  bool operator==(const Outcome&) const = default;
};

void PrintTo(const Outcome& outcome, std::ostream* out) {
  for (auto& [kind, payload] : outcome.seen) *out << kind << '(' << testing::PrintToString(payload) << ") ";
  *out << outcome.end;
}

Outcome ours(std::string bytes, std::mt19937& random) {
  Decoder decoder(Side::server, kMax);
  Outcome outcome;
  for (std::size_t at = 0; at < bytes.size();) {
    auto n = std::min<std::size_t>(1 + random() % 200, bytes.size() - at);
    auto in = std::span(bytes).subspan(at, n);
    at += n;
    for (;;) {
      auto message = decoder.next(in);
      if (!message) {
        outcome.end = message.error() == Fault::too_large ? 'l' : 'x';
        return outcome;
      }
      if (!*message) break;
      auto payload = std::string((*message)->payload);
      switch ((*message)->opcode) {
        case Opcode::text:
          outcome.seen.emplace_back('t', payload);
          break;
        case Opcode::binary:
          outcome.seen.emplace_back('b', payload);
          break;
        case Opcode::ping:
          outcome.seen.emplace_back('p', payload);
          break;
        case Opcode::pong:
          outcome.seen.emplace_back('o', payload);
          break;
        default:
          outcome.seen.emplace_back('c', std::string(parse_close(payload).reason));
          outcome.end = 'c';
          return outcome;
      }
    }
  }
  return outcome;
}

Outcome beasts(const std::string& bytes) {
  boost::asio::io_context io;
  beast::websocket::stream<beast::test::stream> socket(io);
  beast::test::stream peer(io);
  socket.next_layer().connect(peer);
  beast::http::request<beast::http::string_body> request{beast::http::verb::get, "/", 11};
  request.set(beast::http::field::host, "h");
  request.set(beast::http::field::upgrade, "websocket");
  request.set(beast::http::field::connection, "upgrade");
  request.set(beast::http::field::sec_websocket_key, "dGhlIHNhbXBsZSBub25jZQ==");
  request.set(beast::http::field::sec_websocket_version, "13");
  beast::error_code ec;
  socket.accept(request, ec);
  EXPECT_FALSE(ec);
  socket.read_message_max(kMax);
  socket.next_layer().append(bytes);
  peer.close();

  Outcome outcome;
  bool bad_code = false;
  socket.control_callback([&](beast::websocket::frame_type kind, beast::string_view payload) {
    // Beast lets close codes from 5000 on pass, which RFC 6455 section 7.4.2 does not define.
    if (kind == beast::websocket::frame_type::close && socket.reason().code >= 5000) {
      bad_code = true;
      return;
    }
    char c = kind == beast::websocket::frame_type::ping ? 'p' : kind == beast::websocket::frame_type::pong ? 'o' : 'c';
    outcome.seen.emplace_back(c, std::string(payload));
  });
  for (;;) {
    beast::flat_buffer buffer;
    socket.read(buffer, ec);
    if (ec) break;
    std::string payload(static_cast<const char*>(buffer.data().data()), buffer.size());
    // Beast 1.81 does not look whether a text is whole when its last fragment is empty (RFC 6455 section 8.1 wants it).
    if (socket.got_text() && !valid_utf8(payload)) {
      outcome.end = 'x';
      return outcome;
    }
    outcome.seen.emplace_back(socket.got_text() ? 't' : 'b', std::move(payload));
  }
  if (ec == beast::websocket::error::closed) {
    outcome.end = bad_code ? 'x' : 'c';
  } else if (ec == beast::websocket::error::message_too_big) {
    outcome.end = 'l';
  } else if (ec.category() == beast::websocket::make_error_code(beast::websocket::error::closed).category()) {
    outcome.end = 'x';
  }
  return outcome;
}

// Mostly right frames with a fault here and there; a purely random stream would die at its first byte.
std::string make_bytes(std::mt19937& random) {
  auto chance = [&](unsigned percent) { return random() % 100 < percent; };
  std::string out;
  bool open = false;
  auto frames = 1 + random() % 8;
  for (unsigned i = 0; i < frames; ++i) {
    static constexpr Opcode kControl[] = {Opcode::ping, Opcode::pong};
    bool control = chance(25), close = !control && chance(6);
    bool fin = control || close ? !chance(2) : chance(60);
    Opcode opcode = control ? kControl[random() % 2] : close ? Opcode::close : open ? Opcode::continuation : (chance(60) ? Opcode::text : Opcode::binary);
    if (chance(2)) opcode = static_cast<Opcode>(random() % 16);
    if (!control && !close) open = !fin;

    std::string payload;
    auto size = chance(80) ? random() % 30 : random() % 400;
    if ((control || close) && !chance(3)) size %= 124;
    if (close && !chance(10)) {
      static constexpr std::uint16_t kCodes[] = {1000, 1001, 1002, 1004, 1005, 1006, 1007, 1011, 1012, 1013, 1014, 1015, 2999, 3000, 4999, 999};
      auto code = kCodes[random() % std::size(kCodes)];
      payload = {static_cast<char>(code >> 8), static_cast<char>(code)};
      size %= 120;
    }
    static constexpr std::string_view kPieces[] = {"a", "bc", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xed\x9f\xbf", "hello, world"};
    while (payload.size() < size) payload += kPieces[random() % std::size(kPieces)];
    if (chance(5)) payload += static_cast<char>(random());
    if (chance(10) && !payload.empty() && !control && !close) payload.pop_back();  // cuts a character, perhaps across fragments

    auto begin = out.size();
    append_frame(out, opcode, payload, std::array<std::uint8_t, 4>{1, static_cast<std::uint8_t>(random()), 3, 0xF0}, fin);
    if (chance(2)) out[begin] = static_cast<char>(out[begin] | 0x10 << random() % 3);
    if (chance(2)) out[begin + 1] = static_cast<char>(random());
  }
  if (chance(10)) out.resize(random() % out.size());
  return out;
}

TEST(WebSocketAgainstBeast, RandomStreams) {
  std::mt19937 random(20251121);
  int faults = 0, closed = 0, clean = 0, early = 0;
  for (int i = 0; i < 20'000; ++i) {
    auto bytes = make_bytes(random);
    auto theirs = beasts(bytes);
    auto mine = ours(bytes, random);
    // Where the stream ends inside a frame, we may already have refused what Beast still waits to see whole.
    if (theirs.end == '.' && mine.end == 'x' && mine.seen == theirs.seen) {
      ++early;
      continue;
    }
    ASSERT_EQ(mine, theirs) << "round " << i << " " << testing::PrintToString(bytes);
    (mine.end == '.' ? clean : mine.end == 'c' ? closed : faults)++;
  }
  // The generator must reach every kind of end, or agreement means little.
  EXPECT_LT(early, 400);
  EXPECT_GT(faults, 500);
  EXPECT_GT(closed, 500);
  EXPECT_GT(clean, 500);
}

}  // namespace
}  // namespace parley::gateway::websocket
