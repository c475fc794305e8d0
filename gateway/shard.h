// A Service with a thread: its io_context, log and store, and the way from nothing to serving.
//
// start() -> schema fits (PostgreSQL may come late, and a persister may still have to migrate) -> log open (topic) -> PostgreSQL
// holds the fold of this log -> end offsets -> Service. What is only away is tried again; what is wrong for good calls `failed`, once.
// Thread: start, drain and stop on the main thread; everything else on the shard's own.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "eventlog/opening.h"
#include "gateway/service.h"
#include "store/postgres/client.h"

namespace parley::gateway {

class Shard {
 public:
  struct Parts {
    std::string name;
    ServiceSettings settings;
    store::postgres::Settings postgres;
    std::function<std::unique_ptr<eventlog::Log>(boost::asio::io_context&)> make_log;
    runtime::Clock& clock;
    runtime::Metrics& metrics;
    runtime::Health& health;
    const TlsContext* tls;
    LinkClient::Connect connect = {};           // small profile: the in-process channel
    std::function<void(int exit_code)> failed;  // any thread
  };

  explicit Shard(Parts parts);
  ~Shard();

  void start();
  void drain(std::function<void()> done);
  void stop();  // ends the thread; nothing is told any more
  const std::string& name() const { return parts_.name; }

 private:
  void check_schema();  // on a thread of its own: libpq blocks
  void open_log();
  void check_store(eventlog::Topic topic);
  void ask_ends(eventlog::Topic topic);
  void serve(eventlog::Topic topic, std::vector<chat::Offset> ends);
  void give_up(const std::string& what, const std::string& message);

  Parts parts_;
  boost::asio::io_context io_{1};
  boost::asio::steady_timer retry_{io_};
  std::unique_ptr<store::postgres::Client> store_;
  std::unique_ptr<eventlog::Log> log_;
  std::unique_ptr<eventlog::Opening> opening_;
  std::unique_ptr<Service> service_;
  bool draining_ = false;  // nothing is begun any more
  std::thread thread_, schema_thread_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
};

// All at once: one deadline for the process, and no shard of it left for clients to hop onto. Any thread, while nobody changes the vector.
void drain(const std::vector<std::unique_ptr<Shard>>& shards, std::function<void()> done);

}  // namespace parley::gateway
