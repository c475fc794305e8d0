#include "runtime/postgres/pool.h"

#include <gtest/gtest.h>

#include <csignal>
#include <functional>

#include "runtime/postgres/connection.h"
#include "runtime/postgres/link.h"
#include "runtime/postgres/listener.h"
#include "tests/services/services.h"

namespace parley::runtime::postgres {
namespace {

class PoolTest : public ::testing::Test {
 protected:
  // Runs the loop until `done`; fails the test after ten seconds.
  void run_until(const std::function<bool()>& done) {
    auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (!done() && std::chrono::steady_clock::now() < deadline) io_.run_one_for(std::chrono::milliseconds(20));
    ASSERT_TRUE(done());
  }
  Pool::Outcome ask(Pool& pool, Sql sql, Params params = {}) {
    std::optional<Pool::Outcome> got;
    pool.query(sql, std::move(params), [&](Pool::Outcome outcome) { got = std::move(outcome); });
    EXPECT_FALSE(got);  // never inside the call
    run_until([&] { return got.has_value(); });
    if (!got) return std::unexpected(Error{Errc::timed_out, "", "test"});
    return std::move(*got);
  }

  boost::asio::io_context io_;
  std::string dsn_ = test::services().dsn;
};

TEST_F(PoolTest, ValuesComeBackAsTheyWent) {
  Pool pool(io_, {.dsn = dsn_});
  Uuid id{1, 2, 3, 255, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
  auto rows = ask(pool, "select $1, $2, $3, $4, $5, $6, $7, $8, $9, $10",
                  Params()
                      .i8(0xffff'ffff'ffff'fffe)
                      .i4(7)
                      .i2(65'535)
                      .boolean(true)
                      .uuid(id)
                      .text("'; drop table x; --\n\xc3\xa9")
                      .bytes(std::string_view("\0\xff\\x", 4))
                      .null(Oid::i8)
                      .array(Array(Oid::uuid).uuid(id).uuid({}))
                      .array(Array(Oid::i8).i8(1).null().i8(1ull << 40)));
  ASSERT_TRUE(rows) << rows.error().message;
  Row row = (*rows)[0];
  EXPECT_EQ(row.u8(0), 0xffff'ffff'ffff'fffe);
  EXPECT_EQ(row.u4(1), 7u);
  EXPECT_EQ(row.u2(2), 65'535);
  EXPECT_TRUE(row.boolean(3));
  EXPECT_EQ(row.uuid(4), id);
  EXPECT_EQ(row.text(5), "'; drop table x; --\n\xc3\xa9");
  EXPECT_EQ(row.bytes(6), std::string_view("\0\xff\\x", 4));
  EXPECT_TRUE(row.null(7));
  EXPECT_EQ(row.maybe_u8(7), std::nullopt);
  ASSERT_EQ(row.array(8).size(), 2u);
  EXPECT_EQ(row.u8s(9), (std::vector<std::uint64_t>{1, 1ull << 40}));
}

TEST_F(PoolTest, EmptyArraysAreArrays) {
  Pool pool(io_, {.dsn = dsn_});
  auto rows = ask(pool, "select count(*) from unnest($1) x", Params().array(Array(Oid::text)));
  ASSERT_TRUE(rows) << rows.error().message;
  EXPECT_EQ((*rows)[0].u8(0), 0u);
}

TEST_F(PoolTest, AnErrorHarmsNobodyElse) {
  Pool pool(io_, {.dsn = dsn_, .connections = 1});
  std::vector<std::optional<Pool::Outcome>> got(30);
  std::size_t answered = 0;
  for (std::size_t i = 0; i < got.size(); ++i)
    pool.query(i % 3 == 1 ? Sql("select 1 / ($1::int8 - $1::int8)") : Sql("select $1::int8"), Params().i8(i), [&, i](Pool::Outcome outcome) {
      got[i] = std::move(outcome);
      ++answered;
    });
  run_until([&] { return answered == got.size(); });
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (i % 3 == 1) {
      ASSERT_FALSE(*got[i]);
      EXPECT_EQ(got[i]->error().code, Errc::refused);
      EXPECT_EQ(got[i]->error().sqlstate, "22012");
    } else {
      ASSERT_TRUE(*got[i]) << got[i]->error().message;
      EXPECT_EQ((**got[i])[0].u8(0), i);
    }
  }
}

TEST_F(PoolTest, AStatementThatCannotBePreparedIsRefusedEachTime) {
  Pool pool(io_, {.dsn = dsn_, .connections = 1});
  for (int i = 0; i < 3; ++i) {
    auto rows = ask(pool, "select * from no_such_table");
    ASSERT_FALSE(rows);
    EXPECT_EQ(rows.error().sqlstate, "42P01");
  }
  EXPECT_TRUE(ask(pool, "select 1"));
}

TEST_F(PoolTest, SeveralStatementsSeeOneSnapshot) {
  auto writer = Connection::open(dsn_);
  ASSERT_TRUE(writer) << writer.error().message;
  ASSERT_TRUE(writer->script("drop table if exists snapshot_test; create table snapshot_test (x bigint); insert into snapshot_test values (1)"));
  Pool pool(io_, {.dsn = dsn_, .connections = 1, .snapshots = true});
  std::optional<Pool::Outcomes> got;
  std::vector<Pool::Query> queries;
  queries.push_back({"select x from snapshot_test", {}});
  queries.push_back({"select pg_sleep(0.3)::text", {}});
  queries.push_back({"select x from snapshot_test", {}});
  ASSERT_TRUE(ask(pool, "select 1"));  // connected
  pool.queries(std::move(queries), [&](Pool::Outcomes outcome) { got = std::move(outcome); });
  // The sleeping statement is seen in pg_stat_activity: only then does the other side write.
  run_until([&] {
    auto seen = writer->query("select count(*) from pg_stat_activity where wait_event = 'PgSleep'");
    return seen && (*seen)[0].u8(0) == 1;
  });
  ASSERT_TRUE(writer->query("update snapshot_test set x = 2"));
  EXPECT_FALSE(got);
  run_until([&] { return got.has_value(); });
  ASSERT_TRUE(*got) << got->error().message;
  EXPECT_EQ((**got)[0][0].u8(0), 1u);
  EXPECT_EQ((**got)[2][0].u8(0), 1u);
  auto now = ask(pool, "select x from snapshot_test");
  EXPECT_EQ((*now)[0].u8(0), 2u);
  ASSERT_TRUE(writer->script("drop table snapshot_test"));
}

TEST_F(PoolTest, EveryCallEndsByItsDeadlineAndThePoolComesBack) {
  Pool pool(io_, {.dsn = dsn_, .connections = 1, .timeout_ms = 300});
  ASSERT_TRUE(ask(pool, "select 1"));
  auto begun = std::chrono::steady_clock::now();
  auto slow = ask(pool, "select pg_sleep(20)::text");
  ASSERT_FALSE(slow);
  EXPECT_EQ(slow.error().code, Errc::timed_out);
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(2));
  run_until([&] { return pool.stats().connected == 1; });
  EXPECT_TRUE(ask(pool, "select 1"));
}

TEST_F(PoolTest, ALateAnswerCostsNobodyElseHis) {
  Pool pool(io_, {.dsn = dsn_, .connections = 1, .timeout_ms = 1'000});
  auto pid = ask(pool, "select pg_backend_pid()");
  ASSERT_TRUE(pid);
  std::optional<Pool::Outcome> slow;
  pool.query("select pg_sleep(20)::text", {}, [&](Pool::Outcome outcome) { slow = std::move(outcome); });
  io_.run_for(std::chrono::milliseconds(500));
  auto behind = ask(pool, "select pg_backend_pid()");
  ASSERT_TRUE(behind) << behind.error().message;
  EXPECT_EQ((*behind)[0].u4(0), (*pid)[0].u4(0));
  ASSERT_TRUE(slow);
  ASSERT_FALSE(*slow);
  EXPECT_EQ(slow->error().code, Errc::timed_out);
}

TEST_F(PoolTest, AFrozenBackendIsLeft) {
  Pool pool(io_, {.dsn = dsn_, .connections = 1, .timeout_ms = 500});
  auto pid = ask(pool, "select pg_backend_pid()");
  ASSERT_TRUE(pid);
  const auto backend = static_cast<pid_t>((*pid)[0].u4(0));
  ASSERT_EQ(kill(backend, SIGSTOP), 0);
  auto begun = std::chrono::steady_clock::now();
  auto lost = ask(pool, "select 1");
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::milliseconds(900));
  run_until([&] { return pool.stats().connected == 0; });
  run_until([&] { return pool.stats().connected == 1; });
  auto again = ask(pool, "select pg_backend_pid()");
  kill(backend, SIGCONT);
  ASSERT_FALSE(lost);
  EXPECT_EQ(lost.error().code, Errc::timed_out);
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_NE((*again)[0].u4(0), (*pid)[0].u4(0));
}

TEST_F(PoolTest, WithoutAServerCallsEndAndTheBoundHolds) {
  Pool pool(io_, {.dsn = "host=127.0.0.1 port=1 dbname=none", .connections = 1, .waiting = 2, .timeout_ms = 200});
  std::vector<Errc> errors;
  for (int i = 0; i < 3; ++i) pool.query("select 1", {}, [&](Pool::Outcome outcome) { errors.push_back(outcome.error().code); });
  run_until([&] { return errors.size() == 3; });
  EXPECT_EQ(errors, (std::vector{Errc::overloaded, Errc::timed_out, Errc::timed_out}));
}

TEST_F(PoolTest, ALostConnectionFailsWhatWasOnItsWayAndIsMadeAnew) {
  auto killer = Connection::open(dsn_);
  ASSERT_TRUE(killer);
  Pool pool(io_, {.dsn = dsn_, .connections = 1});
  auto pid = ask(pool, "select pg_backend_pid()");
  ASSERT_TRUE(pid);
  std::optional<Pool::Outcome> got;
  pool.query("select pg_sleep(20)::text", {}, [&](Pool::Outcome outcome) { got = std::move(outcome); });
  ASSERT_TRUE(killer->query("select pg_terminate_backend($1)", Params().i4((*pid)[0].u4(0))));
  run_until([&] { return got.has_value(); });
  ASSERT_FALSE(*got);
  EXPECT_EQ(got->error().code, Errc::unavailable);
  auto again = ask(pool, "select pg_backend_pid()");
  ASSERT_TRUE(again);
  EXPECT_NE((*again)[0].u4(0), (*pid)[0].u4(0));
}

TEST_F(PoolTest, TheListenerHearsAndSaysWhenItMayHaveMissedSomething) {
  auto other = Connection::open(dsn_);
  ASSERT_TRUE(other);
  std::vector<std::string> heard;
  int listening = 0;
  Listener listener(
      io_, dsn_, {"listen test_a", "listen test_b"},
      [&](std::string_view channel, std::string_view payload) { heard.push_back(std::string(channel) + ":" + std::string(payload)); }, [&] { ++listening; });
  run_until([&] { return listening == 1; });
  ASSERT_TRUE(other->query("select pg_notify('test_b', 'one')"));
  run_until([&] { return heard.size() == 1; });
  EXPECT_EQ(heard[0], "test_b:one");
  ASSERT_TRUE(other->query("select pg_terminate_backend(pid) from pg_stat_activity where query like 'listen test%'"));
  run_until([&] { return listening == 2; });
  ASSERT_TRUE(other->query("select pg_notify('test_a', 'two')"));
  run_until([&] { return heard.size() == 2; });
  EXPECT_EQ(heard[1], "test_a:two");
}

TEST_F(PoolTest, DestroyedWithWorkOnItsWayNothingIsTold) {
  bool told = false;
  {
    Pool pool(io_, {.dsn = dsn_, .connections = 2});
    ASSERT_TRUE(ask(pool, "select 1"));
    for (int i = 0; i < 50; ++i) pool.query("select pg_sleep(0.01)::text", {}, [&](Pool::Outcome) { told = true; });
  }
  io_.restart();
  io_.run_for(std::chrono::milliseconds(100));
  EXPECT_FALSE(told);
}

TEST(ConnectionTest, StopsAtTheFirstFailureAndTellsIt) {
  auto connection = Connection::open(test::services().dsn);
  ASSERT_TRUE(connection) << connection.error().message;
  std::vector<Connection::Query> queries;
  queries.push_back({"create temp table t (x bigint primary key)", {}});
  ASSERT_TRUE(connection->queries(queries));
  queries.clear();
  queries.push_back({"insert into t values ($1)", Params().i8(1)});
  queries.push_back({"insert into t values ($1)", Params().i8(1)});
  queries.push_back({"insert into t values ($1)", Params().i8(2)});
  auto failed = connection->queries(queries);
  ASSERT_FALSE(failed);
  EXPECT_TRUE(failed.error().unique_violation());
  auto count = connection->query("select count(*) from t");
  ASSERT_TRUE(count);
  EXPECT_EQ((*count)[0].u8(0), 0u);
}

// A backend that hangs in the kernel or was stopped: its TCP is alive, its statement_timeout never comes.
TEST(ConnectionTest, AFrozenBackendIsGivenUp) {
  const auto ended_in_time = [](const std::function<std::expected<void, Error>(Connection&)>& act) {
    auto connection = Connection::open(test::services().dsn, 100);
    ASSERT_TRUE(connection) << connection.error().message;
    const auto pid = static_cast<pid_t>((*connection->query("select pg_backend_pid()"))[0].u4(0));
    ASSERT_TRUE(connection->script("create temp table t (x text)"));
    ASSERT_EQ(kill(pid, SIGSTOP), 0);
    const auto begun = std::chrono::steady_clock::now();
    const auto outcome = act(*connection);
    const auto took = std::chrono::steady_clock::now() - begun;
    const bool broken = connection->broken();
    connection = std::unexpected(Error{});  // its end does not wait either
    EXPECT_LT(std::chrono::steady_clock::now() - begun, 2 * Connection::kGrace);
    kill(pid, SIGCONT);
    ASSERT_FALSE(outcome);
    EXPECT_EQ(outcome.error().code, Errc::timed_out) << outcome.error().message;
    EXPECT_GE(took, Connection::kGrace);
    EXPECT_TRUE(broken);
  };
  ended_in_time([](Connection& c) -> std::expected<void, Error> {
    if (auto rows = c.query("select 1"); !rows) return std::unexpected(rows.error());
    return {};
  });
  ended_in_time([](Connection& c) -> std::expected<void, Error> {
    std::vector<Query> queries;
    queries.push_back({"begin", {}});
    queries.push_back({"commit", {}});
    if (auto rows = c.queries(queries); !rows) return std::unexpected(rows.error());
    return {};
  });
}

TEST(ConnectionTest, AFrozenBackendIsGivenUpWhileItIsCopiedTo) {
  auto connection = Connection::open(test::services().dsn, 100);
  ASSERT_TRUE(connection);
  const auto pid = static_cast<pid_t>((*connection->query("select pg_backend_pid()"))[0].u4(0));
  ASSERT_TRUE(connection->script("create temp table t (x text)"));
  ASSERT_TRUE(connection->copy_begin("copy t from stdin"));
  ASSERT_TRUE(connection->copy_data("first\n"));
  ASSERT_EQ(kill(pid, SIGSTOP), 0);
  std::expected<void, Error> outcome;
  const std::string line(1 << 20, 'x');
  for (int i = 0; outcome && i < 1'000; ++i) outcome = connection->copy_data(line + "\n");  // more than any socket buffers
  kill(pid, SIGCONT);
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, Errc::timed_out) << outcome.error().message;
  EXPECT_TRUE(connection->broken());
}

TEST(ConnectionTest, CopiesMoreThanSocketsBufferAndTellsWhatWasRefused) {
  auto connection = Connection::open(test::services().dsn);
  ASSERT_TRUE(connection);
  ASSERT_TRUE(connection->script("create temp table t (x bigint check (x < 1000000))"));
  std::string rows;
  for (int i = 0; i < 500'000; ++i) rows += std::to_string(i) + "\n";
  ASSERT_TRUE(connection->copy_begin("copy t from stdin"));
  ASSERT_TRUE(connection->copy_data(rows));
  ASSERT_TRUE(connection->copy_end());
  auto count = connection->query("select count(*) from t");
  ASSERT_TRUE(count) << count.error().message;
  EXPECT_EQ((*count)[0].u8(0), 500'000u);
  ASSERT_TRUE(connection->copy_begin("copy t from stdin"));
  ASSERT_TRUE(connection->copy_data("1000000\n" + rows));
  const auto refused = connection->copy_end();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().sqlstate, "23514");
  EXPECT_FALSE(connection->broken());
  EXPECT_TRUE(connection->query("select 1"));
}

TEST(ConnectionTest, BadConnectionStringsAreTold) {
  EXPECT_THROW(connection_keywords("host='", ""), std::invalid_argument);
  auto none = Connection::open("host=127.0.0.1 port=1");
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, Errc::unavailable);
}

}  // namespace
}  // namespace parley::runtime::postgres
