#include "router/core.h"

#include <algorithm>
#include <cassert>
#include <map>
#include <utility>

#include "router/fanout.h"
#include "router/home.h"
#include "router/intake.h"
#include "router/loads.h"

namespace parley::router {

namespace {
constexpr std::uint64_t kMovedMs = 200;  // `upto` to streams without deliveries, where it moved
constexpr std::uint64_t kAllMs = 1'000;  // R20: at least once a second, moved or not
}  // namespace

class Core::Impl {
 public:
  Impl(Settings settings, Ports ports, eventlog::Topic topic)
      : settings_(settings),
        ports_(ports),
        topic_(std::move(topic)),
        fanout_(ports_.streams),
        home_(settings_, fanout_),
        loads_(ports_.reader, ports_.clock, [this](Load& load, store::ColdLoad read) { return on_loaded(load, std::move(read)); }),
        begun_(now()) {}

  void own(Partition partition, Offset start, Offset deliver_from) {
    assert(partition.value < topic_.partitions);
    if (intakes_.contains(partition)) return;
    auto intake = std::make_unique<Intake>(partition, start, deliver_from, ++epoch_, settings_.parked_bytes, now(), fanout_, counters_);
    fanout_.from_all(partition, intake->from());
    intakes_.emplace(partition, std::move(intake));
    if (intake_open())
      ports_.consumer.start(partition, start);
    else
      waiting_.push_back(partition);
    flush(Fanout::Flush::gathered);
  }

  void disown(Partition partition) {
    auto it = intakes_.find(partition);
    if (it == intakes_.end()) return;
    ports_.consumer.stop(partition);
    loads_.forget(partition);
    dropped_bodies_ += it->second->parking().dropped();
    intakes_.erase(it);
    std::erase(waiting_, partition);
  }

  void on_stream(StreamId stream, const link::Attach& attach) {
    if (attach.topic_id() != topic_.id) return ports_.streams.break_stream(stream);  // another log: its offsets mean nothing here
    if (auto older = fanout_.of_gateway(attach.gateway())) {
      StreamId gone = fanout_.stream(*older);
      on_stream_closed(gone);
      ports_.streams.break_stream(gone);
    }
    fanout_.open(stream, attach.gateway());
  }

  void on_up(StreamId stream, const link::Up& message) {
    auto slot = fanout_.slot(stream);
    if (!slot) return;
    for (const link::Registration& registration : message.registrations()) {
      auto user = chat::UserId::from_bytes(registration.user());
      if (!user) continue;
      if (registration.gone())
        fanout_.registry().remove(*user, *slot);
      else
        fanout_.registry().add(*user, *slot);
    }
    if (message.confirm() > 0 && !fanout_.registered(*slot)) {
      // R20: from here on everything on this stream is complete. The first confirmation asked for ends the registering of
      // everyone, which may take several messages.
      fanout_.set_registered(*slot);
      for (const auto& [partition, intake] : intakes_) fanout_.from(*slot, partition, intake->from());
      last_registered_ = now();
    }
    if (message.confirm() > 0) fanout_.confirm(*slot, message.confirm());
    for (const link::HomeRequest& request : message.home()) home_.on_request(*slot, request, ports_.clock.wall(), now());
    for (const link::Ephemeral& ephemeral : message.ephemeral()) fanout_.ephemeral(ephemeral);
    flush(Fanout::Flush::gathered);
  }

  void on_stream_closed(StreamId stream) {
    auto slot = fanout_.slot(stream);
    if (!slot) return;
    fanout_.close(stream);
    home_.on_closed(*slot, ports_.clock.wall(), now());
    flush(Fanout::Flush::gathered);
  }

  void on_entries(Partition partition, std::span<const eventlog::Entry> entries, Offset end) {
    auto it = intakes_.find(partition);
    if (it == intakes_.end() || it->second->stopped()) return;
    Intake& intake = *it->second;
    std::vector<chat::ConversationId> to_load;
    for (const eventlog::Entry& entry : entries)
      if (!intake.take(entry, to_load)) break;
    if (intake.stopped())
      ports_.consumer.stop(partition);  // R6
    else
      intake.reached(end);
    if (intake.parking().full() && !intake.paused) {
      intake.paused = true;
      ports_.consumer.pause(partition);
    }
    for (const auto& conversation : to_load)
      loads_.ask({.partition = partition,
                  .epoch = intake.epoch(),
                  .conversation = conversation,
                  .from = intake.load_from(conversation),
                  .floor = intake.floor(),
                  .needs = {},
                  .not_before = {}});
    loads_.pump();
    flush(Fanout::Flush::gathered);
  }

  void on_position(Partition partition, Offset position) {
    auto it = intakes_.find(partition);
    if (it == intakes_.end()) return;
    it->second->known(position);
    loads_.on_position(partition, position);
    flush(Fanout::Flush::gathered);
  }

  void on_tick() {
    const chat::TimeMs at = now();
    if (!waiting_.empty() && intake_open())
      for (Partition partition : std::exchange(waiting_, {})) ports_.consumer.start(partition, intakes_.at(partition)->next());
    loads_.on_tick();
    home_.on_tick(at);
    const std::size_t owned = std::max<std::size_t>(1, intakes_.size());
    const Conversations::Room share{settings_.cached_conversations / owned, settings_.cache_bytes / owned};
    const bool full = cache_is_full();
    for (auto& [partition, intake] : intakes_) {
      if (full) intake->evict(share);
      if (auto commit = intake->progress().due(intake->upto(), at)) ports_.consumer.commit(partition, *commit);
    }
    if (at.value >= told_all_.value + kAllMs) {
      told_all_ = told_moved_ = at;
      flush(Fanout::Flush::all);
    } else if (at.value >= told_moved_.value + kMovedMs) {
      told_moved_ = at;
      flush(Fanout::Flush::moved);
    } else {
      flush(Fanout::Flush::gathered);
    }
  }

