#include "gateway/http/handshake.h"

#include <algorithm>

#include "gateway/http/problem.h"

namespace parley::gateway::http {

namespace {

using chat::Code;

// Sixteen bytes in base64: 22 digits and "==".
bool valid_key(std::string_view key) {
  if (key.size() != 24 || !key.ends_with("==")) return false;
  return std::all_of(key.begin(), key.end() - 2,
                     [](char c) { return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/'; });
}

Handshake refuse(Response response) { return {std::move(response), std::nullopt}; }

}  // namespace

bool origin_allowed(std::string_view origin, std::string_view host, const std::vector<std::string>& allowed_origins) {
  if (origin.empty()) return true;
  if (std::find(allowed_origins.begin(), allowed_origins.end(), origin) != allowed_origins.end()) return true;
  auto scheme_end = origin.find("://");
  if (scheme_end == origin.npos) return false;
  auto scheme = origin.substr(0, scheme_end);
  std::string_view port = equal_ignoring_case(scheme, "https") ? ":443" : equal_ignoring_case(scheme, "http") ? ":80" : "";
  if (port.empty()) return false;
  // A default port may be written or not on either side.
  auto bare = [port](std::string_view authority) {
    if (authority.ends_with(port)) authority.remove_suffix(port.size());
    return authority;
  };
  auto authority = bare(origin.substr(scheme_end + 3));
  return !authority.empty() && equal_ignoring_case(authority, bare(host));
}

Handshake handshake(const Request& request, const std::vector<std::string>& allowed_origins) {
  if (request.method != "GET") return refuse(problem(405, Code::invalid, "the WebSocket is opened by GET"));
  bool upgrade = has_token(request.header("Upgrade"), "websocket") && has_token(request.header("Connection"), "upgrade");
  if (!upgrade || request.header("Sec-WebSocket-Version") != "13") {
    auto response = problem(426, Code::unsupported, upgrade ? "WebSocket version 13 is spoken here" : "this is a WebSocket endpoint");
    response.headers.emplace_back("Upgrade", "websocket");
    response.headers.emplace_back("Sec-WebSocket-Version", "13");
    return refuse(std::move(response));
  }
  auto key = request.header("Sec-WebSocket-Key");
  if (!valid_key(key)) return refuse(problem(Code::invalid, "Sec-WebSocket-Key is not 16 bytes in base64"));
  if (!origin_allowed(request.header("Origin"), request.header("Host"), allowed_origins)) {
    return refuse(problem(Code::forbidden, "this origin may not open a WebSocket"));
  }
  auto encoding = choose_subprotocol(request.header("Sec-WebSocket-Protocol"));
  if (!encoding) return refuse(problem(Code::invalid, "no known subprotocol; there are parley.v1.pb and parley.v1.json"));

  Handshake accepted;
  accepted.encoding = encoding;
  accepted.response.status = 101;
  accepted.response.headers = {{"Upgrade", "websocket"},
                               {"Connection", "Upgrade"},
                               {"Sec-WebSocket-Accept", websocket::accept_key(key)},
                               {"Sec-WebSocket-Protocol", std::string(subprotocol(*encoding))}};
  return accepted;
}

}  // namespace parley::gateway::http
