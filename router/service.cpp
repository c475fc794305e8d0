#include "router/service.h"

#include <algorithm>

#include "router/takeover.h"
#include "runtime/config.h"
#include "runtime/log.h"

namespace parley::router {

namespace log = runtime::log;
using boost::system::error_code;

namespace {

constexpr auto kTick = std::chrono::milliseconds(25);
constexpr std::uint64_t kAskAgainMs = 200, kAskAgainMostMs = 2'000;
// What the peers need to see that this router does not answer and to deliver in its place.
constexpr std::uint64_t kPeersTakeOverMs = 2'000;

MemberSettings completed(MemberSettings members, const LinkSettings& link, int port) {
  if (members.self.empty()) {
    auto address = split_address(link.listen);
    members.self = (address ? address->first : std::string("in-process")) + ":" + std::to_string(port);
  }
  if (members.source.empty()) members.source = members.self;
  return members;
}

}  // namespace

void declare_peers(runtime::Config& config, ServiceSettings& s) {
  config.text("router.listen", s.link.listen, "Where gateways attach, host:port.");
  config.text("router.self", s.members.self, "This router as the others know it, host:port; empty: router.listen.");
  config.text("router.members", s.members.source,
              "Where the list of routers comes from: host:port,host:port or dns:name:port (a headless service) or file:/path; empty: this one alone.");
  config.number("router.probe_ms", s.members.probe_ms, 50, 10'000, "How often the other routers are probed.");
  config.number("router.gone_ms", s.members.gone_ms, 100, 60'000, "A router that did not answer for this long is left out of the ring.");
  config.number("router.reread_ms", s.members.reread_ms, 100, 600'000, "How often a member list from DNS or a file is read again.");
  config.number("router.handover_ms", s.handover_ms, 0, 60'000, "How long a partition that the ring gave to another router is still delivered from here.");
}

void declare(runtime::Config& config, ServiceSettings& s) {
  config.number("router.intake_wait_ms", s.core.intake_wait_ms, 0, 60'000, "How long a router that just started waits for gateways to register.");
  config.number("router.cached_conversations", s.core.cached_conversations, 1'000, 100'000'000, "Conversations held in memory, at most.");
  config.number("router.cache_bytes", s.core.cache_bytes, 1 << 20, 1ull << 40,
                "Memory for conversations held, all partitions together; one with 256 messages takes 15 KB, 10,000 members another 1 MB.");
  config.number("router.parked_bytes", s.core.parked_bytes, 1 << 16, 1u << 30, "Records that wait for a cold load, bytes per partition.");
  config.number("router.down_bytes", s.link.down_bytes, 1 << 16, 1u << 30, "What waits for one gateway before its stream is broken.");
  config.number("router.silence_ms", s.link.silence_ms, 1'500, 60'000, "A gateway that said nothing for this long is cut off.");
}

void apply(const chat::Limits& limits, ServiceSettings& s) {
  s.core.sends_per_second = limits.sends_per_second;
  s.core.send_burst = limits.send_burst;
  s.core.devices = limits.devices;
}

struct Service::Asked {
  std::vector<std::optional<Offset>> own, persister;
  std::vector<Offset> begins, ends;
  int missing = 4;
  std::string error;
};

Service::Service(ServiceSettings settings, Ports ports, eventlog::Topic topic)
    : settings_(std::move(settings)),
      ports_(ports),
      topic_(std::move(topic)),
      metrics_(ports_.metrics),
      link_(ports_.io, ports_.clock, settings_.link,
            {.on_stream =
                 [this](StreamId stream, const link::Attach& attach) {
                   log::info("router.gateway_attached", {{"gateway", attach.name()}, {"stream", stream.value}});
                   link::Down ring;
                   *ring.mutable_ring() = ring_;
                   link_.send(stream, std::move(ring));
                   core_->on_stream(stream, attach);
                 },
             .on_up = [this](StreamId stream, const link::Up& up) { core_->on_up(stream, up); },
             .on_closed =
                 [this](StreamId stream) {
                   log::info("router.gateway_gone", {{"stream", stream.value}});
                   core_->on_stream_closed(stream);
                 },
             .on_written = [this](double seconds) { metrics_.dispatched(seconds); }}),
      consumer_(ports_.log.consumer({.group = kRouterGroup, .join = false, .member = {}}, *this)),
      core_(std::make_unique<Core>(settings_.core, router::Ports{ports_.clock, *consumer_, ports_.reader, link_}, topic_)),
      placement_(completed(settings_.members, settings_.link, link_.port()).self, topic_.partitions, settings_.handover_ms),
      members_(ports_.io, ports_.clock, completed(settings_.members, settings_.link, link_.port()),
               [this](const std::vector<std::string>& reachable) { on_members(reachable); }),
      ticker_(ports_.io),
      stopping_(ports_.io) {
  for (const char* check : {"ring", "log", "store"}) ports_.health.declare(check);
}

Service::~Service() {
  alive_.reset();
  ports_.reader.on_moved([](Partition, Offset) {});
}

void Service::start() {
  ports_.reader.on_moved([this, alive = std::weak_ptr(alive_)](Partition partition, Offset position) {
    if (!alive.expired()) core_->on_position(partition, position);
  });
  members_.start();
  tick();
}

// ---- ownership ---------------------------------------------------------------------------------------------------------

void Service::on_members(const std::vector<std::string>& reachable) {
  std::string list;
  for (const std::string& member : reachable) list += (list.empty() ? "" : " ") + member;
  log::info("router.ring", {{"members", list}});
  metrics_.ring(reachable.size());
  ports_.health.ready("ring");

  ring_.clear_members();
  for (const std::string& member : reachable) ring_.add_members(member);
  link::Down down;
  *down.mutable_ring() = ring_;
  link_.send_all(down);

  take(placement_.on_ring(runtime::Ring(reachable), ports_.clock.steady()).take);
}

void Service::take(const std::vector<Partition>& partitions) {
  wanted_.insert(wanted_.end(), partitions.begin(), partitions.end());
  if (wanted_.empty()) ports_.health.ready("log");  // it was opened before; a router to which the ring gives nothing waits for nothing else
  if (!wanted_.empty() && ports_.clock.steady().value >= next_ask_ms_) ask_takeover();
}

// R13: a database that holds the fold of another log tells outcomes that never were.
void Service::ask_identity() {
  ports_.reader.identity([this, alive = std::weak_ptr(alive_)](store::Result<std::optional<store::Identity>> stored) {
    if (alive.expired() || store_is_ours_) return;
    const store::Identity mine{topic_.id, topic_.partitions};
    std::string why;
    if (!stored)
      why = stored.error().message;
    else if (!*stored)
      why = "no persister has been there yet";
    else if (**stored != mine)
      why = store::mismatch(**stored, mine);
    if (!why.empty()) {
      ports_.health.not_ready("store", why);
      log::limited(log::Level::warn, "router.store", "identity", {{"error", why}});
      return;
    }
    store_is_ours_ = true;
    ports_.health.ready("store");
    if (!wanted_.empty()) ask_takeover();
  });
}

// R17: asks the log where both groups stand, where it begins and ends; all together for everything wanted now.
void Service::ask_takeover() {
  if (!store_is_ours_ || std::exchange(asking_, true)) return;
  auto asked = std::make_shared<Asked>();
  auto answered = [this, alive = std::weak_ptr(alive_), asked] {
    if (--asked->missing == 0 && !alive.expired()) on_takeover(*asked);
  };
  auto into = [asked, answered](auto& target) {
    return [asked, answered, &target](auto result) {
      if (result)
        target = std::move(*result);
      else
        asked->error = result.error().message;
      answered();
    };
  };
  ports_.log.committed(kRouterGroup, into(asked->own));
  ports_.log.committed(kPersisterGroup, into(asked->persister));
  ports_.log.begins(into(asked->begins));
  ports_.log.ends(into(asked->ends));
}

void Service::on_takeover(const Asked& asked) {
  asking_ = false;
  if (!asked.error.empty()) {
    log::limited(log::Level::warn, "router.takeover_failed", "log", {{"error", asked.error}});
    next_ask_ms_ = ports_.clock.steady().value + ask_again_ms_;
    ask_again_ms_ = std::min(2 * ask_again_ms_, kAskAgainMostMs);
    return;
  }
  ask_again_ms_ = kAskAgainMs;
  ports_.health.ready("log");
  std::vector<Partition> wanted;
  wanted.swap(wanted_);
  for (Partition p : wanted) {
    auto at = [p](const std::vector<std::optional<Offset>>& offsets) { return p.value < offsets.size() ? offsets[p.value] : std::nullopt; };
    Takeover found = takeover(at(asked.own), at(asked.persister), asked.begins.at(p.value), asked.ends.at(p.value));
    log::info("router.takeover", {{"partition", p.value}, {"start", found.start.value}, {"deliver_from", found.deliver_from.value}});
    metrics_.takeover();
    core_->own(p, found.start, found.deliver_from);
  }
}

void Service::leave(const std::vector<Partition>& partitions) {
  for (Partition p : partitions) {
    log::info("router.handed_over", {{"partition", p.value}});
    std::erase(wanted_, p);
    core_->disown(p);
  }
}

void Service::give_up(Partition partition) {
  core_->disown(partition);
  if (placement_.given_up(partition)) take({partition});
}

// ---- the log -----------------------------------------------------------------------------------------------------------

void Service::on_entries(Partition partition, std::span<const eventlog::Entry> entries, Offset end) {
  core_->on_entries(partition, entries, end);
  if (entries.empty()) return;
  const std::uint64_t now = ports_.clock.wall().value, appended = entries.front().time.value;
  metrics_.folded(now > appended ? static_cast<double>(now - appended) / 1000.0 : 0.0);
}

// R17: what lies below the log's begin is persisted.
void Service::on_out_of_range(Partition partition, Offset begin) {
  log::limited(log::Level::warn, "router.out_of_range", std::to_string(partition.value), {{"partition", partition.value}, {"begin", begin.value}});
  next_ask_ms_ = ports_.clock.steady().value + kAskAgainMostMs;  // the log may need a moment to agree with itself
  give_up(partition);
}

// ---- time --------------------------------------------------------------------------------------------------------------

void Service::tick() {
  const chat::TimeMs now = ports_.clock.steady();
  core_->on_tick();
  link_.on_tick();
  for (Partition p : core_->take_dropped()) {
    log::error("router.store_went_back", {{"partition", p.value}});
    give_up(p);
  }
  leave(placement_.due(now).leave);
  if (!wanted_.empty() && now.value >= next_ask_ms_) ask_takeover();
  if (now.value >= next_second_ms_) {
    next_second_ms_ = now.value + 1'000;
    ports_.health.beat("router");
    const auto stopped = core_->stopped();
    if (stopped.size() > stopped_) log::error("router.newer_fold_version", {{"partitions", stopped.size()}});
    stopped_ = stopped.size();
    metrics_.sample(core_->stats(), link_.stats(), stopped_);
    if (store_is_ours_)
      ask_positions();
    else
      ask_identity();
  }
  ticker_.expires_after(kTick);
  ticker_.async_wait([this, alive = std::weak_ptr(alive_)](error_code failed) {
    if (!failed && !alive.expired()) tick();
  });
}

// NOTIFY may be lost. A router that was ready once stays so when PostgreSQL goes: live messages still flow then (P7), and routers that all
// leave their service at once would help nobody.
void Service::ask_positions() {
  ports_.reader.positions([this, alive = std::weak_ptr(alive_)](store::Result<store::Positions> positions) {
    if (alive.expired()) return;
    if (!positions) {
      log::limited(log::Level::warn, "router.store_away", "store", {{"error", positions.error().message}});
      return;
    }
    for (std::uint32_t p = 0; p < positions->size(); ++p) core_->on_position({p}, (*positions)[p]);
  });
}

void Service::stop(std::function<void()> done) {
  for (const char* check : {"ring", "log", "store"}) ports_.health.not_ready(check, "stopping");
  if (ring_.members_size() < 2) return done();  // nobody to hand over to
  log::info("router.handing_over", {{"partitions", placement_.held()}});
  link_.close_listener(std::chrono::milliseconds(kPeersTakeOverMs + 1'000));
  stopping_.expires_after(std::chrono::milliseconds(kPeersTakeOverMs));
  stopping_.async_wait([done = std::move(done)](error_code) { done(); });
}

}  // namespace parley::router
