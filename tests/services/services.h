// The real Kafka and PostgreSQL that the ctest fixture `services` runs, for tests declared with parley_service_test().
//
// Blocking, for a test's own thread. Every test takes a database or a topic of its own, so tests may run side by side
// and leave nothing to clean: `services down` removes the lot. What fails throws with cause and remedy.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace parley::test {

struct Services {
  std::string bootstrap;  // host:port
  std::string dsn;        // libpq connection string
  std::string dir;        // where the fixture writes; tests that need a server of their own make a folder here
  std::string tools;      // the folder of the scripts `kafka` and `postgres`
};

// Reads the file that PARLEY_SERVICES names (set by ctest).
const Services& services();

// Makes an empty database and returns its connection string.
std::string fresh_database(std::string_view prefix);

// Makes a topic with the settings that the log needs (R13) and returns its name.
std::string fresh_topic(std::string_view prefix, std::uint32_t partitions);

// A name nobody used: the prefix, this process and a count.
std::string fresh_name(std::string_view prefix);

}  // namespace parley::test
