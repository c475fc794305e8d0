// Frames as a connection's subprotocol has them: `parley.v1.pb` (binary) or `parley.v1.json` (text).
//
// An Outgoing is encoded once per encoding, however many connections get it: the complete WebSocket message is kept in it.
// One shard's thread only.
#pragma once

#include <optional>
#include <string_view>

#include "gateway/core/core.h"
#include "gateway/json/json.h"
#include "gateway/server/websocket.h"

namespace parley::gateway {

enum class Encoding : std::uint8_t { protobuf, json };

std::string_view subprotocol(Encoding encoding);
// D11: the first of the client's list (the header's value) that the server knows.
std::optional<Encoding> choose_subprotocol(std::string_view offered);

class Codec {
 public:
  // D1. NotJson stands for bytes that are not protobuf, too, and for the other encoding's opcode.
  json::Read<client::Frame> read(Encoding encoding, websocket::Opcode opcode, std::string_view payload);

  // The complete WebSocket message.
  std::string_view wire(const Outgoing& frame, Encoding encoding);

 private:
  json::Reader reader_;
  json::Writer writer_;
  std::string scratch_;
};

}  // namespace parley::gateway
