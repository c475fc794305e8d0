// What a store's contract tests run against: one fixture over memory/, one over postgres/.
#pragma once

#include <boost/asio/io_context.hpp>
#include <memory>
#include <optional>

#include "runtime/postgres/connection.h"
#include "store/accounts.h"
#include "store/memory/memory_store.h"
#include "store/postgres/client.h"
#include "store/postgres/schema.h"
#include "store/postgres/writer.h"
#include "tests/services/services.h"

namespace parley::store {

class Bench {
 public:
  virtual ~Bench() = default;
  virtual std::unique_ptr<Writer> writer() = 0;
  virtual Reader& reader() = 0;
  virtual Accounts& accounts() = 0;
  virtual void turn() = 0;  // lets something happen
  // Events with such a body are refused from now on.
  virtual void refuse_body(std::string body) = 0;

  bool run_until(const std::function<bool()>& done) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (!done() && std::chrono::steady_clock::now() < deadline) turn();
    return done();
  }

  // `call` is given the callback; its value is returned, or nothing when it failed.
  template <class T, class Call>
  Result<T> wait(Call call) {
    std::optional<Result<T>> got;
    call(Callback<T>([&](Result<T> result) { got = std::move(result); }));
    if (got) return std::unexpected(Error{Errc::unavailable, "answered inside the call"});
    if (!run_until([&] { return got.has_value(); })) return std::unexpected(Error{Errc::unavailable, "never answered"});
    return std::move(*got);
  }
};

class MemoryBench final : public Bench {
 public:
  std::unique_ptr<Writer> writer() override { return store_.writer(); }
  Reader& reader() override { return *reader_; }
  Accounts& accounts() override { return *accounts_; }
  void turn() override { store_.step(); }
  void refuse_body(std::string body) override {
    store_.refuse([body = std::move(body)](const StoredEvent& event) { return event.event.body == body; });
  }

 private:
  memory::MemoryStore store_;
  std::unique_ptr<Reader> reader_ = store_.reader();
  std::unique_ptr<Accounts> accounts_ = store_.accounts();
};

class PostgresBench final : public Bench {
 public:
  PostgresBench() : dsn_(test::fresh_database("store")) {
    const auto migrated = postgres::migrate(dsn_);
    if (!migrated) throw std::runtime_error(migrated.error().message);
    client_ = std::make_unique<postgres::Client>(io_, postgres::Settings{.dsn = dsn_});
  }
  std::unique_ptr<Writer> writer() override { return std::make_unique<postgres::Writer>(dsn_); }
  Reader& reader() override { return client_->reader(); }
  Accounts& accounts() override { return client_->accounts(); }
  void turn() override { io_.run_one_for(std::chrono::milliseconds(20)); }
  void refuse_body(std::string body) override {
    auto connection = runtime::postgres::Connection::open(dsn_);
    const auto made = connection->script("alter table events add constraint refused check (body <> convert_to('" + body + "', 'UTF8'))");
    if (!made) throw std::runtime_error(made.error().message);
  }
  const std::string& dsn() const { return dsn_; }

 private:
  std::string dsn_;
  boost::asio::io_context io_;
  std::unique_ptr<postgres::Client> client_;
};

inline std::unique_ptr<Bench> make_bench(bool postgres) {
  if (postgres) return std::make_unique<PostgresBench>();
  return std::make_unique<MemoryBench>();
}

}  // namespace parley::store
