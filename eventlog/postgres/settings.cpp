#include "eventlog/postgres/postgres_log.h"
#include "runtime/config.h"

namespace parley::eventlog::postgres {

void declare(runtime::Config& config, Settings& settings) {
  config.number("log_table.partitions", settings.partitions, 1, 4'096, "Partitions of the log when its tables are made; it cannot be changed later.");
  config.number("log_table.query_timeout_ms", settings.query_timeout_ms, 100, 60'000, "How long PostgreSQL may take to say where a partition ends.");
  config.number("log_table.message_timeout_ms", settings.message_timeout_ms, 1'000, 600'000,
                "How long a record is tried; must be longer than every time in which a gateway answers.");
}

}  // namespace parley::eventlog::postgres
