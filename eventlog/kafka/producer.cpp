#include "eventlog/kafka/producer.h"

#include <algorithm>
#include <array>
#include <boost/asio/post.hpp>
#include <utility>

#include "runtime/log.h"

namespace parley::eventlog::kafka {
namespace {

constexpr std::chrono::milliseconds kExpiryTick{100};

}  // namespace

KafkaProducer::KafkaProducer(const Settings& settings, boost::asio::io_context& io, std::shared_ptr<Worker> worker)
    : settings_(settings), io_(io), worker_(std::move(worker)), timer_(io) {
  connect();
  wait_expiry();
}

KafkaProducer::~KafkaProducer() {
  alive_.reset();
  replace({Errc::purged, ""});  // ends the client on the worker; nobody is told any more
}

void KafkaProducer::connect() {
  Conf conf(settings_);
  conf.set("enable.idempotence", "true").set("acks", "all").set("message.timeout.ms", 0).set("request.timeout.ms", 3'000).set("linger.ms", settings_.linger_ms);
  conf.set("message.max.bytes", settings_.entry_bytes + 4'096);
  // Our own bounds are tighter: librdkafka must never refuse for want of room.
  conf.set("queue.buffering.max.messages", 10'000'000).set("queue.buffering.max.kbytes", 2'097'151);
  conf.events(RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR);
  client_ = conf.make(RD_KAFKA_PRODUCER);
  // Fetches the metadata now, so that the first entry need not wait for it.
  topic_.reset(rd_kafka_topic_new(client_.get(), settings_.topic.c_str(), nullptr));
  events_ = std::make_unique<EventQueue>(
      io_, QueueHandle(rd_kafka_queue_get_main(client_.get())), [this](EventHandle event) { on_event(std::move(event)); }, [this] { on_drained(); });
}

KafkaProducer::Lane& KafkaProducer::lane(Partition partition) {
  if (lanes_.size() <= partition.value) lanes_.resize(partition.value + 1);
  return lanes_[partition.value];
}

std::expected<void, Error> KafkaProducer::produce(Partition partition, std::string_view key, std::string_view value, std::string_view traceparent, Done done) {
  const auto bytes = key.size() + value.size() + traceparent.size();
  if (bytes > settings_.entry_bytes) return std::unexpected(Error{Errc::too_large, "the entry exceeds entry_bytes"});
  if (entries_ >= settings_.queue_entries) return std::unexpected(Error{Errc::queue_full, "queue_entries reached"});
  if (bytes_ + bytes > settings_.queue_bytes) return std::unexpected(Error{Errc::queue_full, "queue_bytes reached"});

  auto& to = lane(partition);
  std::list<Attempt> made;
  made.push_back({partition,
                  produced_ + 1,
                  bytes,
                  std::chrono::steady_clock::now() + std::chrono::milliseconds(settings_.message_timeout_ms),
                  std::move(done),
                  {},
                  {},
                  {},
                  {}});
  if (to.waiting.empty() && to.handed.size() < settings_.handed_entries) {
    if (auto error = hand_over(made, to, key, value, traceparent)) return std::unexpected(std::move(*error));
  } else {
    auto& attempt = made.front();
    attempt.key = key;
    attempt.value = value;
    attempt.traceparent = traceparent;
    to.waiting.splice(to.waiting.end(), made);
  }
  ++produced_;
  ++entries_;
  ++unanswered_;
  bytes_ += bytes;
  return {};
}

// Gives the first attempt of `from` to librdkafka and moves it to the lane's `handed`.
std::optional<Error> KafkaProducer::hand_over(std::list<Attempt>& from, Lane& to, std::string_view key, std::string_view value, std::string_view traceparent) {
  auto& attempt = from.front();
  attempt.self = from.begin();  // stays valid when spliced
  std::array<rd_kafka_vu_t, 7> fields{};
  std::size_t count = 0;
  const auto field = [&](rd_kafka_vtype_t type) -> auto& {
    fields[count].vtype = type;
    return fields[count++].u;
  };
  field(RD_KAFKA_VTYPE_RKT).rkt = topic_.get();
  field(RD_KAFKA_VTYPE_PARTITION).i32 = static_cast<std::int32_t>(attempt.partition.value);
  field(RD_KAFKA_VTYPE_MSGFLAGS).i = RD_KAFKA_MSG_F_COPY;
  field(RD_KAFKA_VTYPE_KEY).mem = {const_cast<char*>(key.data()), key.size()};
  field(RD_KAFKA_VTYPE_VALUE).mem = {const_cast<char*>(value.data()), value.size()};
  field(RD_KAFKA_VTYPE_OPAQUE).ptr = &attempt;
  if (!traceparent.empty()) field(RD_KAFKA_VTYPE_HEADER).header = {"traceparent", traceparent.data(), static_cast<ssize_t>(traceparent.size())};
  const ErrorHandle error(rd_kafka_produceva(client_.get(), fields.data(), count));
  const auto code = error ? rd_kafka_error_code(error.get()) : RD_KAFKA_RESP_ERR_NO_ERROR;
  switch (code) {
    case RD_KAFKA_RESP_ERR_NO_ERROR:
      to.handed.splice(to.handed.end(), from, from.begin());
      return std::nullopt;
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
      return Error{Errc::too_large, "librdkafka: message.max.bytes"};
    case RD_KAFKA_RESP_ERR__QUEUE_FULL:
      return Error{Errc::queue_full, "librdkafka's queue is full"};
    default:
      return error_of(code, "produce");
  }
}

void KafkaProducer::on_event(EventHandle event) {
  switch (rd_kafka_event_type(event.get())) {
    case RD_KAFKA_EVENT_DR:
      while (const auto* report = rd_kafka_event_message_next(event.get())) on_report(*report);
      break;
    case RD_KAFKA_EVENT_ERROR:
      if (rd_kafka_event_error_is_fatal(event.get())) {
        char text[256];
        rd_kafka_fatal_error(client_.get(), text, sizeof text);
        failed_ = true;
        runtime::log::error("eventlog.producer.fatal", {{"error", text}});
      }
      break;
    default:
      break;
  }
}

void KafkaProducer::on_drained() {
  const std::weak_ptr alive(alive_);
  tell(std::exchange(reported_, {}));
  if (alive.expired()) return;
  if (!std::exchange(failed_, false)) return replace_if_only_abandoned();
  // librdkafka's idempotent producer is beyond repair; its successor starts with a new producer id. Owners are told in this turn, before
  // they can give the successor anything: it must not land without what came before.
  tell(replace({Errc::timed_out, "the producer failed; the outcome is unknown"}));
}

void KafkaProducer::on_report(const rd_kafka_message_t& report) {
  auto& attempt = *static_cast<Attempt*>(report._private);
  auto& from = lane(attempt.partition);
  if (report.err == RD_KAFKA_RESP_ERR_NO_ERROR) {
    settle(attempt, Offset{static_cast<std::uint64_t>(report.offset)}, reported_);
  } else if (report.err == RD_KAFKA_RESP_ERR__FATAL) {
    failed_ = true;
    return;  // answered with the others
  } else {
    const auto not_stored = rd_kafka_message_status(&report) == RD_KAFKA_MSG_STATUS_NOT_PERSISTED;
    const auto code = !not_stored ? Errc::timed_out : report.err == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE ? Errc::too_large : Errc::unavailable;
    settle(attempt, std::unexpected(Error{code, rd_kafka_err2str(report.err)}), reported_);
  }
  forget(from.handed, attempt.self);
  refill(from);
}

// Hands over what waited for room.
void KafkaProducer::refill(Lane& lane) {
  while (!lane.waiting.empty() && lane.handed.size() < settings_.handed_entries) {
    auto& next = lane.waiting.front();
    if (auto error = hand_over(lane.waiting, lane, next.key, next.value, next.traceparent)) {
      if (error->code == Errc::queue_full) return;
      settle(next, std::unexpected(std::move(*error)), reported_);
      forget(lane.waiting, lane.waiting.begin());
      continue;
    }
    next.key = {};
    next.value = {};
    next.traceparent = {};
  }
}

void KafkaProducer::purge(Partition partition) {
  auto& mine = lane(partition);
  std::vector<Outcome> outcomes;
  const auto purged = [] { return std::unexpected(Error{Errc::purged, "purged by its owner"}); };
  for (auto& attempt : mine.handed)
    if (attempt.done) settle(attempt, purged(), outcomes);
  while (!mine.waiting.empty()) {
    settle(mine.waiting.front(), purged(), outcomes);
    forget(mine.waiting, mine.waiting.begin());
  }
  tell_later(std::move(outcomes));
  replace_if_only_abandoned();
}

void KafkaProducer::replace_if_only_abandoned() {
  bool abandoned = false;
  for (const auto& each : lanes_) {
    if (!each.waiting.empty()) return;
    for (const auto& attempt : each.handed) {
      if (attempt.done) return;
      abandoned = true;
    }
  }
  if (abandoned) replace({Errc::purged, ""});
}

// Ends the present client with all it holds. What whoever still waits is to be told: this error.
std::vector<KafkaProducer::Outcome> KafkaProducer::replace(const Error& error) {
  std::vector<Outcome> outcomes;
  for (auto& each : lanes_) {
    for (auto* list : {&each.handed, &each.waiting}) {
      for (auto& attempt : *list)
        if (attempt.done) settle(attempt, std::unexpected(error), outcomes);
    }
  }
  events_.reset();
  // Its reports are never read again, so the attempts they point at may go.
  worker_->post([client = std::move(client_), topic = std::move(topic_)]() mutable {
    rd_kafka_purge(client.get(), RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT | RD_KAFKA_PURGE_F_NON_BLOCKING);
    topic.reset();
    client.reset();
  });
  lanes_.clear();
  entries_ = bytes_ = 0;
  if (alive_) connect();
  return outcomes;
}

void KafkaProducer::settle(Attempt& attempt, std::expected<Offset, Error> result, std::vector<Outcome>& outcomes) {
  if (!attempt.done) return;
  outcomes.push_back({std::exchange(attempt.done, nullptr), std::move(result)});
  --unanswered_;
  for (auto& flush : flushes_)
    if (attempt.number <= flush.upto) --flush.unanswered;
}

void KafkaProducer::forget(std::list<Attempt>& list, std::list<Attempt>::iterator attempt) {
  --entries_;
  bytes_ -= attempt->bytes;
  list.erase(attempt);
}

void KafkaProducer::tell(std::vector<Outcome> outcomes) {
  const std::weak_ptr alive(alive_);
  for (auto& [done, result] : outcomes) {
    done(std::move(result));
    if (alive.expired()) return;
  }
  while (!flushes_.empty() && flushes_.front().unanswered == 0) {
    auto done = std::move(flushes_.front().done);
    flushes_.pop_front();
    done();
    if (alive.expired()) return;
  }
}

void KafkaProducer::tell_later(std::vector<Outcome> outcomes) {
  boost::asio::post(io_, [this, alive = std::weak_ptr(alive_), outcomes = std::move(outcomes)]() mutable {
    if (!alive.expired()) tell(std::move(outcomes));
  });
}

void KafkaProducer::flush(std::move_only_function<void()> done) {
  flushes_.push_back({produced_, unanswered_, std::move(done)});
  if (unanswered_ == 0) tell_later({});
}

void KafkaProducer::wait_expiry() {
  timer_.expires_after(kExpiryTick);
  timer_.async_wait([this, alive = std::weak_ptr(alive_)](boost::system::error_code error) {
    if (error || alive.expired()) return;
    expire();
    if (!alive.expired()) wait_expiry();
  });
}

void KafkaProducer::expire() {
  const auto now = std::chrono::steady_clock::now();
  std::vector<Outcome> outcomes;
  for (auto& each : lanes_) {
    const auto timed_out = [] { return std::unexpected(Error{Errc::timed_out, "Kafka did not acknowledge it in time"}); };
    for (auto& attempt : each.handed) {
      if (attempt.deadline > now) break;
      if (attempt.done) settle(attempt, timed_out(), outcomes);
    }
    while (!each.waiting.empty() && each.waiting.front().deadline <= now) {
      settle(each.waiting.front(), timed_out(), outcomes);
      forget(each.waiting, each.waiting.begin());
    }
  }
  if (outcomes.empty()) return;
  const std::weak_ptr alive(alive_);
  tell(std::move(outcomes));
  if (!alive.expired()) replace_if_only_abandoned();
}

}  // namespace parley::eventlog::kafka
