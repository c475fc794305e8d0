#include "persister/service.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <random>

#include "chat/record.h"
#include "runtime/log.h"

namespace parley::persister {

namespace log = runtime::log;

namespace {

constexpr auto kRetryOpen = std::chrono::milliseconds(500), kRetryJoin = std::chrono::milliseconds(5'000);
constexpr std::uint64_t kFireAgainMs = 10'000;  // a due schedule whose record did not come back by then is made a record again
constexpr std::string_view kCheck = "persister", kAsideCheck = "persister partitions", kWriter = "persister writer";
constexpr std::uint32_t kWriterSilenceMs = 120'000;  // beyond what any batch takes, row by row on a slow disk; each statement has its own deadline

}  // namespace

struct Service::Numbers {
  explicit Numbers(runtime::Metrics& m)
      : records(m.counter("parley_persister_records_total", "Records folded and stored.")),
        events(m.counter("parley_persister_events_total", "Events stored.")),
        batches(m.counter("parley_persister_batches_total", "Transactions committed.")),
        batch_seconds(m.histogram("parley_persister_batch_seconds", "Time to fold and commit a batch.", runtime::Metrics::latency_bounds())),
        lag_seconds(m.gauge("parley_persister_lag_seconds", "Age of the newest stored record when it was stored.")),
        waiting(m.gauge("parley_persister_waiting_records", "Records read and not stored yet.")),
        lost(m.counter("parley_persister_lost_total", "Batches lost to a rival by the compare-and-set.")),
        stopped(m.gauge("parley_persister_stopped_partitions", "Partitions that stopped and need a person.")),
        aside(m.gauge("parley_persister_aside_partitions", "Partitions whose next batch PostgreSQL refuses while it takes others.")),
        quarantined(m.counter("parley_persister_quarantined_total", "Events stored without their body because PostgreSQL refused it.")),
        away(m.gauge("parley_persister_store_away", "1 while PostgreSQL cannot be written.")),
        fired(m.counter("parley_persister_fired_total", "Due schedules made into records.")),
        stage(m.stage(runtime::Stage::persist)) {}
  runtime::Counter records, events, batches;
  runtime::Histogram batch_seconds;
  runtime::Gauge lag_seconds, waiting;
  runtime::Counter lost;
  runtime::Gauge stopped, aside;
  runtime::Counter quarantined;
  runtime::Gauge away;
  runtime::Counter fired;
  runtime::Histogram stage;
};

Service::Service(ServiceSettings settings, ServicePorts ports)
    : settings_(std::move(settings)),
      io_(ports.io),
      log_(ports.log),
      clock_(ports.clock),
      health_(ports.health),
      numbers_(std::make_unique<Numbers>(ports.metrics)),
      dead_letter_(std::move(ports.dead_letter)),
      retry_(ports.io),
      trim_(ports.io) {
  health_.declare(kCheck);
  health_.ready(kAsideCheck);
  ports.writer->on_quarantined(
      [tell = on_loop<Partition, store::StoredEvent, std::string>([this](Partition partition, const store::StoredEvent& event, const std::string& why) {
         numbers_->quarantined.add();
         log::error("persister.quarantined", {{"partition", partition.value},
                                              {"offset", event.offset.value},
                                              {"conversation", chat::to_text(event.event.conversation)},
                                              {"seq", event.event.seq.value},
                                              {"why", why}});
         if (dead_letter_) dead_letter_(partition, event, why);
       })](Partition partition, const store::StoredEvent& event, std::string_view why) { tell(partition, event, std::string(why)); });
  storing_ = std::make_unique<Storing>(settings_.worker, std::chrono::milliseconds(settings_.due_every_ms), inbox_, std::move(ports.writer),
                                       std::move(ports.prepare), clock_, reports());
}

Service::~Service() {
  alive_.reset();
  inbox_.stop();
  storing_.reset();
}

// Called on the writing thread; `then` runs on the loop, unless we are gone by then.
template <class... Args, class Then>
std::function<void(Args...)> Service::on_loop(Then then) {
  return [this, then, alive = std::weak_ptr(alive_)](Args... args) {
    boost::asio::post(io_, [then, alive, ... args = std::move(args)]() mutable {
      if (!alive.expired()) then(std::move(args)...);
    });
  };
}

Reports Service::reports() {
  Reports to;
  to.opened = on_loop<store::Result<void>>([this](const store::Result<void>& outcome) { opened(outcome); });
  to.started = on_loop<Partition, Epoch, Offset>([this](Partition partition, Epoch epoch, Offset position) {
    const auto held = epochs_.find(partition);
    if (held == epochs_.end() || held->second != epoch || !consumer_) return;
    log::info("persister.start", {{"partition", partition.value}, {"position", position.value}});
    positions_[partition] = position;
    consumer_->start(partition, position);
  });
  to.stored = on_loop<Stored>([this](const Stored& report) { stored(report); });
  to.lost = on_loop<Partition, Epoch>([this](Partition partition, Epoch epoch) {
    numbers_->lost.add();
    log::warn("persister.lost", {{"partition", partition.value}});
    if (const auto held = epochs_.find(partition); held != epochs_.end() && held->second == epoch) restart(partition);
  });
  to.stopped = on_loop<Partition, Epoch, std::string>([this](Partition partition, Epoch epoch, std::string why) {
    if (const auto held = epochs_.find(partition); held != epochs_.end() && held->second == epoch) stop_partition(partition, std::move(why));
  });
  to.due = on_loop<std::vector<store::StoredSchedule>, Partition>(
      [this](const std::vector<store::StoredSchedule>& due, Partition partition) { fire(due, partition); });
  to.store_away = on_loop<bool, std::string>([this](bool away, const std::string& why) {
    numbers_->away.set(away ? 1 : 0);
    if (away && !producer_) health_.not_ready(kCheck, why);
    if (away)
      log::warn("persister.store_away", {{"why", why}});
    else
      log::info("persister.store_back");
  });
  to.aside = on_loop<Partition, Epoch, std::string>([this](Partition partition, Epoch epoch, std::string why) {
    if (const auto held = epochs_.find(partition); held != epochs_.end() && held->second == epoch) aside(partition, std::move(why));
  });
  to.alive = [&health = health_] { health.beat(kWriter, kWriterSilenceMs); };  // not by the loop: it answers for the thread alone
  to.ended = on_loop<>([this] {
    health_.end_beat(kWriter);
    consumer_.reset();  // leaves the group; what was committed before goes out first
    producer_.reset();
    if (auto done = std::exchange(done_, nullptr)) done();
  });
  return to;
}

void Service::start() { open_log(); }

void Service::open_log() {
  log_.open([this, alive = std::weak_ptr(alive_)](std::expected<eventlog::Topic, eventlog::Error> topic) {
    if (alive.expired() || inbox_.stopping()) return;
    if (topic) {
      begun_ = true;
      return storing_->open(topic->id, topic->partitions);
    }
    health_.not_ready(kCheck, topic.error().message);
    log::error("persister.log_not_open", {{"why", topic.error().message}});
    // Final or not, it is asked again: a topic's settings can be put right without a restart.
    retry_.expires_after(kRetryOpen);
    retry_.async_wait([this, alive](boost::system::error_code error) {
      if (!error && !alive.expired()) open_log();
    });
  });
}

void Service::opened(const store::Result<void>& outcome) {
  if (inbox_.stopping()) return;
  if (!outcome) {
    health_.not_ready(kCheck, outcome.error().message);
    log::error("persister.store_refused", {{"why", outcome.error().message}});
    return;
  }
  producer_ = log_.producer();
  join_group();
  if (settings_.keep_hours > 0) trim();
  log::info("persister.ready");
}

void Service::join_group() {
  consumer_ = log_.consumer({.group = settings_.group,
                             .join = true,
                             .member = settings_.member,
                             .fetch_min_bytes = settings_.fetch_min_bytes,
                             .fetch_wait_ms = settings_.fetch_wait_ms},
                            *this);
  health_.ready(kCheck);
}

void Service::stop(std::function<void()> done) {
  retry_.cancel();
  trim_.cancel();
  done_ = std::move(done);
  inbox_.stop();
  health_.not_ready(kCheck, "stopping");
  if (begun_) return;
  boost::asio::post(io_, [this, alive = std::weak_ptr(alive_)] {
    if (alive.expired()) return;
    if (auto then = std::exchange(done_, nullptr)) then();
  });
}

void Service::on_assigned(std::span<const Partition> partitions) {
  for (const Partition partition : partitions) {
    if (!epochs_.contains(partition)) restart(partition);
  }
}

void Service::on_lost(std::span<const Partition> partitions) {
  for (const Partition partition : partitions) {
    epochs_.erase(partition);
    stopped_.erase(partition);
    positions_.erase(partition);
    inbox_.forget(partition);
    no_longer_aside(partition);
    log::info("persister.left", {{"partition", partition.value}});
  }
  numbers_->stopped.set(static_cast<double>(stopped_.size()));
}

void Service::on_failed(const std::string& why) {
  log::error("persister.consumer_failed", {{"why", why}});
  health_.not_ready(kCheck, why);
  std::vector<Partition> all;
  for (const auto& [partition, epoch] : epochs_) all.push_back(partition);
  for (const auto& [partition, reason] : stopped_) all.push_back(partition);
  on_lost(all);
  consumer_.reset();
  retry_.expires_after(kRetryJoin);
  retry_.async_wait([this, alive = std::weak_ptr(alive_)](boost::system::error_code error) {
    if (!error && !alive.expired() && !inbox_.stopping()) join_group();
  });
}

// From the store's position, which the writing thread asks for first.
void Service::restart(Partition partition) {
  if (consumer_) consumer_->stop(partition);
  epochs_[partition] = ++last_epoch_;
  no_longer_aside(partition);
  positions_.erase(partition);
  inbox_.start(partition, last_epoch_);
}

void Service::stop_partition(Partition partition, std::string why) {
  log::error("persister.stopped", {{"partition", partition.value}, {"why", why}});
  if (consumer_) consumer_->stop(partition);
  inbox_.forget(partition);
  epochs_.erase(partition);
  positions_.erase(partition);
  no_longer_aside(partition);
  stopped_[partition] = std::move(why);
  numbers_->stopped.set(static_cast<double>(stopped_.size()));
}

// Not ready although the others go on: nobody would look for a person otherwise, and what was sent there waits.
void Service::aside(Partition partition, std::string why) {
  log::error("persister.aside", {{"partition", partition.value}, {"why", why}});
  health_.not_ready(kAsideCheck, "partition " + std::to_string(partition.value) + ": " + why);
  aside_[partition] = std::move(why);
  numbers_->aside.set(static_cast<double>(aside_.size()));
}

void Service::no_longer_aside(Partition partition) {
  if (aside_.erase(partition) == 0) return;
  log::info("persister.no_longer_aside", {{"partition", partition.value}});
  numbers_->aside.set(static_cast<double>(aside_.size()));
  if (aside_.empty()) return health_.ready(kAsideCheck);
  const auto& [other, why] = *aside_.begin();
  health_.not_ready(kAsideCheck, "partition " + std::to_string(other.value) + ": " + why);
}

void Service::on_entries(Partition partition, std::span<const eventlog::Entry> entries, Offset end) {
  const auto held = epochs_.find(partition);
  if (held == epochs_.end()) return;
  if (!inbox_.push(partition, held->second, own(entries, end))) consumer_->pause(partition);
  numbers_->waiting.set(static_cast<double>(inbox_.entries()));
}

void Service::on_out_of_range(Partition partition, Offset begin) {
  if (epochs_.contains(partition))
    stop_partition(partition, "PostgreSQL's position is outside the log, which begins at " + std::to_string(begin.value) + " (R13)");
}

void Service::stored(const Stored& report) {
  numbers_->records.add(static_cast<double>(report.records));
  numbers_->events.add(static_cast<double>(report.events));
  numbers_->batches.add();
  numbers_->batch_seconds.observe(report.seconds);
  numbers_->waiting.set(static_cast<double>(inbox_.entries()));
  if (report.records > 0) {
    const auto now = clock_.wall().value;
    const double lag = now > report.newest.value ? static_cast<double>(now - report.newest.value) / 1'000 : 0;
    numbers_->lag_seconds.set(lag);
    numbers_->stage.observe(lag);
  }
  const auto held = epochs_.find(report.partition);
  if (held == epochs_.end() || held->second != report.epoch || !consumer_) return;
  no_longer_aside(report.partition);
  positions_[report.partition] = report.position;
  consumer_->commit(report.partition, report.position);
  if (report.has_room) consumer_->resume(report.partition);
}

// R13: below min(position, what came `keep_hours` ago). A partition to which nothing came since keeps what it has.
void Service::trim() {
  const auto now = clock_.wall().value, keep = std::uint64_t{settings_.keep_hours} * 3'600'000;
  log_.since(chat::TimeMs{now > keep ? now - keep : 0},
             [this, alive = std::weak_ptr(alive_)](const std::expected<std::vector<std::optional<Offset>>, eventlog::Error>& young) {
               if (alive.expired()) return;
               // The next round is soon enough; but where each of them fails, the log only grows.
               if (!young) return log::limited(log::Level::warn, "persister.trim", "since", {{"why", young.error().message}});
               for (const auto& [partition, position] : positions_) {
                 if (partition.value >= young->size() || !(*young)[partition.value]) continue;
                 const Offset before = std::min(position, *(*young)[partition.value]);
                 if (before <= trimmed_[partition] || !trimming_.insert(partition).second) continue;
                 log_.trim(partition, before, [this, alive, partition, before](const std::expected<void, eventlog::Error>& done) {
                   if (alive.expired()) return;
                   trimming_.erase(partition);
                   if (done)
                     trimmed_[partition] = before;
                   else
                     log::warn("persister.trim", {{"partition", partition.value}, {"why", done.error().message}});
                 });
               }
             });
  trim_.expires_after(std::chrono::milliseconds(settings_.trim_every_ms));
  trim_.async_wait([this, alive = std::weak_ptr(alive_)](boost::system::error_code error) {
    if (!error && !alive.expired()) trim();
  });
}

// R10: any number of times; the fold takes the first. A record under way is not made again at once.
void Service::fire(const std::vector<store::StoredSchedule>& due, Partition partition) {
  if (!producer_) return;
  const auto now = clock_.wall();
  std::erase_if(fired_, [&](const auto& one) { return one.second.value + kFireAgainMs <= now.value; });
  for (const store::StoredSchedule& schedule : due) {
    if (!fired_.try_emplace({partition, schedule.offset}, now).second) continue;
    chat::Record record;
    record.conversation = schedule.conversation;
    record.actor = schedule.user;
    record.device = schedule.device;
    record.id = schedule.id;
    record.payload_hash = schedule.payload_hash;
    std::random_device random;
    for (std::uint8_t& byte : record.salt) byte = static_cast<std::uint8_t>(random());
    record.op = chat::op::Fire{schedule.body};
    const auto produced = producer_->produce(partition, chat::to_text(schedule.conversation), chat::encode_record(record), "", [](const auto&) {});
    if (produced)
      numbers_->fired.add();
    else
      fired_.erase({partition, schedule.offset});
  }
}

}  // namespace parley::persister
