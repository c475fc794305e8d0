// The one list of error codes and close codes (protocol.md "Codes", "Close codes", D10, D48).
#pragma once

#include <cstdint>
#include <string_view>

namespace parley::chat {

// Numbers travel in the log link; never renumber.
enum class Code : std::uint8_t {
  ok = 0,
  invalid = 1,
  unauthenticated = 2,
  forbidden = 3,
  not_member = 4,
  muted = 5,
  blocked = 6,
  not_found = 7,
  conflict = 8,
  too_large = 9,
  rate_limited = 10,
  out_of_turn = 11,
  recall_expired = 12,
  group_full = 13,
  unavailable = 14,
  unsupported = 15,
  internal = 16,
  stale = 17,  // R8: between fold and gateway only, never shown to a client
};

// The published name ("notMember"); "internal" for anything else.
std::string_view name(Code code);
// D48.
int http_status(Code code);

enum class Close : std::uint16_t {
  unknown = 4000,
  goaway_deadline = 4001,
  slow_consumer = 4003,
  heartbeat_timeout = 4004,
  overloaded = 4005,
  resync_required = 4007,
  rate_limited = 4008,
  token_expired = 4009,
  bad_frame = 4500,
  auth_failed = 4501,
  auth_revoked = 4502,
  banned = 4503,
  version_unsupported = 4505,
  frame_too_large = 4506,
  superseded = 4507,
  logged_out = 4508,
  hello_timeout = 4509,
};

// The published name, used as WebSocket close reason (D10).
std::string_view name(Close close);
// The `error.code` sent before this close (D10).
Code error_code(Close close);
// "now", "backoff" or "never" (D10).
std::string_view reconnect(Close close);

}  // namespace parley::chat
