// Migrations: each once, whoever comes; a binary refuses what it cannot work on.
#include "store/postgres/schema.h"

#include <gtest/gtest.h>

#include <thread>

#include "runtime/postgres/connection.h"
#include "tests/services/services.h"

namespace parley::store::postgres {
namespace {

TEST(Schema, EveryMigrationAppliesOnceHoweverManyCome) {
  const std::string dsn = test::fresh_database("schema");
  std::vector<Result<SchemaState>> outcomes(4, std::unexpected(Error{Errc::unavailable, ""}));
  {
    std::vector<std::jthread> comers;
    for (auto& outcome : outcomes) comers.emplace_back([&] { outcome = migrate(dsn); });
  }
  for (const auto& outcome : outcomes) {
    ASSERT_TRUE(outcome) << outcome.error().message;
    EXPECT_EQ(outcome->version, migrations().back().version);
  }
  auto connection = runtime::postgres::Connection::open(dsn);
  EXPECT_EQ((*connection->query("select count(*) from schema_version"))[0].u8(0), migrations().size());
  EXPECT_TRUE(check_schema(dsn));
}

TEST(Schema, AnEmptyDatabaseIsRefusedByWhoOnlyLooks) { EXPECT_EQ(check_schema(test::fresh_database("schema")).error().code, Errc::misconfigured); }

TEST(Schema, ExpandThenContract) {
  const std::string dsn = test::fresh_database("schema");
  const std::vector<Migration> old{{1, 1, "0001_a", "create table a (x int, y int);"}};
  std::vector<Migration> expanded = old;
  expanded.push_back({2, 1, "0002_expand", "alter table a add z int;"});
  std::vector<Migration> contracted = expanded;
  contracted.push_back({3, 2, "0003_contract", "alter table a drop y;"});

  ASSERT_TRUE(migrate(dsn, old, 1));
  ASSERT_TRUE(migrate(dsn, expanded, 2));
  EXPECT_TRUE(migrate(dsn, old, 1)) << "the old binary goes on beside the new one";
  ASSERT_TRUE(migrate(dsn, contracted, 2));
  EXPECT_TRUE(migrate(dsn, expanded, 2)) << "who knows version 2 can do without what version 3 took away";
  EXPECT_EQ(migrate(dsn, old, 1).error().code, Errc::misconfigured) << "who does not must not run";
}

TEST(Schema, AFailedMigrationLeavesNothing) {
  const std::string dsn = test::fresh_database("schema");
  const std::vector<Migration> bad{{1, 1, "0001_a", "create table a (x int);"}, {2, 1, "0002_bad", "create table b (x int); create table a (x int);"}};
  const auto outcome = migrate(dsn, bad, 1);
  ASSERT_FALSE(outcome);
  EXPECT_NE(outcome.error().message.find("0002_bad"), std::string::npos);
  auto connection = runtime::postgres::Connection::open(dsn);
  EXPECT_TRUE((*connection->query("select to_regclass('b') is null and to_regclass('a') is not null"))[0].boolean(0));
  EXPECT_EQ((*connection->query("select max(version) from schema_version"))[0].u4(0), 1u);
}

TEST(Schema, AnotherEncodingIsRefused) {
  const std::string name = test::fresh_name("latin");
  auto connection = runtime::postgres::Connection::open(test::services().dsn);
  ASSERT_TRUE(connection->script("create database \"" + name + "\" encoding 'LATIN1' locale 'C' template template0"));
  std::string dsn = test::fresh_database("schema");
  dsn.replace(dsn.rfind('=') + 1, std::string::npos, name);
  const auto outcome = migrate(dsn);
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, Errc::misconfigured);
  EXPECT_NE(outcome.error().message.find("LATIN1"), std::string::npos) << outcome.error().message;
}

}  // namespace
}  // namespace parley::store::postgres