  std::vector<Partition> stopped() const {
    std::vector<Partition> partitions;
    for (const auto& [partition, intake] : intakes_)
      if (intake->stopped()) partitions.push_back(partition);
    return partitions;
  }

  std::vector<Partition> take_dropped() { return std::exchange(dropped_, {}); }

  Stats stats() const {
    Stats s;
    s.streams = fanout_.open_streams();
    s.users = home_.users();
    s.registrations = fanout_.registry().size();
    s.partitions = intakes_.size();
    s.loads_waiting = loads_.waiting();
    s.parked_dropped = dropped_bodies_;
    for (const auto& [partition, intake] : intakes_) {
      s.conversations += intake->conversations().size();
      s.cached_bytes += intake->conversations().bytes();
      s.parked += intake->parking().conversations();
      s.parked_bytes += intake->parking().bytes();
      s.parked_dropped += intake->parking().dropped();
      s.behind += intake->next().value - intake->upto().value;
    }
    s.records = counters_.records;
    s.malformed = counters_.malformed;
    s.evictions = counters_.evictions;
    s.deliveries = fanout_.deliveries();
    s.loads = loads_.done();
    s.loads_refused = loads_.refused();
    s.loads_failed = loads_.failed();
    return s;
  }

 private:
  chat::TimeMs now() const { return ports_.clock.steady(); }

  // R20: a router that just started waits for the gateways, to spare them resumes. Those it does not know of yet are given a
  // moment after the last one that came.
  bool intake_open() {
    if (intake_open_) return true;
    const std::uint64_t waited = now().value - begun_.value, settled = now().value - last_registered_.value;
    const std::size_t registered = fanout_.registered_streams();
    intake_open_ = waited >= settings_.intake_wait_ms || (registered > 0 && registered == fanout_.open_streams() && settled >= settings_.intake_wait_ms / 8);
    return intake_open_;
  }

  // Partitions may hold more than their share while others hold less.
  bool cache_is_full() const {
    std::size_t conversations = 0, bytes = 0;
    for (const auto& [partition, intake] : intakes_) {
      conversations += intake->conversations().size();
      bytes += intake->conversations().bytes();
    }
    return conversations > settings_.cached_conversations || bytes > settings_.cache_bytes;
  }

  // Settled unless the snapshot was too old.
  bool on_loaded(Load& load, store::ColdLoad read) {
    auto it = intakes_.find(load.partition);
    if (it == intakes_.end() || it->second->epoch() != load.epoch) return true;
    Intake& intake = *it->second;
    Admission admission = intake.admit(load.conversation, std::move(read), load.floor);
    if (admission == Admission::went_back) {
      drop(load.partition);
      return true;
    }
    if (intake.paused && !intake.parking().full()) {
      intake.paused = false;
      ports_.consumer.resume(load.partition);
    }
    flush(Fanout::Flush::gathered);
    if (admission == Admission::admitted) return true;
    load.floor = intake.floor();
    load.needs = intake.needs(load.conversation);
    load.there = load.needs <= intake.known();
    return false;
  }

  void drop(Partition partition) {
    disown(partition);
    dropped_.push_back(partition);
  }

  void flush(Fanout::Flush which) {
    positions_.clear();
    for (const auto& [partition, intake] : intakes_) positions_.push_back({partition, intake->upto()});
    fanout_.flush(positions_, which);
  }

  const Settings settings_;
  const Ports ports_;
  const eventlog::Topic topic_;
  Fanout fanout_;
  Home home_;
  Intake::Counters counters_;
  std::map<Partition, std::unique_ptr<Intake>> intakes_;
  Loads loads_;
  std::uint64_t epoch_ = 0, dropped_bodies_ = 0;
  std::vector<Partition> waiting_;  // owned, but intake has not begun
  std::vector<Partition> dropped_;
  std::vector<Upto> positions_;
  bool intake_open_ = false;
  chat::TimeMs begun_, last_registered_, told_all_, told_moved_;
};

Core::Core(Settings settings, Ports ports, eventlog::Topic topic) : impl_(std::make_unique<Impl>(settings, ports, std::move(topic))) {}
Core::~Core() = default;

void Core::own(Partition partition, Offset start, Offset deliver_from) { impl_->own(partition, start, deliver_from); }
void Core::disown(Partition partition) { impl_->disown(partition); }
void Core::on_stream(StreamId stream, const link::Attach& attach) { impl_->on_stream(stream, attach); }
void Core::on_up(StreamId stream, const link::Up& message) { impl_->on_up(stream, message); }
void Core::on_stream_closed(StreamId stream) { impl_->on_stream_closed(stream); }
void Core::on_entries(Partition partition, std::span<const eventlog::Entry> entries, Offset end) { impl_->on_entries(partition, entries, end); }
void Core::on_position(Partition partition, Offset position) { impl_->on_position(partition, position); }
void Core::on_tick() { impl_->on_tick(); }
std::vector<Partition> Core::stopped() const { return impl_->stopped(); }
std::vector<Partition> Core::take_dropped() { return impl_->take_dropped(); }
Core::Stats Core::stats() const { return impl_->stats(); }

}  // namespace parley::router
