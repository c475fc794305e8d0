#include "eventlog/kafka/kafka_log.h"

#include <boost/asio/post.hpp>
#include <chrono>
#include <map>
#include <thread>
#include <utility>

#include "eventlog/kafka/consumer.h"
#include "eventlog/kafka/event_queue.h"
#include "eventlog/kafka/handle.h"
#include "eventlog/kafka/producer.h"
#include "eventlog/kafka/topic_check.h"
#include "eventlog/kafka/worker.h"
#include "eventlog/rounds.h"

namespace parley::eventlog::kafka {
namespace {

using Offsets = std::vector<Offset>;
constexpr std::chrono::milliseconds kAskAgain{20};

using MaybeOffsets = std::vector<std::optional<Offset>>;

// One request to each broker that leads partitions: the old meaning of a "time" below zero, RD_KAFKA_OFFSET_END and
// _BEGINNING, is the end and the begin. (rd_kafka_query_watermark_offsets would ask partition by partition.)
std::expected<Offsets, Error> query_times(rd_kafka_t* client, const std::string& topic, std::uint32_t partitions, std::int64_t time, int timeout_ms) {
  const auto list = make_partitions(static_cast<int>(partitions));
  for (std::uint32_t p = 0; p < partitions; ++p) rd_kafka_topic_partition_list_add(list.get(), topic.c_str(), static_cast<std::int32_t>(p))->offset = time;
  if (const auto code = rd_kafka_offsets_for_times(client, list.get(), timeout_ms)) return std::unexpected(error_of(code, "offsets"));
  Offsets out;
  for (int i = 0; i < list->cnt; ++i) {
    const auto& each = list->elems[i];
    if (each.err) return std::unexpected(error_of(each.err, "offsets"));
    if (each.offset < 0) return std::unexpected(Error{Errc::unavailable, "offsets: none told"});
    out.push_back(Offset{static_cast<std::uint64_t>(each.offset)});
  }
  return out;
}

using MetadataHandle = std::unique_ptr<const rd_kafka_metadata_t, Freer<rd_kafka_metadata_destroy>>;

// One partition without a leader fails rd_kafka_offsets_for_times for all, at the end of its patience: such are not asked about, and absent.
std::expected<MaybeOffsets, Error> query_since(rd_kafka_t* client, const std::string& name, std::uint32_t partitions, std::int64_t time, int timeout_ms) {
  const TopicHandle topic(rd_kafka_topic_new(client, name.c_str(), nullptr));
  const rd_kafka_metadata_t* raw = nullptr;
  if (const auto code = rd_kafka_metadata(client, 0, topic.get(), &raw, timeout_ms)) return std::unexpected(error_of(code, "metadata"));
  const MetadataHandle metadata(raw);
  const auto list = make_partitions(static_cast<int>(partitions));
  for (int t = 0; t < metadata->topic_cnt; ++t) {
    const auto& found = metadata->topics[t];
    for (int i = 0; i < found.partition_cnt; ++i) {
      const auto& partition = found.partitions[i];
      if (partition.leader < 0 || partition.id < 0 || static_cast<std::uint32_t>(partition.id) >= partitions) continue;
      rd_kafka_topic_partition_list_add(list.get(), name.c_str(), partition.id)->offset = time;
    }
  }
  if (list->cnt == 0) return std::unexpected(Error{Errc::unavailable, "offsets: no partition has a leader"});
  if (const auto code = rd_kafka_offsets_for_times(client, list.get(), timeout_ms)) return std::unexpected(error_of(code, "offsets"));
  MaybeOffsets out(partitions);
  for (int i = 0; i < list->cnt; ++i) {
    const auto& each = list->elems[i];
    if (!each.err && each.offset >= 0) out.at(static_cast<std::size_t>(each.partition)) = Offset{static_cast<std::uint64_t>(each.offset)};
  }
  return out;
}

// While leaders move (a new topic, a broker that ended) it is asked again until the time is up.
auto ask_again(std::chrono::milliseconds timeout, auto query) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    auto result = query(static_cast<int>(std::max(left.count(), std::chrono::milliseconds::rep{1})));
    if (result || std::chrono::steady_clock::now() + kAskAgain >= deadline) return result;
    std::this_thread::sleep_for(kAskAgain);
  }
}

std::expected<Offsets, Error> query_offsets(rd_kafka_t* client, const std::string& topic, std::uint32_t partitions, std::int64_t which,
                                            std::chrono::milliseconds timeout) {
  return ask_again(timeout, [&](int timeout_ms) { return query_times(client, topic, partitions, which, timeout_ms); });
}

