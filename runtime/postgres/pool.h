// The small door to PostgreSQL for everything that runs on an event loop: a bounded pool of connections in pipeline mode,
// prepared statements, binary rows.
//
//   pool.query("select name from users where id = $1", Params().uuid(id), [](Pool::Outcome rows) { ... });
//
// `queries` sends several statements as one: they succeed or fail together, and with Settings::snapshots they see one
// snapshot of the database. Statements of different calls run side by side and in no promised order.
//
// Thread: that of the io_context, for calls and callbacks alike; a callback never runs inside the call that gave it, and
// must not destroy the pool. Outcomes not yet told when the pool is destroyed are never told.
// Bound: `connections` x `in_flight` on their way, `waiting` queued; one more fails with Errc::overloaded. Every call is answered
// by its deadline, Errc::timed_out at worst; PostgreSQL then ends the late statement and goes on with the other calls of that
// connection. Only one from which nothing comes any more is ended and made anew.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstdint>
#include <deque>
#include <expected>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "runtime/postgres/sql.h"
#include "runtime/postgres/values.h"

namespace parley::runtime::postgres {

struct Settings {
  std::string dsn;
  std::uint32_t connections = 2;
  std::uint32_t in_flight = 8;    // calls on one connection
  std::uint32_t waiting = 4'096;  // calls waiting for a connection
  std::uint32_t timeout_ms = 3'000;
  bool snapshots = false;  // repeatable read: a call is one snapshot, read only
};

class Pool {
 public:
  using Outcome = std::expected<Rows, Error>;
  using Outcomes = std::expected<std::vector<Rows>, Error>;
  using Query = postgres::Query;

  // Throws std::invalid_argument when the connection string cannot be read. Connects at once, in the background.
  Pool(boost::asio::io_context& io, Settings settings);
  ~Pool();

  void query(Sql sql, Params params, std::move_only_function<void(Outcome)> done);
  void queries(std::vector<Query> queries, std::move_only_function<void(Outcomes)> done);

  struct Stats {
    std::size_t connected = 0, in_flight = 0, waiting = 0;
  };
  Stats stats() const;

 private:
  class Lane;
  struct Job {
    std::vector<Query> queries;
    std::move_only_function<void(Outcomes)> done;
    std::chrono::steady_clock::time_point deadline;
  };
  void pump();
  void tick();

  boost::asio::io_context& io_;
  Settings settings_;
  std::deque<Job> waiting_;
  std::vector<std::unique_ptr<Lane>> lanes_;
  boost::asio::steady_timer timer_;
  bool ticking_ = false;
  std::shared_ptr<int> alive_ = std::make_shared<int>();
};

}  // namespace parley::runtime::postgres
