// The schema and how it comes about: numbered SQL files (migrations/), embedded in the binary, applied in order, each once.
//
// Expand, then contract: a migration adds what new binaries need while old ones go on (`needs` stays), and a later one takes
// away what nobody uses any more (`needs` rises to the number from which binaries can do without). So a binary works on a
// schema iff  kOldestSchema <= version of the schema  and  needs of the schema <= newest migration it carries.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "store/store.h"

namespace parley::store::postgres {

struct Migration {
  std::uint32_t version;
  std::uint32_t needs;  // the newest migration that a binary must carry to work on the schema from this version on
  const char* name;
  const char* sql;
};

// All that this binary carries, ascending from 1.
const std::vector<Migration>& migrations();

// The oldest schema that this binary's statements work on.
inline constexpr std::uint32_t kOldestSchema = 2;

struct SchemaState {
  std::uint32_t version = 0, needs = 0;
};

// Blocking; for the start of a process. `migrate` brings the schema up to the newest version this binary carries; any number of
// processes may call it at once (advisory lock). `check_schema` only looks. Both: Errc::misconfigured when this binary cannot
// work on what is there.
Result<SchemaState> migrate(const std::string& dsn);
Result<SchemaState> check_schema(const std::string& dsn);
// For tests of the above.
Result<SchemaState> migrate(const std::string& dsn, const std::vector<Migration>& carried, std::uint32_t oldest);

}  // namespace parley::store::postgres