std::expected<MaybeOffsets, Error> query_committed(rd_kafka_t* client, const std::string& topic, std::uint32_t partitions, int timeout_ms) {
  const auto list = make_partitions(static_cast<int>(partitions));
  rd_kafka_topic_partition_list_add_range(list.get(), topic.c_str(), 0, static_cast<std::int32_t>(partitions) - 1);
  if (const auto code = rd_kafka_committed(client, list.get(), timeout_ms)) return std::unexpected(error_of(code, "committed"));
  std::vector<std::optional<Offset>> out(partitions);
  for (int i = 0; i < list->cnt; ++i) {
    const auto& each = list->elems[i];
    if (each.err) return std::unexpected(error_of(each.err, "committed"));
    if (each.offset >= 0) out.at(static_cast<std::size_t>(each.partition)) = Offset{static_cast<std::uint64_t>(each.offset)};
  }
  return out;
}

class KafkaLog final : public Log {
 public:
  KafkaLog(Settings settings, boost::asio::io_context& io)
      : settings_(std::move(settings)),
        io_(io),
        client_(Conf(settings_).make(RD_KAFKA_PRODUCER)),
        ends_(io, kMostAskers, [this](Callback<Offsets> done) { offsets(RD_KAFKA_OFFSET_END, std::move(done)); }),
        begins_(io, kMostAskers, [this](Callback<Offsets> done) { offsets(RD_KAFKA_OFFSET_BEGINNING, std::move(done)); }) {
    events_ = std::make_unique<EventQueue>(
        io_, QueueHandle(rd_kafka_queue_new(client_.get())), [this](EventHandle event) { answers_.push_back(std::move(event)); }, [this] { on_answers(); });
  }

