#include "runtime/process.h"

#include <unistd.h>

#include <array>

#include "runtime/log.h"

namespace parley::runtime {

void declare(Config& config, ProcessSettings& settings) {
  config.text("log.level", settings.log_level, "Least level written to stderr.", {"debug", "info", "warn", "error"});
  config.text("process.instance", settings.instance, "Name of this process in logs, links and metrics; empty: the host's name.");
  config.text("admin.host", settings.admin.host, "Address of the admin port. It has no authentication: keep it on loopback or in a closed network.");
  config.number("admin.port", settings.admin.port, 0, 65'535, "Port for /healthz, /readyz, /metrics, /config, /drain; 0: any free one.");
}

void start_log(ProcessSettings& settings, std::string_view role) {
  if (settings.instance.empty()) {
    std::array<char, 256> host{};
    settings.instance = gethostname(host.data(), host.size() - 1) == 0 ? host.data() : "unknown";
  }
  log::configure(log::parse_level(settings.log_level).value_or(log::Level::info), std::string(role), settings.instance);
}

}  // namespace parley::runtime
