#include "store/postgres/schema.h"

#include <fmt/core.h>

#include "runtime/postgres/connection.h"
#include "store/postgres/errors.h"

namespace parley::store::postgres {

namespace {

using runtime::postgres::Connection;
using runtime::postgres::Params;

// "parley" in ASCII: nobody else's number.
constexpr std::uint64_t kLock = 0x7061726c6579;
constexpr std::uint32_t kTimeoutMs = 600'000;  // a migration may rewrite a table

Result<SchemaState> state_of(Connection& connection) {
  auto exists = connection.query("select to_regclass('schema_version') is not null");
  if (!exists) return std::unexpected(store_error(exists.error()));
  if (!(*exists)[0].boolean(0)) return SchemaState{};
  auto rows = connection.query("select version, needs from schema_version order by version desc limit 1");
  if (!rows) return std::unexpected(store_error(rows.error()));
  if (rows->empty()) return SchemaState{};
  return SchemaState{(*rows)[0].u4(0), (*rows)[0].u4(1)};
}

Result<SchemaState> judge(SchemaState there, const std::vector<Migration>& carried, std::uint32_t oldest) {
  const std::uint32_t newest = carried.back().version;
  if (there.needs > newest)
    return std::unexpected(Error{Errc::misconfigured, fmt::format("the schema is at version {} and needs binaries that know version {}; this one knows {}: "
                                                                  "use a newer binary",
                                                                  there.version, there.needs, newest)});
  if (there.version < oldest)
    return std::unexpected(Error{Errc::misconfigured, fmt::format("the schema is at version {}, this binary needs at least {}: let a persister of this version "
                                                                  "migrate it first",
                                                                  there.version, oldest)});
  return there;
}

Result<void> apply(Connection& connection, const Migration& migration) {
  auto step = [](auto outcome) -> Result<void> {
    if (!outcome) return std::unexpected(store_error(outcome.error()));
    return {};
  };
  if (auto done = step(connection.query("begin")); !done) return done;
  if (auto done = step(connection.script(migration.sql)); !done)
    return std::unexpected(Error{done.error().code, fmt::format("migration {}: {}", migration.name, done.error().message)});
  if (auto done = step(connection.query("insert into schema_version (version, needs, name) values ($1, $2, $3)",
                                        Params().i4(migration.version).i4(migration.needs).text(migration.name)));
      !done)
    return done;
  return step(connection.query("commit"));
}

}  // namespace

Result<SchemaState> migrate(const std::string& dsn, const std::vector<Migration>& carried, std::uint32_t oldest) {
  auto connection = Connection::open(dsn, kTimeoutMs);
  if (!connection) return std::unexpected(store_error(connection.error()));
  // COPY sends text as UTF-8 bytes; another encoding would refuse or turn what clients wrote.
  auto encoding = connection->query("select current_setting('server_encoding')");
  if (!encoding) return std::unexpected(store_error(encoding.error()));
  if ((*encoding)[0].text(0) != "UTF8")
    return std::unexpected(
        Error{Errc::misconfigured, fmt::format("the database's encoding is {}; it must be made with encoding UTF8", (*encoding)[0].text(0))});
  // Held until this connection ends.
  if (auto locked = connection->query("select pg_advisory_lock($1)", Params().i8(kLock)); !locked) return std::unexpected(store_error(locked.error()));
  auto there = state_of(*connection);
  if (!there) return there;
  if (there->version == 0) {
    auto made = connection->script(
        "create table if not exists schema_version ("
        " version integer primary key, needs integer not null, name text not null, applied timestamptz not null default now())");
    if (!made) return std::unexpected(store_error(made.error()));
  }
  for (const Migration& migration : carried) {
    if (migration.version <= there->version) continue;
    if (auto applied = apply(*connection, migration); !applied) return std::unexpected(applied.error());
    *there = {migration.version, migration.needs};
  }
  return judge(*there, carried, oldest);
}

Result<SchemaState> migrate(const std::string& dsn) { return migrate(dsn, migrations(), kOldestSchema); }

Result<SchemaState> check_schema(const std::string& dsn) {
  auto connection = Connection::open(dsn);
  if (!connection) return std::unexpected(store_error(connection.error()));
  auto there = state_of(*connection);
  if (!there) return there;
  return judge(*there, migrations(), kOldestSchema);
}

}  // namespace parley::store::postgres
