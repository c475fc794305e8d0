// What the server keeps of one connection. Size matters: there are a hundred thousand of them, mostly idle.
#pragma once

#include "gateway/server/server.h"
#include "gateway/server/websocket.h"

namespace parley::gateway {

struct Server::HttpPhase {
  explicit HttpPhase(std::size_t max_body) : parser(max_body) {}
  http::Parser parser;
  std::string unread;  // bytes behind what the parser took
  std::string out;     // response bytes
  std::size_t out_at = 0;
  bool busy = false;         // a request is being answered: nothing is read meanwhile
  bool close_after = false;  // after `out`
  bool upgrade_after = false;
};

struct Server::Connection {
  Connection(ConnectionId i, Socket s, std::string a) : id(i), socket(std::move(s)), address(std::move(a)) {}

  enum class Phase : std::uint8_t {
    http,
    websocket,
    closing,  // what is queued goes out, then the peer is waited for
  };

  const ConnectionId id;
  Socket socket;
  std::unique_ptr<HttpPhase> http;  // in Phase::http only
  std::unique_ptr<Outbox> outbox;   // while something is queued only
  chat::TimeMs deadline;            // 0: none
  websocket::Decoder decoder{websocket::Side::server, 0};
  std::string address;  // of the peer
  Phase phase = Phase::http;
  Encoding encoding = Encoding::protobuf;
  bool is_websocket = false;
  bool core_knows = false;  // on_open was called, and neither close nor on_closed
  bool reading = false;     // a wait is under way
  bool writing = false;
  bool marked = false;
  bool over_bound = false;  // the outbox was full: frames are dropped, Core is to be told
  bool unbounded = false;   // Core says good-bye: its last frames are let through
  bool sent_shutdown = false;
};

}  // namespace parley::gateway
