// What stands behind the gateway shards in the small profile: the log in PostgreSQL, one router that owns every partition, one persister.
//
//   make() -> schema migrated (PostgreSQL may come late) -> log open -> router, persister -> `ready` with the way to the router
//
// One io_context thread for both roles; the persister writes on a second one of its own. `ready` is called on the io_context's thread, once;
// `failed` on any, once, when something is wrong for good.
#pragma once

#include <grpcpp/channel.h>

#include <boost/asio/io_context.hpp>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "eventlog/opening.h"
#include "eventlog/postgres/postgres_log.h"
#include "persister/service.h"
#include "router/service.h"
#include "runtime/health.h"
#include "runtime/metrics.h"
#include "store/postgres/client.h"

namespace parley::standalone {

class Backbone {
 public:
  struct Parts {
    eventlog::postgres::Settings log;
    store::postgres::Settings postgres;
    router::ServiceSettings router;
    persister::ServiceSettings persister;
    const runtime::Clock& clock;
    runtime::Metrics& metrics;
    runtime::Health& health;
    std::function<void(std::shared_ptr<grpc::Channel>)> ready;
    std::function<void()> over;  // nothing runs here any more, the router goes next: whoever holds the channel ends now, before this returns
    std::function<void(int exit_code)> failed;
  };

  explicit Backbone(Parts parts);
  ~Backbone();  // ends the thread; nothing is told any more

  // Runs on the io_context's thread, after everything posted before; also when nothing is up yet.
  void post(std::function<void()> work);

  // Each calls `done` at once if there is nothing to stop.
  void stop_persister(std::function<void()> done);
  void stop_router(std::function<void()> done);

 private:
  void run();
  bool migrate();
  void begin(eventlog::Topic topic);

  Parts parts_;
  std::mutex mutex_;
  std::condition_variable ended_;
  bool ending_ = false;  // guarded by mutex_

  // The io_context's thread from here on.
  boost::asio::io_context io_{1};
  std::unique_ptr<store::postgres::Client> store_;
  std::unique_ptr<eventlog::Log> log_;
  std::optional<eventlog::Opening> opening_;
  std::optional<router::Service> router_;
  std::optional<persister::Service> persister_;
  std::thread thread_;  // last: runs as soon as it is made
};

}  // namespace parley::standalone
