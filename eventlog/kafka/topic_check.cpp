#include "eventlog/kafka/topic_check.h"

#include <fmt/core.h>

#include <charconv>
#include <thread>

#include "eventlog/kafka/topic_id.h"

namespace parley::eventlog::kafka {
namespace {

using std::chrono::steady_clock;
constexpr std::chrono::milliseconds kRequest{5'000}, kSettle{10'000}, kAgain{50};

using MetadataHandle = std::unique_ptr<const rd_kafka_metadata_t, Freer<rd_kafka_metadata_destroy>>;

struct Shape {
  std::uint32_t partitions = 0, replication_factor = 0;
};

std::int64_t number(const std::map<std::string, std::string>& settings, const std::string& name) {
  const auto found = settings.find(name);
  std::int64_t value = 0;
  if (found != settings.end()) std::from_chars(found->second.data(), found->second.data() + found->second.size(), value);
  return value;
}

EventHandle ask(rd_kafka_t* client, rd_kafka_admin_op_t operation, auto request) {
  const QueueHandle queue(rd_kafka_queue_new(client));
  const OptionsHandle options(rd_kafka_AdminOptions_new(client, operation));
  char error[256];
  rd_kafka_AdminOptions_set_request_timeout(options.get(), static_cast<int>(kRequest.count()), error, sizeof error);
  request(options.get(), queue.get());
  return EventHandle(rd_kafka_queue_poll(queue.get(), static_cast<int>(2 * kRequest.count())));
}

// Absent: there is no such topic.
std::expected<std::optional<Shape>, Error> look(rd_kafka_t* client, const Settings& settings) {
  const TopicHandle topic(rd_kafka_topic_new(client, settings.topic.c_str(), nullptr));
  const rd_kafka_metadata_t* raw = nullptr;
  if (const auto code = rd_kafka_metadata(client, 0, topic.get(), &raw, static_cast<int>(kRequest.count()))) return std::unexpected(error_of(code, "metadata"));
  const MetadataHandle metadata(raw);
  if (metadata->topic_cnt != 1) return std::unexpected(Error{Errc::unavailable, "metadata: the topic is not in the answer"});
  const auto& found = metadata->topics[0];
  if (found.err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART || found.err == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC) return std::nullopt;
  if (found.err) return std::unexpected(error_of(found.err, "metadata"));
  Shape shape{static_cast<std::uint32_t>(found.partition_cnt), 0};
  for (int i = 0; i < found.partition_cnt; ++i) {
    const auto& partition = found.partitions[i];
    if (partition.leader < 0) return std::unexpected(Error{Errc::unavailable, fmt::format("partition {} has no leader", partition.id)});
    const auto replicas = static_cast<std::uint32_t>(partition.replica_cnt);
    shape.replication_factor = i == 0 ? replicas : std::min(shape.replication_factor, replicas);
  }
  return shape;
}

std::expected<void, Error> create(rd_kafka_t* client, const Settings& settings) {
  const auto& wanted = settings.create_topic;
  char text[256];
  const std::unique_ptr<rd_kafka_NewTopic_t, Freer<rd_kafka_NewTopic_destroy>> topic(
      rd_kafka_NewTopic_new(settings.topic.c_str(), static_cast<int>(wanted.partitions), static_cast<int>(wanted.replication_factor), text, sizeof text));
  if (!topic) return std::unexpected(Error{Errc::misconfigured, text});
  const auto set = [&](const char* name, const std::string& value) { rd_kafka_NewTopic_set_config(topic.get(), name, value.c_str()); };
  set("message.timestamp.type", "LogAppendTime");
  set("retention.ms", "-1");
  set("retention.bytes", "-1");
  set("cleanup.policy", "delete");
  set("unclean.leader.election.enable", "false");
  set("min.insync.replicas", wanted.replication_factor >= 3 ? "2" : "1");
  set("max.message.bytes", std::to_string(std::max<std::uint32_t>(1'048'588, settings.entry_bytes + 4'096)));
  const auto event = ask(client, RD_KAFKA_ADMIN_OP_CREATETOPICS, [&](const rd_kafka_AdminOptions_t* options, rd_kafka_queue_t* queue) {
    auto* one = topic.get();
    rd_kafka_CreateTopics(client, &one, 1, options, queue);
  });
  if (!event) return std::unexpected(Error{Errc::unavailable, "making the topic: no answer"});
  if (const auto code = rd_kafka_event_error(event.get())) return std::unexpected(error_of(code, "making the topic"));
  std::size_t count = 0;
  const auto* results = rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event.get()), &count);
  const auto code = count == 1 ? rd_kafka_topic_result_error(results[0]) : RD_KAFKA_RESP_ERR_UNKNOWN;
  // Another process of the same profile may have been quicker.
  if (code && code != RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS)
    return std::unexpected(
        Error{Errc::misconfigured, fmt::format("topic {} cannot be made: {}", settings.topic, rd_kafka_topic_result_error_string(results[0]))});
  return {};
}

std::expected<std::map<std::string, std::string>, Error> settings_of(rd_kafka_t* client, const std::string& topic) {
  const std::unique_ptr<rd_kafka_ConfigResource_t, Freer<rd_kafka_ConfigResource_destroy>> resource(
      rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic.c_str()));
  const auto event = ask(client, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS, [&](const rd_kafka_AdminOptions_t* options, rd_kafka_queue_t* queue) {
    auto* one = resource.get();
    rd_kafka_DescribeConfigs(client, &one, 1, options, queue);
  });
  if (!event) return std::unexpected(Error{Errc::unavailable, "the topic's settings: no answer"});
  if (const auto code = rd_kafka_event_error(event.get())) return std::unexpected(error_of(code, "the topic's settings"));
  std::size_t count = 0;
  const auto* resources = rd_kafka_DescribeConfigs_result_resources(rd_kafka_event_DescribeConfigs_result(event.get()), &count);
  if (count != 1) return std::unexpected(Error{Errc::unavailable, "the topic's settings are not in the answer"});
  if (const auto code = rd_kafka_ConfigResource_error(resources[0])) return std::unexpected(error_of(code, "the topic's settings"));
  std::map<std::string, std::string> out;
  std::size_t entries = 0;
  const auto* configs = rd_kafka_ConfigResource_configs(resources[0], &entries);
  for (std::size_t i = 0; i < entries; ++i)
    if (const auto* value = rd_kafka_ConfigEntry_value(configs[i])) out[rd_kafka_ConfigEntry_name(configs[i])] = value;
  return out;
}

}  // namespace

std::string wrong_settings(const std::map<std::string, std::string>& topic, std::uint32_t replication_factor, std::uint32_t entry_bytes) {
  const auto is = [&](const std::string& name, std::string_view wanted, const char* why) -> std::string {
    const auto found = topic.find(name);
    if (found != topic.end() && found->second == wanted) return {};
    return fmt::format("{} must be {} ({}), it is {}; ", name, wanted, why, found == topic.end() ? "unknown" : found->second);
  };
  std::string out;
  out += is("message.timestamp.type", "LogAppendTime", "the log's time orders");
  out += is("unclean.leader.election.enable", "false", "it would lose what was acknowledged");
  out += is("cleanup.policy", "delete", "compaction would remove records");
  out += is("retention.ms", "-1", "the persister trims");
  out += is("retention.bytes", "-1", "the persister trims");
  const auto in_sync = number(topic, "min.insync.replicas");
  if (replication_factor >= 3 && in_sync < 2)
    out += fmt::format("min.insync.replicas must be at least 2 at replication factor {}, it is {}; ", replication_factor, in_sync);
  if (replication_factor >= 3 && in_sync >= replication_factor)
    out += "min.insync.replicas must be below the replication factor, or one broker's end stops all sends; ";
  if (const auto most = number(topic, "max.message.bytes"); most < entry_bytes)
    out += fmt::format("max.message.bytes must be at least {}, it is {}; ", entry_bytes, most);
  if (out.ends_with("; ")) out.resize(out.size() - 2);
  return out;
}

std::expected<Topic, Error> open_topic(rd_kafka_t* client, const Settings& settings) {
  auto shape = look(client, settings);
  if (!shape) return std::unexpected(shape.error());
  if (!*shape) {
    if (settings.create_topic.partitions == 0)
      return std::unexpected(Error{Errc::misconfigured, fmt::format("topic {} does not exist; make it with the settings that docs name", settings.topic)});
    if (const auto made = create(client, settings); !made) return std::unexpected(made.error());
    // The broker tells of a new topic only some time after it was made.
    const auto deadline = steady_clock::now() + kSettle;
    do {
      std::this_thread::sleep_for(kAgain);
      shape = look(client, settings);
    } while ((!shape || !*shape) && steady_clock::now() < deadline);
    if (!shape) return std::unexpected(shape.error());
    if (!*shape) return std::unexpected(Error{Errc::unavailable, "the topic was made but does not appear"});
  }
  const auto found = settings_of(client, settings.topic);
  if (!found) return std::unexpected(found.error());
  if (const auto wrong = wrong_settings(*found, (*shape)->replication_factor, settings.entry_bytes); !wrong.empty())
    return std::unexpected(Error{Errc::misconfigured, fmt::format("topic {}: {}", settings.topic, wrong)});
  auto id = topic_id(settings.bootstrap, settings.topic, kRequest);
  if (!id) return std::unexpected(id.error());
  return Topic{std::move(*id), (*shape)->partitions};
}

}  // namespace parley::eventlog::kafka
