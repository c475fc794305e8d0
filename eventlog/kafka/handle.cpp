#include "eventlog/kafka/handle.h"

#include <stdexcept>

#include "runtime/log.h"

namespace parley::eventlog::kafka {
namespace {

// From librdkafka's threads. What it finds worth a line is mostly connections that fail: one line a second is enough.
void log(const rd_kafka_t* client, int level, const char* facility, const char* text) {
  namespace out = runtime::log;
  out::limited(level <= 3 ? out::Level::warn : out::Level::debug, "eventlog.librdkafka", facility,
               {{"facility", facility}, {"client", rd_kafka_name(client)}, {"text", text}});
}

}  // namespace

Conf::Conf(const Settings& settings) : conf_(rd_kafka_conf_new()) {
  rd_kafka_conf_set_log_cb(conf_.get(), &log);
  set("bootstrap.servers", settings.bootstrap);
  set("client.id", settings.client_id);
  // Back within tenths of a second after a broker returned; the defaults take 3 to 6 s.
  set("reconnect.backoff.ms", 20).set("reconnect.backoff.max.ms", 200);
  set("socket.timeout.ms", 3'000).set("socket.connection.setup.timeout.ms", 1'000).set("socket.nagle.disable", "true");
  set("retry.backoff.ms", 50).set("topic.metadata.refresh.fast.interval.ms", 100);
}

Conf& Conf::set(const char* name, const std::string& value) {
  char error[256];
  if (rd_kafka_conf_set(conf_.get(), name, value.c_str(), error, sizeof error) != RD_KAFKA_CONF_OK) throw std::invalid_argument(error);
  return *this;
}

Conf& Conf::events(int events) {
  rd_kafka_conf_set_events(conf_.get(), events);
  return *this;
}

ClientHandle Conf::make(rd_kafka_type_t type) {
  char error[256];
  ClientHandle client(rd_kafka_new(type, conf_.get(), error, sizeof error));
  if (!client) throw std::runtime_error(std::string("librdkafka: ") + error);
  conf_.release();  // it belongs to the client now
  return client;
}

}  // namespace parley::eventlog::kafka
