// One WebSocket client of the load generator: protobuf subprotocol, hello, frames in and out, as cheap as it can be made, so that the client is
// not what is measured.
//
// One io_context, one thread. The read buffer is shared by all connections (bytes are consumed before the next read); an idle connection holds no
// buffer. Frames written while a write is in flight go out together with the next one. A connection that fails says so once to its owner, and is
// not opened again: a benchmark that loses connections has failed.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <cstdint>
#include <functional>
#include <random>
#include <span>
#include <string>
#include <string_view>

#include "gateway/server/websocket.h"
#include "parley/client/v1/client.pb.h"

namespace parley::bench {

namespace client = parley::client::v1;

struct Credentials {
  std::string user;  // UUID text
  std::string token;
};

struct Endpoint {
  boost::asio::ip::tcp::endpoint address;
  std::string host;  // for the Host header
};

// What all connections of a thread share.
struct Shared {
  boost::asio::io_context io;
  std::string read_buffer = std::string(256 * 1024, '\0');
  std::mt19937_64 random{std::random_device{}()};
  client::Frame frame;  // the one being read: keeps its memory from frame to frame
};

class Connection {
 public:
  struct Handlers {
    std::function<void(Connection&)> ready;  // caughtUp arrived
    std::function<void(Connection&, const client::Frame&)> frame;
    std::function<void(Connection&, std::string)> failed;
  };

  Connection(Shared& shared, const Handlers& handlers, std::size_t index, Credentials credentials)
      : shared_(shared),
        handlers_(handlers),
        socket_(shared.io),
        decoder_(gateway::websocket::Side::client, 8u << 20),
        credentials_(std::move(credentials)),
        index_(index) {}

  void open(const Endpoint& endpoint);
  void send(const client::Frame& frame);
  // An `ack` for what was taken since the last one, if anything was (every 64 events, and once a second by the owner).
  void acknowledge();
  void close();

  std::size_t index() const { return index_; }
  const std::string& user() const { return credentials_.user; }

 private:
  void on_connected(const Endpoint& endpoint);
  void await_readable();
  void on_readable();
  void on_bytes(std::span<char> bytes);
  bool take_handshake(std::span<char>& bytes);
  void on_message(std::string_view payload);
  void flush();
  void fail(std::string why);

  Shared& shared_;
  const Handlers& handlers_;
  boost::asio::ip::tcp::socket socket_;
  gateway::websocket::Decoder decoder_;
  Credentials credentials_;
  std::string handshake_;           // answer of the server so far
  std::string queued_, in_flight_;  // encoded frames
  std::string taken_in_;            // conversation of the newest event not acknowledged yet
  std::uint64_t taken_seq_ = 0;
  std::uint32_t untold_ = 0;
  std::size_t index_;
  bool upgraded_ = false, writing_ = false, over_ = false;
};

}  // namespace parley::bench
