// Where the list of routers comes from (R15): fixed in the configuration, the DNS name of a headless service, or a file that
// the operator maintains, one host:port a line. The latter two are read again every `reread_ms`.
//
// A file that names nobody leaves the last list in force. Whether a router can be reached is for its stream to find out. The io_context's thread.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace parley::gateway {

class RouterList {
 public:
  using Changed = std::function<void(const std::vector<std::string>& names)>;

  // `source`: "a:7070,b:7070", "dns:name:7070" or "file:/path". Throws std::invalid_argument for anything else.
  RouterList(boost::asio::io_context& io, const std::string& source, std::uint32_t reread_ms, Changed changed);
  ~RouterList();

  void start();

  // A router keeps its place in the list for as long as it is named, so that its stream goes on: who comes takes the place
  // of one who left, or the end; who left without a successor stays named unless last.
  static std::vector<std::string> merge(std::vector<std::string> present, const std::vector<std::string>& named);

 private:
  enum class Kind : std::uint8_t { fixed, dns, file };

  void read();
  void read_file();
  void resolve();
  void told(std::vector<std::string> named);

  Kind kind_;
  std::vector<std::string> fixed_;
  std::string host_, port_, path_;
  std::uint32_t reread_ms_;
  Changed changed_;
  std::vector<std::string> names_;
  boost::asio::steady_timer timer_;
  boost::asio::ip::tcp::resolver resolver_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace parley::gateway
