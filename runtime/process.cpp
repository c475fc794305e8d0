#include "runtime/process.h"

#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <system_error>

#include "runtime/log.h"

namespace parley::runtime {

void declare(Config& config, ProcessSettings& settings) {
  config.text("log.level", settings.log_level, "Least level written to stderr.", {"debug", "info", "warn", "error"});
  config.text("process.instance", settings.instance, "Name of this process in logs, links and metrics; empty: the host's name.");
  config.text("admin.host", settings.admin.host, "Address of the admin port. It has no authentication: keep it on loopback or in a closed network.");
  config.number("admin.port", settings.admin.port, 0, 65'535, "Port for /healthz, /readyz, /metrics, /config, /drain; 0: any free one.");
}

void start_process(ProcessSettings& settings, std::string_view role) {
  if (settings.instance.empty()) {
    std::array<char, 256> host{};
    settings.instance = gethostname(host.data(), host.size() - 1) == 0 ? host.data() : "unknown";
  }
  log::configure(log::parse_level(settings.log_level).value_or(log::Level::info), std::string(role), settings.instance);
  // Nothing here uses select(), for whose sake the soft limit is low.
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) != 0) return;
  files.rlim_cur = files.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &files) != 0)
    log::warn("process.descriptors", {{"error", std::generic_category().message(errno)}, {"wanted", static_cast<std::uint64_t>(files.rlim_max)}});
}

std::uint64_t descriptor_limit() {
  rlimit files{};
  return getrlimit(RLIMIT_NOFILE, &files) == 0 ? files.rlim_cur : 1'024;
}

}  // namespace parley::runtime
