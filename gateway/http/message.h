// HTTP as the handlers see it: a whole request in, one response out.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace parley::gateway::http {

struct Request {
  std::string method;
  std::string target;  // as sent: path and query
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
  std::string address;  // of the peer, text form
  bool keep_alive = true;

  std::string_view path() const { return std::string_view(target).substr(0, target.find('?')); }
  std::string_view query() const {
    auto at = target.find('?');
    return at == std::string::npos ? std::string_view{} : std::string_view(target).substr(at + 1);
  }
  // Value of a header (case-insensitive); lists given in several lines are joined by commas. Empty: absent.
  std::string header(std::string_view name) const;
};

struct Response {
  unsigned status = 200;
  std::string content_type = "application/json";
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;
};

// Answers once, at once or later, on the shard's thread. The connection may be gone by then.
using Respond = std::move_only_function<void(Response)>;

std::string_view reason_phrase(unsigned status);
// Status line, headers and body. `head`: the request was HEAD.
std::string serialise(const Response& response, bool keep_alive, bool head);

bool equal_ignoring_case(std::string_view a, std::string_view b);
// Whether a comma-separated header value holds this token.
bool has_token(std::string_view list, std::string_view token);
// %XX and '+' undone; false where it is malformed.
bool percent_decode(std::string_view text, std::string& out, bool plus_is_space);
// Value of one query parameter; nothing if absent or malformed.
bool query_value(std::string_view query, std::string_view name, std::string& out);

}  // namespace parley::gateway::http
