// From a client frame to what the log will hold: shape checks (the first of D57) and the record without its attempt.
//
// Pure functions. An Operation owns everything its record points into, so it can be produced again after a look-up (R8).
#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "chat/codes.h"
#include "chat/ids.h"
#include "chat/limits.h"
#include "chat/record.h"
#include "parley/client/v1/client.pb.h"

namespace parley::gateway {

namespace client = parley::client::v1;

struct Fault {
  chat::Code code;
  std::string message;
};

// A message that an operation refers to and that its sender must be able to see (D24).
struct Reference {
  chat::ConversationId conversation;
  chat::Seq seq;
};

struct Operation {
  client::Frame frame;    // strings that the record points to
  std::string body;       // of a message, as the log holds it
  chat::Record record;    // without origin, since, salt, device and limits, which each attempt gets
  std::size_t bytes = 0;  // of the frame as it came
  bool resend = false;
  std::uint32_t turn = 0;                // 0: taken as it comes (D65)
  std::vector<chat::UserId> must_exist;  // D49
  std::vector<Reference> must_see;       // D24
  std::string traceparent;               // as the client sent it, if it is one
};

struct Shape {
  chat::UserId user;
  chat::TimeMs now;  // wall clock, for expiresAtMs
  const chat::Limits& limits;
  bool scheduled_sends;
};

// Whether a frame's body is a send or an operation with an opId, all of which `operation` understands.
bool is_operation(const client::Frame& frame);
std::expected<std::unique_ptr<Operation>, Fault> operation(client::Frame&& frame, const Shape& shape);

// The ids of a request for its nack (D1, D2).
struct RequestIds {
  std::string client_msg_id, op_id;
};
RequestIds request_ids(const client::Frame& frame);

// 1-64 of A-Z a-z 0-9 . _ -
bool valid_device(std::string_view device);
// W3C trace context, version 00.
bool valid_traceparent(std::string_view text);

}  // namespace parley::gateway
