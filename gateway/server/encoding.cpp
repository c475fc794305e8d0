#include "gateway/server/encoding.h"

namespace parley::gateway {

std::string_view subprotocol(Encoding encoding) { return encoding == Encoding::json ? "parley.v1.json" : "parley.v1.pb"; }

std::optional<Encoding> choose_subprotocol(std::string_view offered) {
  while (!offered.empty()) {
    auto comma = std::min(offered.find(','), offered.size());
    auto name = offered.substr(0, comma);
    offered.remove_prefix(std::min(comma + 1, offered.size()));
    while (!name.empty() && (name.front() == ' ' || name.front() == '\t')) name.remove_prefix(1);
    while (!name.empty() && (name.back() == ' ' || name.back() == '\t')) name.remove_suffix(1);
    for (auto encoding : {Encoding::protobuf, Encoding::json}) {
      if (name == subprotocol(encoding)) return encoding;
    }
  }
  return std::nullopt;
}

json::Read<client::Frame> Codec::read(Encoding encoding, websocket::Opcode opcode, std::string_view payload) {
  if (encoding == Encoding::json) {
    if (opcode != websocket::Opcode::text) return json::NotJson{"a binary frame on the JSON protocol"};
    return reader_.frame(payload);
  }
  if (opcode != websocket::Opcode::binary) return json::NotJson{"a text frame on the protobuf protocol"};
  client::Frame frame;
  if (!frame.ParseFromArray(payload.data(), static_cast<int>(payload.size()))) return json::NotJson{"not a protobuf Frame"};
  if (payload.find('\0') != payload.npos && json::has_nul(*client::Frame::descriptor(), payload)) {
    json::Invalid invalid{.req_id = frame.req_id(), .client_msg_id = {}, .op_id = {}, .message = "a string holds U+0000"};
    if (frame.has_send()) invalid.client_msg_id = frame.send().client_msg_id();
    return invalid;
  }
  return frame;
}

std::string_view Codec::wire(const Outgoing& frame, Encoding encoding) {
  auto& wire = encoding == Encoding::json ? frame.wire_json : frame.wire_protobuf;
  if (!wire.empty()) return wire;
  scratch_.clear();
  if (encoding == Encoding::json) {
    writer_.write(frame.frame(), scratch_);
    websocket::append_frame(wire, websocket::Opcode::text, scratch_);
  } else {
    frame.frame().AppendToString(&scratch_);
    websocket::append_frame(wire, websocket::Opcode::binary, scratch_);
  }
  return wire;
}

}  // namespace parley::gateway
