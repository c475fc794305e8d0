#include "runtime/config.h"
#include "store/postgres/client.h"

namespace parley::store::postgres {

void declare_dsn(runtime::Config& config, std::string& dsn) {
  config.secret("postgres.dsn", dsn, "Connection string or URL, as libpq takes it.");
  config.require("postgres.dsn", [&dsn]() -> std::optional<std::string> {
    if (dsn.empty()) return "must be set";
    return std::nullopt;
  });
}

void declare(runtime::Config& config, Settings& settings) {
  declare_dsn(config, settings.dsn);
  config.number("postgres.reads", settings.reads, 1, 256, "Connections for reads, each of a thread.");
  config.number("postgres.accounts", settings.accounts, 0, 256, "Connections for users and logins, each of a thread.");
  config.number("postgres.timeout_ms", settings.timeout_ms, 100, 60'000, "How long a query may take.");
}

}  // namespace parley::store::postgres
