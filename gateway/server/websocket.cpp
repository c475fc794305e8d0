#include "gateway/server/websocket.h"

#include <openssl/evp.h>
#include <openssl/sha.h>

#include <algorithm>
#include <cstring>

namespace parley::gateway::websocket {

namespace {

bool is_control(Opcode opcode) { return static_cast<std::uint8_t>(opcode) >= 8; }

// The automaton of RFC 3629 section 4. State 0: between characters; the others say what the next byte may be.
enum Utf8State : std::uint8_t { kStart, kOne, kTwo, kThree, kE0, kEd, kF0, kF4, kBad };

std::uint8_t step(std::uint8_t state, std::uint8_t byte) {
  auto within = [byte](std::uint8_t low, std::uint8_t high) { return byte >= low && byte <= high; };
  switch (state) {
    case kStart:
      if (byte < 0x80) return kStart;
      if (within(0xC2, 0xDF)) return kOne;
      if (byte == 0xE0) return kE0;
      if (byte == 0xED) return kEd;
      if (within(0xE1, 0xEF)) return kTwo;
      if (byte == 0xF0) return kF0;
      if (within(0xF1, 0xF3)) return kThree;
      if (byte == 0xF4) return kF4;
      return kBad;
    case kOne:
      return within(0x80, 0xBF) ? kStart : kBad;
    case kTwo:
      return within(0x80, 0xBF) ? kOne : kBad;
    case kThree:
      return within(0x80, 0xBF) ? kTwo : kBad;
    case kE0:
      return within(0xA0, 0xBF) ? kOne : kBad;
    case kEd:
      return within(0x80, 0x9F) ? kOne : kBad;  // U+D800..DFFF
    case kF0:
      return within(0x90, 0xBF) ? kTwo : kBad;
    case kF4:
      return within(0x80, 0x8F) ? kTwo : kBad;  // above U+10FFFF
    default:
      return kBad;
  }
}

}  // namespace

bool Utf8::feed(std::string_view piece) {
  const char* at = piece.data();
  const char* end = at + piece.size();
  while (at != end) {
    if (state_ == kStart) {  // most text is ASCII: eight bytes at a time
      while (end - at >= 8) {
        std::uint64_t word;
        std::memcpy(&word, at, 8);
        if (word & 0x8080808080808080ull) break;
        at += 8;
      }
      if (at == end) break;
    }
    state_ = step(state_, static_cast<std::uint8_t>(*at++));
    if (state_ == kBad) return false;
  }
  return state_ != kBad;
}

bool valid_utf8(std::string_view text) {
  Utf8 utf8;
  return utf8.feed(text) && utf8.complete();
}

bool valid_close_code(std::uint16_t code) {
  if (code >= 3000) return code < 5000;
  return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1013);
}

CloseFrame parse_close(std::string_view payload) {
  if (payload.size() < 2) return {};
  auto high = static_cast<std::uint8_t>(payload[0]), low = static_cast<std::uint8_t>(payload[1]);
  return {static_cast<std::uint16_t>(high << 8 | low), payload.substr(2)};
}

void unmask(std::span<char> data, std::array<std::uint8_t, 4> key, std::size_t phase) {
  std::array<std::uint8_t, 8> turned;
  for (std::size_t i = 0; i < 8; ++i) turned[i] = key[(phase + i) & 3];
  std::uint64_t wide;
  std::memcpy(&wide, turned.data(), 8);
  char* at = data.data();
  std::size_t left = data.size();
  for (; left >= 8; at += 8, left -= 8) {  // the compiler makes vectors of it
    std::uint64_t word;
    std::memcpy(&word, at, 8);
    word ^= wide;
    std::memcpy(at, &word, 8);
  }
  for (std::size_t i = 0; i < left; ++i) at[i] = static_cast<char>(at[i] ^ turned[i]);
}

std::unexpected<Fault> Decoder::fail(Fault fault) {
  state_ = State::ended;
  std::string().swap(held_);
  return std::unexpected(fault);
}

// Gives back what the last message handed out lay in; small buffers are not worth keeping either: idle means empty.
void Decoder::release() {
  if (!release_held_) return;
  release_held_ = false;
  if (message_ == Opcode::continuation) {
    std::string().swap(held_);
  } else {
    held_.resize(message_bytes_);  // a control frame between fragments lay behind them
  }
}

// True once a whole header is there and checked.
std::expected<bool, Fault> Decoder::take_header(std::span<char>& in) {
  auto wanted = [this]() -> std::size_t {
    if (header_have_ < 2) return 2;
    std::size_t n = 2;
    auto length = header_[1] & 0x7F;
    if (length == 126) n += 2;
    if (length == 127) n += 8;
    if (header_[1] & 0x80) n += 4;
    return n;
  };
  bool checked_start = false;
  while (header_have_ < wanted()) {
    auto n = std::min<std::size_t>(wanted() - header_have_, in.size());
    if (n == 0) return false;
    std::memcpy(header_.data() + header_have_, in.data(), n);
    in = in.subspan(n);
    header_have_ = static_cast<std::uint8_t>(header_have_ + n);
    if (header_have_ >= 2 && !checked_start) {
      // What the first two bytes already show is told at once, not only when the rest has come.
      checked_start = true;
      bool masked = header_[1] & 0x80;
      if ((header_[0] & 0x70) || masked != (side_ == Side::server)) return fail(Fault::protocol);
    }
  }
  std::uint64_t length = header_[1] & 0x7F;
  std::size_t at = 2;
  auto read_big_endian = [&](std::size_t n) {
    length = 0;
    for (std::size_t i = 0; i < n; ++i) length = length << 8 | header_[at++];
  };
  if (length == 126) {
    read_big_endian(2);
    if (length < 126) return fail(Fault::protocol);  // RFC 6455 section 5.2: the minimal number of bytes
  } else if (length == 127) {
    read_big_endian(8);
    if (length < 65536 || length >> 63) return fail(Fault::protocol);
  }
  if (header_[1] & 0x80) std::memcpy(key_.data(), header_.data() + at, 4);
  if (auto ok = check_header(length); !ok) return std::unexpected(ok.error());
  header_have_ = 0;
  frame_bytes_ = frame_left_ = static_cast<std::uint32_t>(length);
  state_ = State::payload;
  return true;
}

