// One PostgreSQL connection on the event loop: resolves, connects, says when bytes came, comes back after a failure with
// full-jitter back-off. What is said over it is its owner's business (pool.h, listener.h).
//
// Thread: that of the io_context. Bound: one socket; libpq's own buffers are bounded by what the owner keeps in flight.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "runtime/postgres/values.h"

struct pg_conn;

namespace parley::runtime::postgres {

using Keywords = std::vector<std::pair<std::string, std::string>>;

// The keywords of a connection string or URL, with what every connection of ours needs added: UTF-8, quick detection of a
// dead peer, these run-time options (`-c name=value`). Throws std::invalid_argument when the string cannot be read.
Keywords connection_keywords(const std::string& dsn, const std::string& options);

class LinkEvents {
 public:
  virtual ~LinkEvents() = default;
  virtual void on_up() = 0;        // a new connection, nothing said yet
  virtual void on_readable() = 0;  // bytes were taken in: ask libpq for results
  virtual void on_down(const Error& error) = 0;
};

class Link {
 public:
  Link(boost::asio::io_context& io, Keywords keywords, LinkEvents& events);
  ~Link();
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  pg_conn* raw() const { return up_ ? connection_.get() : nullptr; }  // null while not up
  void flush();                                                       // after something was given to libpq to send
  void fail(const Error& error);                                      // ends this connection; the next follows after the back-off

 private:
  struct Finish {
    void operator()(pg_conn* connection) const;
  };
  void resolve(std::size_t index);
  void connect();
  void poll_connect();
  void wait(bool write, void (Link::*then)());
  void readable();
  void drop(const Error& error);
  void retry_later();

  boost::asio::io_context& io_;
  Keywords keywords_;
  LinkEvents& events_;
  boost::asio::steady_timer timer_;
  boost::asio::ip::tcp::resolver resolver_;
  std::vector<std::string> hosts_, ports_;                          // as configured
  std::vector<std::string> try_hosts_, try_addresses_, try_ports_;  // as resolved
  std::unique_ptr<pg_conn, Finish> connection_;
  std::optional<boost::asio::posix::stream_descriptor> socket_;  // a duplicate, so that libpq may close its own whenever it likes
  std::shared_ptr<int> epoch_;                                   // handlers of an earlier connection hold an expired one
  bool up_ = false, reading_ = false, writing_ = false;
  unsigned failures_ = 0;
  std::minstd_rand random_;
};

}  // namespace parley::runtime::postgres
