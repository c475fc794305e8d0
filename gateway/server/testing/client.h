// Clients for tests, from Beast: an implementation that is not ours.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace parley::gateway::testing {

// A blocking WebSocket client; every call waits at most 10 s, then throws.
class WebSocketClient {
 public:
  struct Options {
    std::string protocol = "parley.v1.json";
    std::string origin = {};
    bool tls = false;
    int receive_buffer = 0;  // SO_RCVBUF
  };
  explicit WebSocketClient(std::uint16_t port) : WebSocketClient(port, Options{}) {}
  // Throws std::runtime_error with the HTTP status where the handshake is refused.
  WebSocketClient(std::uint16_t port, Options options);
  ~WebSocketClient();

  const std::string& protocol() const;
  void send_text(std::string_view text, std::size_t fragment = 0);
  void send_binary(std::string_view bytes);
  void ping();
  void raw(std::string_view bytes);  // past the WebSocket layer, plain TCP only
  // The next message; nothing once the server has closed.
  std::optional<std::string> read();
  void close(std::uint16_t code);
  void reset();  // TCP only: gone without a word
  std::uint16_t close_code() const;
  std::string close_reason() const;

 private:
  class State;
  std::unique_ptr<State> state_;
};

struct HttpAnswer {
  unsigned status = 0;
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string header(std::string_view name) const;
};
// One request on a connection of its own.
HttpAnswer http_request(std::uint16_t port, std::string method, std::string target, std::string body = "",
                        std::vector<std::pair<std::string, std::string>> headers = {});
// Writes these bytes and returns everything up to the end of the stream.
std::string raw_exchange(std::uint16_t port, std::string_view bytes, bool shutdown = false);

}  // namespace parley::gateway::testing
