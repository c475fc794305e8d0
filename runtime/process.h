// What every main() shares: the settings of a process as such, and the start of its log.
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

// Fills `instance` if empty and configures the log. Call after Config::start.
void start_log(ProcessSettings& settings, std::string_view role);

}  // namespace parley::runtime
