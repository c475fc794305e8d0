// The admin port: what operators and kubelets ask a process. Plain HTTP/1.1, bound to loopback unless told otherwise, no authentication: it
// must not be reachable from outside.
//
//   GET /healthz   200, or 503 and the loops that hang           GET /metrics   Prometheus text
//   GET /readyz    200, or 503 and each failing check's reason   GET /config    values in force, secrets redacted (D46)
//   POST /drain    202: calls the hook once                      GET /version
//
// Runs on a thread of its own, so that it answers while the others are busy; hooks are called on that thread. At most kConnections at a time,
// the next waits in the backlog; a connection that is idle for 10 s is closed.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "runtime/health.h"
#include "runtime/metrics.h"

namespace parley::runtime {

struct AdminSettings {
  std::string host = "127.0.0.1";
  std::uint16_t port = 0;  // 0: any free one
};

class Admin {
 public:
  static constexpr std::size_t kConnections = 64;

  // Listens at once; throws boost::system::system_error if it cannot. `config`: Config::json().
  Admin(const AdminSettings& settings, const Metrics& metrics, const Health& health, std::string config, std::function<void()> drain = {});
  ~Admin();  // closes everything and joins the thread
  Admin(const Admin&) = delete;
  Admin& operator=(const Admin&) = delete;

  std::uint16_t port() const;

 private:
  class Server;
  std::unique_ptr<Server> server_;
};

}  // namespace parley::runtime
