// Who the routers are, and which of them answer (R15).
//
// The list comes from a static setting, from the DNS of a headless service, or from a file that the operator maintains; the
// latter two are read again every `reread_ms`. Every other member is probed: connect, and wait for the HTTP/2 greeting that a
// running gRPC server sends by itself, so that a stopped process (SIGSTOP) counts as gone although its kernel still accepts.
// A member that did not answer for `gone_ms` is left out. Views may differ between routers; owners need not agree (R2).
//
// Threads: the io_context's. Bound: one connection per member at a time.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <expected>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "runtime/clock.h"

namespace parley::router {

struct MemberSettings {
  std::string self;    // this router as its peers know it, host:port; always counts as reachable
  std::string source;  // "a:7070,b:7070", "dns:name:7070" or "file:/path" (one host:port a line)
  std::uint32_t probe_ms = 300, gone_ms = 900, reread_ms = 2'000;
};

// What a source says, for those that can be read at once; an empty list in the DNS case.
struct MemberSource {
  enum class Kind : std::uint8_t { fixed, dns, file } kind;
  std::vector<std::string> fixed;
  std::string host, port;  // dns
  std::string path;        // file
};
std::expected<MemberSource, std::string> parse_source(const std::string& source);
// host:port, also [v6]:port.
std::expected<std::pair<std::string, std::string>, std::string> split_address(const std::string& address);

class Members {
 public:
  using Changed = std::function<void(const std::vector<std::string>& reachable)>;

  // Throws std::invalid_argument if the settings cannot be read.
  Members(boost::asio::io_context& io, const runtime::Clock& clock, MemberSettings settings, Changed changed);
  ~Members();
  Members(const Members&) = delete;
  Members& operator=(const Members&) = delete;

  // `changed` is called from now on; first when every member was probed once.
  void start();

 private:
  class Peer;

  void read();
  void read_file();
  void resolve();
  void set(std::vector<std::string> names);
  void told();

  boost::asio::io_context& io_;
  const runtime::Clock& clock_;
  const MemberSettings settings_;
  const MemberSource source_;
  Changed changed_;
  boost::asio::steady_timer reread_;
  boost::asio::ip::tcp::resolver resolver_;
  std::map<std::string, std::shared_ptr<Peer>> peers_;
  std::vector<std::string> reachable_;
  bool listed_ = false;                                         // the source was read once
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // an expired timer's handler may run after this is gone
};

}  // namespace parley::router
