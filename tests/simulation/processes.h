// The shells of the simulated processes: what a socket, a stream or a thread would be is a queue here.
#pragma once

#include <set>

#include "chat/rules.h"
#include "router/takeover.h"
#include "tests/simulation/violation.h"
#include "tests/simulation/world.h"

namespace parley::simulation {

class Tokens final : public gateway::Tokens {
 public:
  std::expected<gateway::Identity, gateway::TokenFault> verify(std::string_view token, chat::TimeMs now) const override {
    for (std::size_t device = 0; device < kDevices; ++device) {
      if (token == fmt::format("device-{}", device))
        return gateway::Identity{simulation::user(kDeviceUsers[device]), simulation::login(device), {now.value + 1'000'000'000}};
    }
    return std::unexpected(gateway::TokenFault::bad);
  }
};

// While it lives, what runs is of a binary that knows folds up to this one (R6).
struct Running {
  explicit Running(std::uint32_t knows) { chat::known_fold = knows; }
  ~Running() { chat::known_fold = kReleases.back().knows; }
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;
};

struct RouterProcess final : eventlog::ConsumerEvents, router::Streams {
  RouterProcess(World& in, std::size_t number, std::size_t release)
      : world(in),
        index(number),
        knows(kReleases[release].knows),
        log(in.broker_),
        consumer(log.make_consumer({.group = router::kRouterGroup, .member = {}}, *this)),
        reader(in.store_.reader()),
        core({.cached_conversations = in.setup_.cached_conversations,
              .parked_bytes = static_cast<std::uint32_t>(in.setup_.parked_bytes),
              .intake_wait_ms = 100,
              .sends_per_second = in.setup_.sends_per_second,
              .send_burst = 3},
             {in.clock_, *consumer, *reader, *this}, kTopic) {
    reader->on_moved([this](chat::Partition partition, chat::Offset position) { core.on_position(partition, position); });
  }

  void on_entries(chat::Partition partition, std::span<const eventlog::Entry> entries, chat::Offset end) override { core.on_entries(partition, entries, end); }
  void on_out_of_range(chat::Partition, chat::Offset) override { need(false, "router {} reads outside the log", index); }

  void send(router::StreamId stream, link::Down message) override {
    world.oracle_.sync();
    const std::string who = fmt::format("router {}", index);
    for (const link::Delivery& delivery : message.deliveries()) {
      world.oracle_.judge_delivery(delivery, index);
      world.oracle_.judge_known(delivery.partition(), {delivery.offset()}, {delivery.offset() + 1}, knows, who);
    }
    for (const link::Progress& progress : message.upto()) {
      world.oracle_.judge_known(progress.partition(), start[progress.partition()], {progress.offset()}, knows, who);
      upto[progress.partition()] = progress.offset();
    }
    world.trace(fmt::format("router {} to stream {}:", index, stream.value), message);
    for (auto& [ends, open] : world.streams_) {
      if (open.id == stream) open.down.push_back(std::move(message));
    }
  }
  void break_stream(router::StreamId stream) override {
    for (auto& [ends, open] : world.streams_) {
      if (open.id == stream) world.to_break_.push_back(ends);
    }
  }

  World& world;
  const std::size_t index;
  const std::uint32_t knows;
  eventlog::memory::MemoryLog log;
  std::unique_ptr<eventlog::memory::MemoryConsumer> consumer;
  std::unique_ptr<store::Reader> reader;
  std::set<std::uint32_t> owns;
  std::map<std::uint32_t, chat::Offset> start;  // where it took each partition over
  std::map<std::uint32_t, std::uint64_t> upto;  // as last told to anyone
  bool paused = false;
  router::Core core;
};

struct GatewayProcess final : gateway::Sockets, gateway::Links {
  GatewayProcess(World& in, std::size_t number, std::uint64_t instance, std::size_t release)
      : world(in),
        index(number),
        log(in.broker_),
        producer(log.make_producer()),
        reader(in.store_.reader()),
        accounts(in.store_.accounts()),
        core(settings(in.setup_, release), {in.clock_, log, *producer, *reader, *accounts, *this, *this, tokens}, instance, kTopic, ends(in.broker_),
             fmt::format("g{}", number)) {
    std::vector<std::string> names;
    for (std::size_t r = 0; r < kRouters; ++r) names.push_back(fmt::format("r{}", r));
    core.on_members(std::move(names));
  }

  static gateway::Settings settings(const Setup& setup, std::size_t release) {
    gateway::Settings settings;
    settings.fold_version = kReleases[release].stamps;
    settings.limits.sends_per_second = setup.sends_per_second;
    settings.limits.send_burst = 3;
    settings.limits.resume_events = setup.resume_events;
    settings.scheduled_sends = true;
    return settings;
  }
  static std::vector<chat::Offset> ends(const eventlog::memory::MemoryBroker& broker) {
    std::vector<chat::Offset> out;
    for (std::uint32_t p = 0; p < kPartitions; ++p) out.push_back(broker.end({p}));
    return out;
  }

  void send(gateway::ConnectionId connection, gateway::OutgoingPtr frame) override {
    if (Connection* to = find(connection)) {
      // P1: what leaves as an ack is a fact of the log by now.
      world.oracle_.sync();
      const client::Frame& f = frame->frame();
      if (f.has_send_ack()) {
        const auto id = chat::parse_id<chat::ConversationId>(f.send_ack().conversation());
        world.oracle_.judge_told(id ? world.cast_.talk(*id) : kConversations, f.send_ack().seq(), {}, f.send_ack().chain(), fmt::format("gateway {}", index));
      }
      world.trace(fmt::format("{} <", connection.value), f);
      to->to_device.push_back(std::move(frame));
    }
  }
  void close(gateway::ConnectionId connection, std::uint16_t, std::string_view reason) override {
    if (Connection* to = find(connection)) to->closing = true;
    world.count(("closed_" + std::string(reason)).c_str());
  }
  void send(gateway::RouterId router, link::Up message) override {
    if (Stream* to = world.stream(router.value, index)) to->up.push_back(std::move(message));
  }
  void break_stream(gateway::RouterId router) override { world.to_break_.emplace_back(router.value, index); }

  Connection* find(gateway::ConnectionId connection) const {
    for (const auto& one : world.connections_) {
      if (one && one->id == connection.value && one->gateway == index) return one.get();
    }
    return nullptr;
  }

  World& world;
  const std::size_t index;
  eventlog::memory::MemoryLog log;
  std::unique_ptr<eventlog::memory::MemoryProducer> producer;
  std::unique_ptr<store::Reader> reader;
  std::unique_ptr<store::Accounts> accounts;
  Tokens tokens;
  bool stalled = false;
  gateway::Core core;
};

// A rival pair: each persists both partitions.
struct PersisterProcess {
  PersisterProcess(store::memory::MemoryStore& store, const eventlog::Topic& topic, std::size_t release);

  const Release release;
  std::unique_ptr<store::Writer> writer;
  std::vector<persister::Worker> workers;
  std::vector<std::optional<store::Batch>> batches;  // folded, not written yet
};

}  // namespace parley::simulation
