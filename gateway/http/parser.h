// Bytes to HTTP/1.1 requests, without a socket (Beast's parser does the work). One request at a time; what follows it in
// the bytes stays with the caller.
//
// Bound: 8 KiB of headers, `max_body` of body.
#pragma once

#include <cstddef>
#include <expected>
#include <memory>
#include <optional>
#include <string_view>

#include "gateway/http/message.h"

namespace parley::gateway::http {

class Parser {
 public:
  explicit Parser(std::size_t max_body);
  ~Parser();

  struct Refused {
    unsigned status;  // 400, 413, 431
  };
  // Takes from the front of `bytes`. Nothing: more is needed (and `bytes` may not be used up: hand the rest in again,
  // with more behind it).
  std::expected<std::optional<Request>, Refused> put(std::string_view& bytes);

  // The client waits for "100 Continue" before it sends the body; true once per request.
  bool wants_continue();

 private:
  class State;
  void reset();
  std::size_t max_body_;
  std::unique_ptr<State> state_;
};

}  // namespace parley::gateway::http
