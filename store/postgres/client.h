// PostgreSQL for one event loop: the Reader and Accounts ports over pooled connections, and one connection that hears NOTIFY.
//
// Thread: that of the io_context. Bound: `reads` + `accounts` + 1 connections, queries as runtime/postgres/pool.h says. Every
// read is one snapshot: its statements go in one repeatable-read transaction that also reads all positions.
// The schema is checked at the start of a process by migrate() or check_schema() (schema.h), not here.
#pragma once

#include <boost/asio/io_context.hpp>
#include <memory>
#include <string>

#include "runtime/postgres/pool.h"
#include "store/accounts.h"
#include "store/store.h"

namespace parley::runtime {
class Config;
}

namespace parley::store::postgres {

struct Settings {
  std::string dsn;
  std::uint32_t reads = 2;     // connections for snapshots
  std::uint32_t accounts = 1;  // connections for users and logins; 0: `accounts()` must not be called
  std::uint32_t timeout_ms = 3'000;
};

// postgres.dsn alone, for who makes connections of other kinds.
void declare_dsn(runtime::Config& config, std::string& dsn);
// postgres.*
void declare(runtime::Config& config, Settings& settings);

class PoolReader;
class PoolAccounts;

class Client {
 public:
  Client(boost::asio::io_context& io, const Settings& settings);
  ~Client();

  store::Reader& reader();
  store::Accounts& accounts();

  struct Stats {
    runtime::postgres::Pool::Stats reads, accounts;
  };
  Stats stats() const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace parley::store::postgres