std::expected<void, Fault> Decoder::check_header(std::uint64_t length) {
  fin_ = header_[0] & 0x80;
  opcode_ = static_cast<Opcode>(header_[0] & 0x0F);
  switch (opcode_) {
    case Opcode::close:
    case Opcode::ping:
    case Opcode::pong:
      if (!fin_ || length > 125) return fail(Fault::protocol);
      return {};
    case Opcode::text:
    case Opcode::binary:
      if (message_ != Opcode::continuation) return fail(Fault::protocol);
      break;
    case Opcode::continuation:
      if (message_ == Opcode::continuation) return fail(Fault::protocol);
      break;
    default:
      return fail(Fault::protocol);
  }
  if (length > max_message_ - message_bytes_) return fail(Fault::too_large);
  if (opcode_ != Opcode::continuation) {
    message_ = opcode_;
    utf8_.reset();
  }
  return {};
}

std::expected<std::optional<Message>, Fault> Decoder::next(std::span<char>& in) {
  release();
  for (;;) {
    if (state_ == State::ended) {
      in = {};
      return std::nullopt;
    }
    if (state_ == State::header) {
      auto whole = take_header(in);
      if (!whole) return std::unexpected(whole.error());
      if (!*whole) return std::nullopt;
    }
    auto piece = in.first(std::min<std::size_t>(frame_left_, in.size()));
    in = in.subspan(piece.size());
    if (side_ == Side::server) unmask(piece, key_, frame_bytes_ - frame_left_);
    frame_left_ -= static_cast<std::uint32_t>(piece.size());
    std::string_view text(piece.data(), piece.size());
    bool data = !is_control(opcode_);
    if (data && message_ == Opcode::text && !utf8_.feed(text)) return fail(Fault::utf8);

    bool whole_in_place = piece.size() == frame_bytes_ && (!data || (fin_ && message_bytes_ == 0));
    if (whole_in_place) {
      auto out = finish_frame(text, false);
      if (!out || *out) return out;
      continue;
    }
    held_.append(text);
    if (data) message_bytes_ += static_cast<std::uint32_t>(text.size());
    if (frame_left_ != 0) return std::nullopt;
    auto out = finish_frame(data ? std::string_view(held_) : std::string_view(held_).substr(message_bytes_), true);
    if (!out || *out) return out;
  }
}

// Nothing: a fragment ended, the message goes on.
std::expected<std::optional<Message>, Fault> Decoder::finish_frame(std::string_view payload, bool held) {
  state_ = State::header;
  release_held_ = held;
  if (is_control(opcode_)) {
    if (opcode_ == Opcode::close) {
      auto close = parse_close(payload);
      if (payload.size() == 1 || (close.code && !valid_close_code(*close.code))) return fail(Fault::protocol);
      if (!valid_utf8(close.reason)) return fail(Fault::utf8);
      state_ = State::ended;
    }
    return Message{opcode_, payload};
  }
  if (!fin_) {
    release_held_ = false;
    return std::nullopt;
  }
  if (message_ == Opcode::text && !utf8_.complete()) return fail(Fault::utf8);
  auto opcode = message_;
  message_ = Opcode::continuation;
  message_bytes_ = 0;
  release_held_ = held;
  return Message{opcode, payload};
}

void append_frame(std::string& out, Opcode opcode, std::string_view payload, std::optional<std::array<std::uint8_t, 4>> key, bool fin) {
  std::array<char, 14> header;
  std::size_t n = 0;
  auto put = [&](std::uint64_t value) { header[n++] = static_cast<char>(value); };
  put((fin ? 0x80u : 0u) | static_cast<std::uint8_t>(opcode));
  std::uint8_t mask = key ? 0x80 : 0;
  if (payload.size() < 126) {
    put(mask | payload.size());
  } else if (payload.size() < 65536) {
    put(mask | 126u);
    put(payload.size() >> 8);
    put(payload.size());
  } else {
    put(mask | 127u);
    for (int shift = 56; shift >= 0; shift -= 8) put(payload.size() >> shift);
  }
  if (key) {
    for (auto byte : *key) put(byte);
  }
  out.reserve(out.size() + n + payload.size());
  out.append(header.data(), n);
  out.append(payload);
  if (key) unmask(std::span(out).last(payload.size()), *key);
}

void append_close(std::string& out, std::uint16_t code, std::string_view reason, std::optional<std::array<std::uint8_t, 4>> key) {
  std::string payload;
  payload.push_back(static_cast<char>(code >> 8));
  payload.push_back(static_cast<char>(code));
  payload.append(reason.substr(0, 123));
  append_frame(out, Opcode::close, payload, key);
}

std::string accept_key(std::string_view key) {
  std::string text(key);
  text += "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  std::array<unsigned char, SHA_DIGEST_LENGTH> digest;
  SHA1(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data());
  std::array<unsigned char, 29> base64;  // 28 characters and EVP's terminating zero
  EVP_EncodeBlock(base64.data(), digest.data(), static_cast<int>(digest.size()));
  return std::string(reinterpret_cast<const char*>(base64.data()), 28);
}

}  // namespace parley::gateway::websocket
