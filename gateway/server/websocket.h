// The WebSocket wire (RFC 6455) without a socket: bytes in, messages and control frames out; frames out as bytes.
//
// Both sides: the server's decoder demands masked frames, the client's refuses them. Extensions are not negotiated, so a
// reserved bit is an error. The decoder borrows the caller's read buffer: a frame that lies whole in it is unmasked and
// handed out in place; only what is cut by the buffer's end is copied. An idle decoder holds no memory of its own.
// One decoder belongs to one connection and its thread.
//
// Bound: `max_message` bytes for a message, fragments summed; a longer one is Fault::too_large as soon as a frame header
// says so. Control payloads are at most 125 bytes by the RFC.
#pragma once

#include <array>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace parley::gateway::websocket {

enum class Side : std::uint8_t { server, client };

enum class Opcode : std::uint8_t { continuation = 0, text = 1, binary = 2, close = 8, ping = 9, pong = 10 };

enum class Fault : std::uint8_t {
  protocol,   // 1002: broken framing
  utf8,       // 1007: a text message or close reason that is not UTF-8
  too_large,  // 1009: longer than max_message
};

// Close codes of RFC 6455 section 7.4.1 that a Parley endpoint itself may use.
inline constexpr std::uint16_t kCloseNormal = 1000, kCloseProtocol = 1002, kCloseUtf8 = 1007;

// A whole message, fragments joined (text, binary), or a control frame (close, ping, pong).
struct Message {
  Opcode opcode;
  std::string_view payload;  // until the next call of next()
};

struct CloseFrame {
  std::optional<std::uint16_t> code;
  std::string_view reason;
};
// The parts of a close frame's payload that the decoder has let through.
CloseFrame parse_close(std::string_view payload);
// RFC 6455 section 7.4: codes that may stand in a close frame.
bool valid_close_code(std::uint16_t code);

// Strict UTF-8 (RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF), byte by byte across pieces.
class Utf8 {
 public:
  bool feed(std::string_view piece);  // false: no continuation can make it valid
  bool complete() const { return state_ == 0; }
  void reset() { state_ = 0; }

 private:
  std::uint8_t state_ = 0;
};
bool valid_utf8(std::string_view text);

// XORs `data` with the key, beginning at key byte `phase` (0-3).
void unmask(std::span<char> data, std::array<std::uint8_t, 4> key, std::size_t phase = 0);

class Decoder {
 public:
  Decoder(Side side, std::uint32_t max_message) : max_message_(max_message), side_(side) {}

  // Consumes from the front of `in` (and unmasks it in place) up to the end of the next message or control frame.
  // Nothing means `in` is used up and more bytes are needed. After a fault or a close frame everything that follows is
  // discarded (RFC 6455 section 1.4).
  std::expected<std::optional<Message>, Fault> next(std::span<char>& in);

  // Bytes copied because the buffer ended inside a message.
  std::size_t held() const { return held_.capacity(); }

 private:
  enum class State : std::uint8_t { header, payload, ended };

  std::expected<bool, Fault> take_header(std::span<char>& in);
  std::expected<void, Fault> check_header(std::uint64_t length);
  std::expected<std::optional<Message>, Fault> finish_frame(std::string_view payload, bool held);
  std::unexpected<Fault> fail(Fault fault);
  void release();

  std::string held_;  // the message so far, behind it a control frame's part
  std::uint32_t max_message_;
  std::uint32_t message_bytes_ = 0;  // of the unfinished message in held_
  std::uint32_t frame_bytes_ = 0;    // of the frame being read
  std::uint32_t frame_left_ = 0;
  std::array<std::uint8_t, 4> key_{};
  std::array<std::uint8_t, 14> header_{};
  std::uint8_t header_have_ = 0;
  Side side_;
  State state_ = State::header;
  Opcode opcode_ = Opcode::continuation;  // of the frame being read
  bool fin_ = false;
  Opcode message_ = Opcode::continuation;  // of the unfinished fragmented message; continuation: none
  bool release_held_ = false;              // what was handed out last lies in held_
  Utf8 utf8_;
};

// Appends one frame. A client passes the masking key (RFC 6455 section 5.3 wants it unpredictable); a server none.
void append_frame(std::string& out, Opcode opcode, std::string_view payload, std::optional<std::array<std::uint8_t, 4>> key = std::nullopt, bool fin = true);
// `reason` is cut to the 123 bytes a close frame has room for.
void append_close(std::string& out, std::uint16_t code, std::string_view reason, std::optional<std::array<std::uint8_t, 4>> key = std::nullopt);

// Sec-WebSocket-Accept for a Sec-WebSocket-Key (RFC 6455 section 4.2.2).
std::string accept_key(std::string_view key);

}  // namespace parley::gateway::websocket
