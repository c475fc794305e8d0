// What every main() shares: the settings of a process as such, the start of its log, and how many files it may open.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "runtime/admin.h"
#include "runtime/config.h"

namespace parley::runtime {

struct ProcessSettings {
  std::string log_level = "info";
  std::string instance;  // name in logs, links and metrics; empty: the host's name
  AdminSettings admin;
};

// log.level, process.instance, admin.host, admin.port
void declare(Config& config, ProcessSettings& settings);

// Fills `instance` if empty, configures the log, and raises the soft limit of file descriptors (1,024 almost everywhere) to the hard one.
// Call after Config::start.
void start_process(ProcessSettings& settings, std::string_view role);

// File descriptors this process may have.
std::uint64_t descriptor_limit();

}  // namespace parley::runtime
