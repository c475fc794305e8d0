#include "runtime/config.h"
#include "store/postgres/client.h"

namespace parley::store::postgres {

void declare(runtime::Config& config, Settings& settings) {
  config.secret("postgres.dsn", settings.dsn, "Connection string or URL, as libpq takes it.");
  config.require("postgres.dsn", [&settings]() -> std::optional<std::string> {
    if (settings.dsn.empty()) return "must be set";
    return std::nullopt;
  });
  config.number("postgres.reads", settings.reads, 1, 256, "Connections for reads, each of a thread.");
  config.number("postgres.accounts", settings.accounts, 0, 256, "Connections for users and logins, each of a thread.");
  config.number("postgres.timeout_ms", settings.timeout_ms, 100, 60'000, "How long a query may take.");
}

}  // namespace parley::store::postgres