  ~KafkaLog() override {
    alive_.reset();
    events_.reset();
    // The worker may be using the client: it ends it.
    worker_->post([client = std::move(client_), askers = std::move(askers_)]() mutable {
      for (auto& [group, asker] : askers) rd_kafka_destroy_flags(asker.release(), RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
      client.reset();
    });
  }

  void open(Callback<Topic> done) override {
    worker_->post([this, alive = std::weak_ptr(alive_), client = client_.get(), settings = settings_, &io = io_, done = std::move(done)]() mutable {
      auto result = open_topic(client, settings);
      boost::asio::post(io, [this, alive = std::move(alive), done = std::move(done), result = std::move(result)]() mutable {
        if (alive.expired()) return;
        if (result) partitions_ = result->partitions;
        done(std::move(result));
      });
    });
  }

  void ends(Callback<Offsets> done) override { ends_.ask(std::move(done)); }
  void begins(Callback<Offsets> done) override { begins_.ask(std::move(done)); }

  void since(TimeMs time, Callback<MaybeOffsets> done) override {
    if (!opened(done)) return;
    on_worker<MaybeOffsets>(std::move(done), [client = client_.get(), topic = settings_.topic, partitions = partitions_, time,
                                              timeout = std::chrono::milliseconds(settings_.query_timeout_ms)] {
      return ask_again(timeout, [&](int timeout_ms) { return query_since(client, topic, partitions, static_cast<std::int64_t>(time.value), timeout_ms); });
    });
  }

  // Asked by a consumer that never joins: librdkafka 2.0.2 aborts the process (rd_kafka_enq_once_del_source_return) when an
  // admin request, ListConsumerGroupOffsets, is out of time while it still looks for the group's coordinator.
  void committed(std::string group, Callback<MaybeOffsets> done) override {
    if (!opened(done)) return;
    auto& asker = askers_[group];
    if (!asker) asker = Conf(settings_).set("group.id", group).set("enable.auto.commit", "false").events(RD_KAFKA_EVENT_ERROR).make(RD_KAFKA_CONSUMER);
    on_worker<MaybeOffsets>(
        std::move(done), [client = asker.get(), topic = settings_.topic, partitions = partitions_, timeout_ms = static_cast<int>(settings_.query_timeout_ms)] {
          return query_committed(client, topic, partitions, timeout_ms);
        });
  }

  void trim(Partition partition, Offset before, Callback<void> done) override {
    const auto list = make_partitions(1);
    rd_kafka_topic_partition_list_add(list.get(), settings_.topic.c_str(), static_cast<std::int32_t>(partition.value))->offset =
        static_cast<std::int64_t>(before.value);
    auto* request = rd_kafka_DeleteRecords_new(list.get());
    const auto options = wait_for(RD_KAFKA_ADMIN_OP_DELETERECORDS, [done = std::move(done)](const rd_kafka_event_t* event, std::optional<Error> error) mutable {
      if (error) return done(std::unexpected(std::move(*error)));
      const auto* found = rd_kafka_DeleteRecords_result_offsets(rd_kafka_event_DeleteRecords_result(const_cast<rd_kafka_event_t*>(event)));
      if (found->cnt != 1 || found->elems[0].err)
        return done(std::unexpected(error_of(found->cnt == 1 ? found->elems[0].err : RD_KAFKA_RESP_ERR_UNKNOWN, "trim")));
      done({});
    });
    rd_kafka_DeleteRecords(client_.get(), &request, 1, options.get(), events_->raw());
    rd_kafka_DeleteRecords_destroy(request);
  }

  std::unique_ptr<Producer> producer() override { return std::make_unique<KafkaProducer>(settings_, io_, worker_); }

  std::unique_ptr<Consumer> consumer(ConsumerOptions options, ConsumerEvents& events) override {
    return std::make_unique<KafkaConsumer>(settings_, std::move(options), events, io_, worker_, [this](Callback<Offsets> done) { begins(std::move(done)); });
  }

 private:
  using Answer = std::move_only_function<void(const rd_kafka_event_t*, std::optional<Error>)>;

  template <class T>
  bool opened(Callback<T>& done) {
    if (partitions_ > 0) return true;
    boost::asio::post(io_, [done = std::move(done)]() mutable { done(std::unexpected(Error{Errc::unavailable, "the log is not open"})); });
    return false;
  }

  void offsets(std::int64_t which, Callback<Offsets> done) {
    if (!opened(done)) return;
    on_worker<Offsets>(std::move(done),
                       [client = client_.get(), topic = settings_.topic, partitions = partitions_, which,
                        timeout = std::chrono::milliseconds(settings_.query_timeout_ms)] { return query_offsets(client, topic, partitions, which, timeout); });
  }

  // What blocks; `done` is told on the loop, unless this is gone by then.
  template <class T>
  void on_worker(Callback<T> done, auto query) {
    worker_->post([query = std::move(query), &io = io_, alive = std::weak_ptr(alive_), done = std::move(done)]() mutable {
      boost::asio::post(io, [alive = std::move(alive), done = std::move(done), result = query()]() mutable {
        if (!alive.expired()) done(std::move(result));
      });
    });
  }

  OptionsHandle wait_for(rd_kafka_admin_op_t operation, Answer answer) {
    OptionsHandle options(rd_kafka_AdminOptions_new(client_.get(), operation));
    char error[256];
    rd_kafka_AdminOptions_set_request_timeout(options.get(), static_cast<int>(settings_.query_timeout_ms), error, sizeof error);
    const auto number = ++asked_;
    rd_kafka_AdminOptions_set_opaque(options.get(), reinterpret_cast<void*>(number));
    pending_.emplace(number, std::move(answer));
    return options;
  }

  void on_answers() {
    const std::weak_ptr alive(alive_);
    for (const auto& event : std::exchange(answers_, {})) {
      auto node = pending_.extract(reinterpret_cast<std::uintptr_t>(rd_kafka_event_opaque(event.get())));
      if (!node) continue;
      std::optional<Error> error;
      if (rd_kafka_event_error(event.get())) error = Error{Errc::unavailable, rd_kafka_event_error_string(event.get())};
      node.mapped()(event.get(), std::move(error));
      if (alive.expired()) return;
    }
  }

  Settings settings_;
  boost::asio::io_context& io_;
  std::shared_ptr<Worker> worker_ = std::make_shared<Worker>();
  ClientHandle client_;
  std::map<std::string, ClientHandle> askers_;  // by group: consumers that only ask what it committed; two in a router
  std::unique_ptr<EventQueue> events_;
  std::vector<EventHandle> answers_;  // of the turn being drained
  std::map<std::uintptr_t, Answer> pending_;
  std::uintptr_t asked_ = 0;
  std::uint32_t partitions_ = 0;  // known once open
  Rounds<Offsets> ends_, begins_;
  std::shared_ptr<int> alive_ = std::make_shared<int>();
};

}  // namespace

std::unique_ptr<Log> make_log(Settings settings, boost::asio::io_context& io) { return std::make_unique<KafkaLog>(std::move(settings), io); }

}  // namespace parley::eventlog::kafka
