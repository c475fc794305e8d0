#include "eventlog/kafka/consumer.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <cstring>
#include <utility>

#include "runtime/log.h"

namespace parley::eventlog::kafka {
namespace {

std::string_view header(const rd_kafka_message_t& message, const char* name) {
  rd_kafka_headers_t* headers = nullptr;
  const void* value = nullptr;
  std::size_t size = 0;
  if (rd_kafka_message_headers(&message, &headers) || rd_kafka_header_get_last(headers, name, &value, &size)) return {};
  return {static_cast<const char*>(value), size};
}

Partition partition_of(std::int32_t number) { return {static_cast<std::uint32_t>(number)}; }
Offset offset_of(std::int64_t number) { return {static_cast<std::uint64_t>(number)}; }

}  // namespace

KafkaConsumer::KafkaConsumer(const Settings& settings, ConsumerOptions options, ConsumerEvents& events, boost::asio::io_context& io,
                             std::shared_ptr<Worker> worker, Begins begins)
    : settings_(settings), options_(std::move(options)), owner_(events), io_(io), worker_(std::move(worker)), begins_(std::move(begins)) {
  Conf conf(settings_);
  // librdkafka wants a group even where nothing is committed.
  conf.set("group.id", options_.group.empty() ? "parley-none" : options_.group);
  if (options_.join && !options_.member.empty()) conf.set("group.instance.id", options_.member);
  conf.set("partition.assignment.strategy", "range").set("session.timeout.ms", 10'000).set("heartbeat.interval.ms", 1'000);
  conf.set("enable.auto.commit", "false").set("enable.auto.offset.store", "false");
  // An offset out of range must be told, never silently moved to the end (R13).
  conf.set("auto.offset.reset", "error").set("enable.partition.eof", "true");
  conf.set("fetch.min.bytes", options_.fetch_min_bytes).set("fetch.wait.max.ms", options_.fetch_wait_ms).set("fetch.error.backoff.ms", 20);
  conf.set("fetch.message.max.bytes", std::max<std::uint32_t>(1 << 20, settings_.entry_bytes + 4'096));
  conf.set("queued.max.messages.kbytes", std::max(1'024u, settings_.prefetch_bytes >> 10));
  conf.events(RD_KAFKA_EVENT_FETCH | RD_KAFKA_EVENT_ERROR | RD_KAFKA_EVENT_REBALANCE);
  client_ = conf.make(RD_KAFKA_CONSUMER);
  rd_kafka_poll_set_consumer(client_.get());
  events_ = std::make_unique<EventQueue>(
      io_, QueueHandle(rd_kafka_queue_get_consumer(client_.get())), [this](EventHandle event) { on_event(std::move(event)); }, [this] { on_drained(); });
  if (!options_.join) return;
  const auto topics = make_partitions(1);
  rd_kafka_topic_partition_list_add(topics.get(), settings_.topic.c_str(), RD_KAFKA_PARTITION_UA);
  if (const auto code = rd_kafka_subscribe(client_.get(), topics.get()))
    throw std::runtime_error(std::string("librdkafka: subscribe: ") + rd_kafka_err2str(code));
}

KafkaConsumer::~KafkaConsumer() {
  alive_.reset();
  events_.reset();
  // Commits asked for in this turn still go out; leaving the group waits for the broker, so the worker does it.
  if (!commits_.empty()) send_commits();
  worker_->post([client = std::move(client_), join = options_.join]() mutable {
    if (!join) rd_kafka_destroy_flags(client.release(), RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    client.reset();
  });
}

void KafkaConsumer::start(Partition partition, Offset from) {
  unread(partition);
  reading_[partition] = {from, ++epochs_};
  batches_.erase(partition);
  read(partition, from);
}

void KafkaConsumer::stop(Partition partition) {
  unread(partition);
  reading_.erase(partition);
  batches_.erase(partition);
}

void KafkaConsumer::pause(Partition partition) {
  const auto found = reading_.find(partition);
  if (found == reading_.end() || found->second.paused) return;
  unread(partition);
  found->second.paused = true;
  found->second.epoch = ++epochs_;
}

void KafkaConsumer::resume(Partition partition) {
  const auto found = reading_.find(partition);
  if (found == reading_.end() || !found->second.paused) return;
  found->second.paused = false;
  read(partition, found->second.next);
}

void KafkaConsumer::read(Partition partition, Offset from) {
  reading_.at(partition).assigned = !options_.join;
  if (options_.join) return assign_all();
  const auto list = make_partitions(1);
  rd_kafka_topic_partition_list_add(list.get(), settings_.topic.c_str(), static_cast<std::int32_t>(partition.value))->offset =
      static_cast<std::int64_t>(from.value);
  if (const ErrorHandle error(rd_kafka_incremental_assign(client_.get(), list.get())); error)
    runtime::log::error("eventlog.consumer.assign", {{"partition", partition.value}, {"error", rd_kafka_error_string(error.get())}});
}

void KafkaConsumer::unread(Partition partition) {
  const auto found = reading_.find(partition);
  if (found == reading_.end() || found->second.paused) return;
  if (options_.join) return assign_all();
  const auto list = make_partitions(1);
  rd_kafka_topic_partition_list_add(list.get(), settings_.topic.c_str(), static_cast<std::int32_t>(partition.value));
  if (const ErrorHandle error(rd_kafka_incremental_unassign(client_.get(), list.get())); error)
    runtime::log::error("eventlog.consumer.unassign", {{"partition", partition.value}, {"error", rd_kafka_error_string(error.get())}});
  let_stop();
}

// librdkafka asserts, and ends the process, when a partition is taken away again while its first stop is still under way (its issue 5573). Stops and
// their replies pass through the queue of its main thread, as this question does: behind the first answer the stops were carried out, behind the
// second one their replies too.
void KafkaConsumer::let_stop() {
  for (int i = 0; i < 2; ++i) {
    rd_kafka_topic_partition_list_t* list = nullptr;
    if (rd_kafka_assignment(client_.get(), &list) == RD_KAFKA_RESP_ERR_NO_ERROR) rd_kafka_topic_partition_list_destroy(list);
  }
}

// Group mode: the whole assignment at once, one turn later, when all that changes is known.
void KafkaConsumer::assign_all() {
  if (std::exchange(reassign_, true)) return;
  boost::asio::post(io_, [this, alive = std::weak_ptr(alive_)] {
    if (alive.expired()) return;
    reassign_ = false;
    const auto list = make_partitions(static_cast<int>(reading_.size()));
    for (auto& [partition, reading] : reading_) {
      if (reading.paused) continue;
      reading.epoch = ++epochs_;
      reading.assigned = true;
      batches_.erase(partition);
      rd_kafka_topic_partition_list_add(list.get(), settings_.topic.c_str(), static_cast<std::int32_t>(partition.value))->offset =
          static_cast<std::int64_t>(reading.next.value);
    }
    if (const auto code = rd_kafka_assign(client_.get(), list.get())) runtime::log::error("eventlog.consumer.assign", {{"error", rd_kafka_err2str(code)}});
    let_stop();
  });
}

void KafkaConsumer::commit(Partition partition, Offset next) {
  const bool first = commits_.empty();
  commits_[partition] = next;
  if (!first) return;
  boost::asio::post(io_, [this, alive = std::weak_ptr(alive_)] {
    if (!alive.expired()) send_commits();
  });
}

void KafkaConsumer::send_commits() {
  const auto list = make_partitions(static_cast<int>(commits_.size()));
  for (const auto& [partition, next] : std::exchange(commits_, {}))
    rd_kafka_topic_partition_list_add(list.get(), settings_.topic.c_str(), static_cast<std::int32_t>(partition.value))->offset =
        static_cast<std::int64_t>(next.value);
  if (const auto code = rd_kafka_commit(client_.get(), list.get(), 1)) runtime::log::warn("eventlog.consumer.commit", {{"error", rd_kafka_err2str(code)}});
}

void KafkaConsumer::on_event(EventHandle event) {
  switch (rd_kafka_event_type(event.get())) {
    case RD_KAFKA_EVENT_FETCH:
      while (const auto* message = rd_kafka_event_message_next(event.get())) on_message(*message);
      held_.push_back(std::move(event));
      break;
    case RD_KAFKA_EVENT_ERROR:
      on_error(*event);
      break;
    case RD_KAFKA_EVENT_REBALANCE:
      on_rebalance(*event);
      break;
    default:
      break;
  }
}

KafkaConsumer::Batch& KafkaConsumer::batch(Partition partition, const Reading& reading) {
  return batches_.try_emplace(partition, Batch{{}, reading.next, reading.epoch}).first->second;
}

void KafkaConsumer::on_message(const rd_kafka_message_t& message) {
  const auto partition = partition_of(message.partition);
  const auto found = reading_.find(partition);
  if (found == reading_.end() || found->second.paused || !found->second.assigned) return;
  auto& to = batch(partition, found->second);
  const auto offset = offset_of(message.offset);
  if (offset < to.end) return;
  rd_kafka_timestamp_type_t type{};
  const auto time = rd_kafka_message_timestamp(&message, &type);
  to.entries.push_back({offset,
                        {static_cast<std::uint64_t>(std::max<std::int64_t>(time, 0))},
                        {static_cast<const char*>(message.key), message.key_len},
                        {static_cast<const char*>(message.payload), message.len},
                        header(message, "traceparent")});
  to.end = offset.next();
}

void KafkaConsumer::on_error(const rd_kafka_event_t& event) {
  auto* raw = const_cast<rd_kafka_event_t*>(&event);
  const auto code = rd_kafka_event_error(raw);
  if (code == RD_KAFKA_RESP_ERR__FATAL || rd_kafka_event_error_is_fatal(raw)) {
    failed_ = rd_kafka_event_error_string(raw);
    return;
  }
  const PartitionHandle where(rd_kafka_event_topic_partition(raw));
  if (where && code == RD_KAFKA_RESP_ERR__PARTITION_EOF) return on_end(partition_of(where->partition), offset_of(where->offset));
  if (where && (code == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET || code == RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE))
    return on_out_of_range(partition_of(where->partition));
  if (code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN || code == RD_KAFKA_RESP_ERR__TRANSPORT) return;  // it reconnects by itself
  runtime::log::limited(runtime::log::Level::warn, "eventlog.consumer", rd_kafka_err2name(code), {{"error", rd_kafka_event_error_string(raw)}});
}

// The end of the partition: beyond the last entry where control records follow it.
void KafkaConsumer::on_end(Partition partition, Offset end) {
  const auto found = reading_.find(partition);
  if (found == reading_.end() || found->second.paused || !found->second.assigned) return;
  const auto pending = batches_.find(partition);
  const auto known = pending == batches_.end() ? found->second.next : pending->second.end;
  if (end <= known) return;
  batch(partition, found->second).end = end;
}

void KafkaConsumer::on_out_of_range(Partition partition) {
  const auto found = reading_.find(partition);
  if (found == reading_.end() || !found->second.assigned) return;
  const auto epoch = found->second.epoch;
  begins_([this, alive = std::weak_ptr(alive_), partition, epoch](std::expected<std::vector<Offset>, Error> begins) {
    if (alive.expired()) return;
    const auto still = reading_.find(partition);
    if (still == reading_.end() || still->second.epoch != epoch) return;
    if (!begins) return start(partition, still->second.next);  // asked again by the next fetch
    stop(partition);
    owner_.on_out_of_range(partition, (*begins)[partition.value]);
  });
}

void KafkaConsumer::on_rebalance(rd_kafka_event_t& event) {
  const auto* list = rd_kafka_event_topic_partition_list(&event);
  std::vector<Partition> partitions;
  for (int i = 0; list && i < list->cnt; ++i) partitions.push_back(partition_of(list->elems[i].partition));
  if (rd_kafka_event_error(&event) == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
    // Nothing is read before `start`.
    const auto none = make_partitions(0);
    rd_kafka_assign(client_.get(), none.get());
    if (!partitions.empty()) rebalances_.push_back({true, std::move(partitions)});
    return;
  }
  rd_kafka_assign(client_.get(), nullptr);
  let_stop();
  for (const auto partition : partitions) {
    reading_.erase(partition);
    batches_.erase(partition);
    commits_.erase(partition);
  }
  if (!partitions.empty()) rebalances_.push_back({false, std::move(partitions)});
}

void KafkaConsumer::on_drained() {
  const std::weak_ptr alive(alive_);
  const auto held = std::exchange(held_, {});
  for (const auto& [assigned, partitions] : std::exchange(rebalances_, {})) {
    assigned ? owner_.on_assigned(partitions) : owner_.on_lost(partitions);
    if (alive.expired()) return;
  }
  // The owner may start, stop or pause any partition meanwhile.
  while (!batches_.empty()) {
    auto node = batches_.extract(batches_.begin());
    const auto found = reading_.find(node.key());
    if (found == reading_.end() || found->second.paused || found->second.epoch != node.mapped().epoch) continue;
    found->second.next = node.mapped().end;
    owner_.on_entries(node.key(), node.mapped().entries, node.mapped().end);
    if (alive.expired()) return;
  }
  if (failed_.empty()) return;
  reading_.clear();
  // Here too: an owner without a word for it would only read no more.
  runtime::log::error("eventlog.consumer.failed", {{"group", options_.group}, {"why", failed_}});
  owner_.on_failed(std::exchange(failed_, {}));
}

}  // namespace parley::eventlog::kafka
