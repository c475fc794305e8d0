#include "eventlog/kafka/kafka_log.h"
#include "runtime/config.h"

namespace parley::eventlog::kafka {

void declare(runtime::Config& config, Settings& settings) {
  config.text("kafka.brokers", settings.bootstrap, "Where to find the cluster, host:port, several separated by commas.");
  config.require("kafka.brokers", [&settings]() -> std::optional<std::string> {
    if (settings.bootstrap.empty()) return "must be set";
    return std::nullopt;
  });
  config.text("kafka.topic", settings.topic, "The one topic that holds all conversations.");
  config.number("kafka.partitions", settings.create_topic.partitions, 0, 4'096,
                "Makes the topic with this many partitions if it is missing; 0: never makes it. It cannot be changed later.");
  config.number("kafka.replication_factor", settings.create_topic.replication_factor, 1, 16, "Of the topic, when it is made.");
  config.number("kafka.linger_ms", settings.linger_ms, 0, 1'000, "How long a batch gathers before it is sent: latency against the broker's CPU.");
  config.number("kafka.query_timeout_ms", settings.query_timeout_ms, 100, 60'000, "How long the cluster may take to say where a partition ends.");
  config.number("kafka.message_timeout_ms", settings.message_timeout_ms, 1'000, 600'000,
                "How long a record is tried; must be longer than every time in which a gateway answers.");
}

}  // namespace parley::eventlog::kafka
