// One WebSocket of one device, protobuf encoding: open, say hello, post frames, receive frames.
//
// A reader and a writer coroutine serve the socket, so that waiting for a frame can end at a deadline without breaking the socket. Both live
// as long as the socket does. At most kInbox frames wait here unread; then the socket is not read, and the server's own bounds apply.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "cli/rest.h"
#include "parley/client/v1/client.pb.h"

namespace parley::cli {

namespace client = parley::client::v1;
using SteadyTime = std::chrono::steady_clock::time_point;

// The socket is gone. `code` 0: without a close frame, or it could not be opened.
struct Closed {
  std::uint16_t code = 0;
  std::string reason;
  std::uint32_t retry_after_ms = 0;
  bool terminal() const { return code >= 4500 && code < 5000; }
};

class Connection {
 public:
  static constexpr std::size_t kInbox = 1'024;

  // Connects, sends `hello` and waits for `welcome`. Throws Closed.
  static boost::asio::awaitable<std::unique_ptr<Connection>> open(Server server, client::Hello hello);
  ~Connection();  // closes the socket
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  const client::Welcome& welcome() const { return welcome_; }

  void post(client::Frame frame);
  // The next frame; nothing when `deadline` passes. Pings are answered here. Throws Closed once the socket is gone and all that came is read.
  boost::asio::awaitable<std::optional<client::Frame>> receive(SteadyTime deadline);
  // Sends a request and waits for its answer; what comes meanwhile is received later, in order. Throws Closed, also after 10 s of
  // silence: a connection that does not answer is as good as lost.
  boost::asio::awaitable<client::Frame> request(client::Frame frame);

  // Sends what is posted, then a close frame, and waits for the end.
  boost::asio::awaitable<void> close();

 private:
  struct Wire;
  explicit Connection(std::shared_ptr<Wire> wire) : wire_(std::move(wire)) {}
  boost::asio::awaitable<std::optional<client::Frame>> next(SteadyTime deadline);

  std::shared_ptr<Wire> wire_;
  std::deque<client::Frame> later_;
  client::Welcome welcome_;
  std::uint32_t last_req_id_ = 0;
};

}  // namespace parley::cli
