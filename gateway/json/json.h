// JSON <-> messages of the client protocol, by the canonical proto3 JSON rules of protocol.md (D1, D3, D9).
//
// One mechanism for every message: tables made from the descriptors say name, number and type of each field, and text is
// transcoded to and from protobuf's wire form by them. So a new field of the schema needs no code here. Reading is one pass:
// grammar (RFC 8259) and schema are judged apart, because they end differently (close against nack, D1).
// A Reader and a Writer keep scratch buffers between calls: one of each per thread.
//
// Bound: work and memory are linear in the text; nesting is followed only as deep as the schema goes, deeper text is
// skipped without recursion.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "parley/client/v1/client.pb.h"

namespace parley::gateway::json {

namespace client = parley::client::v1;

// Not one JSON object.
struct NotJson {
  std::string message;
};

// A JSON object that is not a valid message: what can be told of the request it was meant to be.
struct Invalid {
  std::uint32_t req_id = 0;
  std::string client_msg_id, op_id;
  std::string message;
};

template <class T>
using Read = std::variant<T, NotJson, Invalid>;

class Reader {
 public:
  // `text` is known to be UTF-8 (the WebSocket decoder saw to that).
  Read<client::Frame> frame(std::string_view text);
  // Any other message of the schema, `text` from anywhere. `out` is cleared first.
  Read<std::monostate> message(std::string_view text, google::protobuf::Message& out);

 private:
  std::string wire_, scratch_;
};

enum class EmptyLists : std::uint8_t {
  omit,
  show,  // of the outermost message: what REST clients like to iterate over without asking
};

class Writer {
 public:
  // Appends.
  void write(const google::protobuf::Message& message, std::string& out, EmptyLists empty = EmptyLists::omit);

 private:
  std::string wire_;
};

// Text as a JSON string, quotes included.
void append_string(std::string& out, std::string_view text);

// Whether a string field of this message (serialised, and known to be well formed) holds U+0000, which no string may (D9).
// Also true for what hides things from a look: protobuf groups, which the schema does not have.
bool has_nul(const google::protobuf::Descriptor& type, std::string_view wire);

}  // namespace parley::gateway::json
