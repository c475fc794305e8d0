// A blocking connection for threads that may wait: the persister's writer, migrations, tools. Never on an I/O thread.
//
// Not thread-safe. Every statement ends by `timeout_ms`, the server's statement_timeout; a server that lets kGrace more pass without a
// sign (a frozen backend still has its TCP alive) is given up: Errc::timed_out, outcome unknown, connection ended. After that and
// after Errc::unavailable the connection may be broken: `broken()` tells, and the owner makes a new one, so that nothing that
// belongs to a session (advisory locks, settings) is lost unnoticed.
#pragma once

#include <chrono>
#include <cstdint>
#include <expected>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "runtime/postgres/sql.h"
#include "runtime/postgres/values.h"

struct pg_conn;

namespace parley::runtime::postgres {

class Connection {
 public:
  using Query = postgres::Query;

  static constexpr std::chrono::milliseconds kGrace{2'000};

  static std::expected<Connection, Error> open(const std::string& dsn, std::uint32_t timeout_ms = 10'000);

  bool broken() const;

  // One prepared statement.
  std::expected<Rows, Error> query(Sql sql, const Params& params = {});
  // Several in one round trip, one transaction unless one is open already; stops at the first failure.
  std::expected<std::vector<Rows>, Error> queries(const std::vector<Query>& queries);
  // SQL text of the program's own files (migrations): several statements, no parameters, no rows. Each has the server's statement_timeout; the server
  // gives no sign before the last one ends, so nothing here gives it up.
  std::expected<void, Error> script(const std::string& sql);

  // COPY ... FROM STDIN (FORMAT BINARY): begin, any number of pieces, end.
  std::expected<void, Error> copy_begin(Sql sql);
  std::expected<void, Error> copy_data(std::string_view bytes);
  std::expected<void, Error> copy_end();

 private:
  struct Finish {
    void operator()(pg_conn* connection) const;
  };
  Connection(pg_conn* owned, std::chrono::milliseconds patience) : connection_(owned), patience_(patience) {}
  std::expected<std::string, Error> prepare(Sql sql, const Params::Raw& raw);
  std::expected<void, Error> wait(bool for_result, bool patient = false);
  std::expected<Rows, Error> answer(bool sent, bool patient = false);
  Error error(const pg_result* result) const;

  std::unique_ptr<pg_conn, Finish> connection_;
  std::chrono::milliseconds patience_;
  std::unordered_map<const char*, std::string> prepared_;
};

}  // namespace parley::runtime::postgres
