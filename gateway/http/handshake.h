// The WebSocket handshake (RFC 6455 section 4.2) as a decision: a request in, an answer out.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "gateway/http/message.h"
#include "gateway/server/encoding.h"

namespace parley::gateway::http {

struct Handshake {
  Response response;                 // 101, or why not: 400, 403, 426
  std::optional<Encoding> encoding;  // set with 101
};

// `allowed_origins`: exact origins ("https://chat.example") besides the same one (D11).
Handshake handshake(const Request& request, const std::vector<std::string>& allowed_origins);

// D11: absent, same-origin, or on the list. Same-origin compares host and port with the Host header.
bool origin_allowed(std::string_view origin, std::string_view host, const std::vector<std::string>& allowed_origins);

}  // namespace parley::gateway::http
