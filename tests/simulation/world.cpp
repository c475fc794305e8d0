#include "tests/simulation/world.h"

#include <algorithm>

#include "tests/simulation/processes.h"

namespace parley::simulation {

PersisterProcess::PersisterProcess(store::memory::MemoryStore& store, const eventlog::Topic& topic, std::size_t installed)
    : release(kReleases[installed]), writer(store.writer()), batches(kPartitions) {
  auto positions = writer->open(topic.id, topic.partitions);
  for (std::uint32_t p = 0; p < kPartitions; ++p) {
    workers.emplace_back(persister::Settings{.cached_conversations = 2}, *writer, chat::Partition{p}, positions ? (*positions)[p] : chat::Offset{});
  }
}

World::World(const Setup& setup)
    : setup_(setup),
      broker_({.partitions = kPartitions, .topic_id = kTopic.id, .queue_entries = setup.producer_queue}, clock_),
      oracle_(cast_, broker_),
      routers_(kRouters),
      gateways_(kGateways),
      connections_(kDevices) {
  chat::known_fold = kReleases.back().knows;
  if (setup.rollout != Rollout::none) {
    std::fill(router_release_.begin() + 1, router_release_.end(), kKnows);
    std::fill(persister_release_.begin() + 1, persister_release_.end(), kKnows);
    if (setup.rollout == Rollout::hasty) gateway_release_[1] = kStamps;
  }
  auto accounts = store_.accounts();
  for (std::size_t u = 0; u < kUsers; ++u) accounts->create_user({user(u), fmt::format("u{}", u), fmt::format("User {}", u)}, "", [](auto) {});
  for (std::size_t d = 0; d < kDevices; ++d) {
    store::TokenHash token{};
    token[0] = static_cast<std::uint8_t>(d + 1);
    accounts->open_login(user(kDeviceUsers[d]), login(d), "", token, {~0ull}, [](auto) {});
  }
  store_.step_all();

  for (std::size_t p = 0; p < kPersisters; ++p) persisters_.push_back(std::make_unique<PersisterProcess>(store_, kTopic, persister_release_[p]));
  for (const std::size_t talk : {kG0, kG1}) {
    chat::Record record;
    record.conversation = cast_.ids[talk];
    record.actor = user(0);
    record.device = "a";
    record.id = cast_.created_by[talk];
    record.id_is_op = true;
    record.op = chat::op::Create{.title = "group", .members = {user(1), user(2)}};
    append(std::move(record));
  }
  for (std::size_t d = 0; d < kDevices; ++d) devices_.push_back(std::make_unique<Device>(d, cast_, oracle_, promises_));
  for (std::size_t g = 0; g < kGateways; ++g) gstart(g);
  for (std::size_t r = 0; r < kRouters; ++r) rstart(r);
  for (std::uint32_t p = 0; p < kPartitions; ++p) own(p, p);
  for (std::size_t r = 0; r < kRouters; ++r)
    for (std::size_t g = 0; g < kGateways; ++g) open(r, g);
  for (std::size_t d = 0; d < kDevices; ++d) hello(d, d % kGateways);
  for (int i = 0; i < 40; ++i) settle_all();
}

void Connection::say(client::Frame frame) {
  if (trace) fmt::print(stderr, "    {} > {}\n", id, frame.ShortDebugString());
  to_gateway.push_back(std::move(frame));
}

void World::trace(std::string_view line) const {
  if (setup_.trace) fmt::print(stderr, "{} {}\n", clock_.elapsed(), line);
}

void World::trace(std::string_view who, const google::protobuf::Message& what) const {
  if (setup_.trace) fmt::print(stderr, "    {} {}\n", who, what.ShortDebugString());
}

World::~World() {
  // Processes first: their ports are told nothing more.
  gateways_.clear();
  routers_.clear();
  persisters_.clear();
}

Stream* World::stream(std::size_t router, std::size_t gateway) {
  const auto at = streams_.find({router, gateway});
  return at == streams_.end() ? nullptr : &at->second;
}

void World::append(chat::Record record) {
  record.salt.fill(static_cast<std::uint8_t>(++numbers_));
  broker_.append({chat::partition_of(record.conversation, kPartitions), chat::to_text(record.conversation), chat::encode_record(record), {}});
  oracle_.sync();
}

// ---- devices -----------------------------------------------------------------------------------------------------------

bool World::op(std::size_t d, std::size_t talk, What what, std::uint64_t x) {
  Device& device = *devices_[d];
  const std::uint64_t n = numbers_ + 1;
  client::Frame frame;
  const auto prepare = [&](auto& message) {
    message.set_conversation(to_text(cast_.ids[talk]));
    message.set_op_id(to_text(request(n)));
  };
  switch (what) {
    case What::mark:
      return device.mark_read(talk, x);
    case What::block: {  // the one who blocks has his answer once the record is in the log
      if (device.user_index() != 1 || blocked_ || oracle_.state(kD).kind == chat::Kind::none) return false;
      chat::Record record;
      record.conversation = cast_.ids[kD];
      record.actor = user(1);
      record.op = chat::op::Block{.off = false, .peer = user(2)};
      append(std::move(record));
      blocked_ = true;
      return true;
    }
    case What::cancel: {
      const auto& pending = oracle_.state(talk).pending;
      const auto mine = std::ranges::find(pending, device.user(), [](const auto& one) { return one.first; });
      if (mine == pending.end()) return false;
      const std::uint64_t scheduled = number_of(mine->second);
      chat::Record record;
      record.conversation = cast_.ids[talk];
      record.actor = device.user();
      record.op = chat::op::Cancel{mine->second};
      append(std::move(record));
      oracle_.cancelled(scheduled);
      return true;
    }
    default:
      break;
  }
  if (!device.may_act()) return false;
  const bool direct = talk == kD || talk == kS;
  if ((talk == kD && device.user_index() == 0) || (talk == kS && device.user_index() != 0)) return false;
  switch (what) {
    case What::send:
    case What::schedule: {
      auto& send = *frame.mutable_send();
      if (direct)
        send.set_direct_to(to_text(talk == kS ? user(0) : user(3 - device.user_index())));
      else
        send.set_conversation(to_text(cast_.ids[talk]));
      send.set_client_msg_id(to_text(request(n)));
      send.mutable_text()->set_body(fmt::format("message {}", n));
      if (what == What::schedule) send.set_send_at_ms(clock_.wall().value + 200);
      break;
    }
    case What::add:
    case What::remove: {
      if (direct || device.user_index() != 0) return false;
      auto& change = what == What::add ? *frame.mutable_add_members() : *frame.mutable_remove_members();
      prepare(change);
      change.add_users(to_text(user(1 + x % 2)));
      break;
    }
    case What::title:
      if (direct) return false;
      prepare(*frame.mutable_update_conversation());
      frame.mutable_update_conversation()->set_title(fmt::format("title {}", x));
      break;
    case What::create: {
      if (d != 0 || created_) return false;
      created_ = true;
      auto& create = *frame.mutable_create_conversation();
      create.set_kind("group");
      create.set_title("made during the run");
      create.add_members(to_text(user(1)));
      create.set_op_id(to_text(cast_.created_by[kN2]));
      device.send(kN2, number_of(cast_.created_by[kN2]), std::move(frame));
      return true;
    }
    default:
      return false;
  }
  ++numbers_;
  oracle_.send_began(n, d, what == What::send && talk == kD && blocked_);
  device.send(talk, n, std::move(frame));
  return true;
}

bool World::take(std::size_t d) {
  Connection* connection = connections_[d].get();
  if (!connection || connection->to_gateway.empty() || connection->closing) return false;
  client::Frame frame = std::move(connection->to_gateway.front());
  connection->to_gateway.pop_front();
  gateways_[connection->gateway]->core.on_frame({connection->id}, std::move(frame));
  return true;
}

bool World::recv(std::size_t d) {
  Connection* connection = connections_[d].get();
  if (!connection) return false;
  if (connection->to_device.empty()) {
    if (!connection->closing) return false;
    close(d);
    return true;
  }
  const gateway::OutgoingPtr frame = std::move(connection->to_device.front());
  connection->to_device.pop_front();
  devices_[d]->take(frame->frame());
  return true;
}

bool World::resend(std::size_t d) { return devices_[d]->resend(); }

bool World::hello(std::size_t d, std::size_t g) {
  if (connections_[d] || !gateways_[g]) return false;
  auto connection = std::make_unique<Connection>();
  connection->id = ++connection_ids_;
  connection->gateway = g;
  connection->trace = setup_.trace;
  connections_[d] = std::move(connection);
  gateways_[g]->core.on_open({connections_[d]->id});
  devices_[d]->connected(*connections_[d]);
  return true;
}

void World::close(std::size_t d) {
  const auto connection = std::move(connections_[d]);
  devices_[d]->disconnected();
  if (auto& gateway = gateways_[connection->gateway]) gateway->core.on_closed({connection->id});
}

bool World::disc(std::size_t d) {
  if (!connections_[d]) return false;
  close(d);
  return true;
}

bool World::ask(std::size_t d, bool unasked) { return devices_[d]->resume(unasked); }
bool World::history(std::size_t d) { return devices_[d]->ask_history(3); }
bool World::acknowledge(std::size_t d) { return devices_[d]->acknowledge(); }

// ---- the log -----------------------------------------------------------------------------------------------------------

bool World::land(std::size_t g) {
  if (!gateways_[g] || gateways_[g]->stalled || !gateways_[g]->producer->land()) return false;
  oracle_.sync();
  return true;
}

bool World::tell(std::size_t g) { return gateways_[g] && gateways_[g]->producer->tell(); }
bool World::answer(std::size_t g) { return gateways_[g] && gateways_[g]->log.answer(); }

bool World::orphan(std::size_t i) {
  if (broker_.orphans() == 0) return false;
  broker_.land_orphan(i % broker_.orphans());
  oracle_.sync();
  count("orphan");
  return true;
}

bool World::expire(std::size_t g, std::uint32_t partition, std::size_t in_flight) {
  if (!gateways_[g]) return false;
  gateways_[g]->producer->set_in_flight(in_flight);
  if (!gateways_[g]->producer->expire({partition})) return false;
  count("expire");
  return true;
}

bool World::gstall(std::size_t g, bool on) {
  if (!gateways_[g] || gateways_[g]->stalled == on) return false;
  gateways_[g]->stalled = on;
  return true;
}

// Bytes that are no record: Rejected{internal} on every side (R1).
bool World::poison(std::size_t talk) {
  broker_.append({chat::partition_of(cast_.ids[talk], kPartitions), chat::to_text(cast_.ids[talk]), "\x08\x01\x12\x03???", {}});
  oracle_.sync();
  return true;
}

bool World::klog(bool available) {
  if (broker_.available() == available) return false;
  broker_.set_available(available);
  return true;
}

// ---- the store ---------------------------------------------------------------------------------------------------------

// An answer does not reach a process that stands still.
bool World::usable(std::size_t waiting) const {
  return std::ranges::none_of(routers_, [&](const auto& router) { return router && router->paused && router->reader.get() == store_.owner(waiting); });
}

bool World::read(std::size_t i) {
  if (store_.waiting() == 0) return false;
  store_.take_snapshot(i % store_.waiting());
  return true;
}

bool World::step(std::size_t i) {
  if (store_.waiting() == 0 || !usable(i % store_.waiting())) return false;
  store_.step(i % store_.waiting());
  for (std::size_t r = 0; r < kRouters; ++r) settle_router(r);
  return true;
}

bool World::readfail(std::size_t i) {
  if (store_.away()) return false;
  store_.set_away(true);
  const bool stepped = step(i);
  store_.set_away(false);
  return stepped;
}

bool World::pgdown() {
  if (store_.away()) return false;
  store_.set_away(true);
  return true;
}

bool World::pgup(bool back) {
  if (!store_.away()) return false;
  store_.set_away(false);
  if (back && store_.roll_back(store::memory::MemoryStore::kKept)) count("pg_went_back");
  return true;
}

// ---- routers -----------------------------------------------------------------------------------------------------------

// What a core asked its shell for during the call before: partitions to take over anew, streams to break.
void World::settle_router(std::size_t r) {
  if (!routers_[r]) return;
  for (const chat::Partition partition : routers_[r]->core.take_dropped()) {
    routers_[r]->owns.erase(partition.value);
    count("dropped_anew");
    own(r, partition.value);
  }
  for (const auto& [router, gateway] : std::exchange(to_break_, {})) sever(router, gateway);
}

bool World::deliver(std::size_t r, std::uint32_t partition, std::size_t most) {
  if (!routers_[r] || routers_[r]->paused) return false;
  const std::size_t stopped = routers_[r]->core.stopped().size();
  {
    const Running running(routers_[r]->knows);
    if (!routers_[r]->consumer->deliver({partition}, most)) return false;
  }
  if (routers_[r]->core.stopped().size() > stopped) met_newer(fmt::format("router {}", r));
  settle_router(r);
  return true;
}

bool World::up(std::size_t r, std::size_t g) {
  Stream* link = stream(r, g);
  if (!link || link->up.empty() || routers_[r]->paused) return false;
  const link::Up message = std::move(link->up.front());
  link->up.pop_front();
  const router::StreamId id = link->id;
  if (message.has_attach()) routers_[r]->core.on_stream(id, message.attach());
  routers_[r]->core.on_up(id, message);
  settle_router(r);
  return true;
}

bool World::net(std::size_t r, std::size_t g) {
  Stream* link = stream(r, g);
  if (!link || link->down.empty() || routers_[r]->paused) return false;
  const link::Down message = std::move(link->down.front());
  link->down.pop_front();
  gateways_[g]->core.on_link_down({static_cast<std::uint32_t>(r)}, message);
  return true;
}

bool World::rtick(std::size_t r) {
  if (!routers_[r] || routers_[r]->paused) return false;
  routers_[r]->core.on_tick();
  settle_router(r);
  return true;
}

bool World::commit(std::size_t r, std::uint32_t partition, std::uint32_t per_cent) {
  if (!routers_[r] || !routers_[r]->owns.contains(partition) || !routers_[r]->upto.contains(partition)) return false;
  broker_.set_committed(router::kRouterGroup, {partition}, chat::Offset{routers_[r]->upto[partition] * std::min(per_cent, 100u) / 100});
  return true;
}

bool World::own(std::size_t r, std::uint32_t partition) {
  RouterProcess* router = routers_[r].get();
  if (!router || router->paused || router->owns.contains(partition)) return false;
  const bool others = std::ranges::any_of(routers_, [&](const auto& other) { return other && other->owns.contains(partition); });
  count(others ? "two_owners" : "takeover");
  const chat::Partition p{partition};
  const router::Takeover at =
      router::takeover(broker_.committed(router::kRouterGroup, p), broker_.committed(router::kPersisterGroup, p), broker_.begin(p), broker_.end(p));
  router->owns.insert(partition);
  router->start[partition] = at.start;
  router->core.own(p, at.start, at.deliver_from);
  return true;
}

bool World::disown(std::size_t r, std::uint32_t partition) {
  if (!routers_[r] || routers_[r]->paused || routers_[r]->owns.erase(partition) == 0) return false;
  routers_[r]->core.disown({partition});
  return true;
}

bool World::rcrash(std::size_t r) {
  if (!routers_[r]) return false;
  for (std::size_t g = 0; g < kGateways; ++g) sever(r, g);
  routers_[r].reset();
  count("router_crash");
  return true;
}

bool World::rstart(std::size_t r) {
  if (routers_[r]) return false;
  routers_[r] = std::make_unique<RouterProcess>(*this, r, router_release_[r]);
  return true;
}

bool World::pause(std::size_t r) {
  if (!routers_[r] || routers_[r]->paused) return false;
  routers_[r]->paused = true;
  return true;
}

bool World::unpause(std::size_t r) {
  if (!routers_[r] || !routers_[r]->paused) return false;
  routers_[r]->paused = false;
  return true;
}

bool World::sever(std::size_t r, std::size_t g) {
  const auto at = streams_.find({r, g});
  if (at == streams_.end()) return false;
  const router::StreamId id = at->second.id;
  streams_.erase(at);
  if (routers_[r]) routers_[r]->core.on_stream_closed(id);
  if (gateways_[g]) gateways_[g]->core.on_link_closed({static_cast<std::uint32_t>(r)});
  count("sever");
  return true;
}

bool World::open(std::size_t r, std::size_t g) {
  if (!routers_[r] || !gateways_[g] || streams_.contains({r, g})) return false;
  streams_[{r, g}].id = {++stream_ids_};
  gateways_[g]->core.on_link_open({static_cast<std::uint32_t>(r)});
  return true;
}

// ---- gateways ----------------------------------------------------------------------------------------------------------

bool World::gtick(std::size_t g) {
  if (!gateways_[g]) return false;
  gateways_[g]->core.on_tick();
  for (const auto& [router, gateway] : std::exchange(to_break_, {})) sever(router, gateway);
  return true;
}

bool World::gcrash(std::size_t g, std::size_t in_flight) {
  if (!gateways_[g]) return false;
  for (std::size_t r = 0; r < kRouters; ++r) sever(r, g);
  gateways_[g]->producer->set_in_flight(in_flight);
  gateways_[g].reset();
  for (std::size_t d = 0; d < kDevices; ++d) {
    if (connections_[d] && connections_[d]->gateway == g) close(d);
  }
  count("gateway_crash");
  return true;
}

bool World::gstart(std::size_t g) {
  if (gateways_[g]) return false;
  gateways_[g] = std::make_unique<GatewayProcess>(*this, g, ++instances_, gateway_release_[g]);
  return true;
}

// ---- persisters --------------------------------------------------------------------------------------------------------

bool World::pbegin(std::size_t i, std::uint32_t partition, std::size_t most) {
  auto& batch = persisters_[i]->batches[partition];
  persister::Worker& worker = persisters_[i]->workers[partition];
  if (batch || store_.away() || worker.stopped()) return false;
  std::vector<eventlog::Entry> entries;
  chat::Offset next = worker.position();
  while (entries.size() < most) {
    const auto entry = broker_.at_or_after({partition}, next);
    if (!entry) break;
    next = entry->offset.next();
    entries.push_back(*entry);
  }
  if (entries.empty()) return false;
  auto folded = [&] {
    const Running running(persisters_[i]->release.knows);
    return worker.fold_batch(entries, next);
  }();
  if (worker.stopped()) met_newer(fmt::format("persister {}", i));
  if (folded && folded->next == folded->expected) return true;
  if (!folded) {  // somebody else was here
    if (auto position = persisters_[i]->writer->position({partition})) worker.reset(*position);
    return true;
  }
  batch = *std::move(folded);
  return true;
}

bool World::pcommit(std::size_t i, std::uint32_t partition, bool tell_kafka, bool lose_answer) {
  auto& batch = persisters_[i]->batches[partition];
  persister::Worker& worker = persisters_[i]->workers[partition];
  if (!batch) {
    // One who lags behind his rival, or whose store went back, finds out when he asks.
    if (store_.away() || worker.stopped()) return false;
    const auto position = persisters_[i]->writer->position({partition});
    if (!position || *position == worker.position()) return false;
    worker.reset(*position);
    return true;
  }
  if (store_.away()) return false;
  if (lose_answer) store_.lose_next_answer();
  const auto written = worker.commit(*batch);
  if (written) {
    oracle_.judge_batch(*batch);
    oracle_.judge_known(partition, batch->expected, batch->next, persisters_[i]->release.knows, fmt::format("persister {}", i));
    if (tell_kafka) broker_.set_committed(router::kPersisterGroup, {partition}, batch->next);
    batch.reset();
  } else if (written.error().code == store::Errc::lost) {
    count("cas_lost");
    batch.reset();
    if (auto position = persisters_[i]->writer->position({partition})) worker.reset(*position);
  } else {
    count("commit_in_doubt");  // the same batch again
  }
  return true;
}

bool World::pcrash(std::size_t i) {
  if (store_.away()) return false;
  persisters_[i] = std::make_unique<PersisterProcess>(store_, kTopic, persister_release_[i]);
  return true;
}

// Any persister, any number of times: a due schedule becomes a record (R10).
bool World::fire(std::size_t talk, std::size_t i) {
  const store::memory::Conversation* there = store_.data().find(cast_.ids[talk]);
  if (store_.away() || there == nullptr) return false;
  std::vector<store::StoredSchedule> due;
  std::ranges::copy_if(there->schedules, std::back_inserter(due), [](const store::StoredSchedule& schedule) { return !schedule.done; });
  if (due.empty()) return false;
  const store::StoredSchedule& schedule = due[i % due.size()];
  chat::Record record;
  record.conversation = schedule.conversation;
  record.actor = schedule.user;
  record.device = schedule.device;
  record.id = schedule.id;
  record.payload_hash = schedule.payload_hash;
  record.op = chat::op::Fire{schedule.body};
  record.fold_version = persisters_[i % kPersisters]->release.stamps;
  append(std::move(record));
  count("fire");
  return true;
}

// ---- rollouts ----------------------------------------------------------------------------------------------------------

// The partition stands still until somebody installs what knows (R6): fold version and alarm are the process's own business.
void World::met_newer(const std::string& who) {
  need(setup_.rollout == Rollout::hasty, "{} stops for a newer fold in an orderly rollout", who);
  count("stopped_for_newer_fold");
}

std::size_t& World::release_of(Role role, std::size_t i) {
  switch (role) {
    case Role::router:
      return router_release_.at(i);
    case Role::persister:
      return persister_release_.at(i);
    case Role::gateway:
      return gateway_release_.at(i);
  }
  throw std::invalid_argument("no such role");
}

bool World::install(Role role, std::size_t i, std::size_t release) {
  std::size_t& installed = release_of(role, i);
  if (release >= kReleases.size() || release == installed || (role == Role::persister && store_.away())) return false;
  installed = release;
  switch (role) {
    case Role::router:
      rcrash(i);
      rstart(i);
      break;
    case Role::persister:
      pcrash(i);
      break;
    case Role::gateway:
      gcrash(i, 0);
      gstart(i);
      break;
  }
  count("install");
  return true;
}

// Everyone who may meet a fold knows it before anyone stamps it; nothing else about the order matters.
bool World::roll_out() {
  for (const std::size_t release : {kKnows, kStamps}) {
    for (const auto& [role, count] : {std::pair{Role::gateway, kGateways}, {Role::persister, kPersisters}, {Role::router, kRouters}}) {
      for (std::size_t i = 0; i < count; ++i) {
        if (release_of(role, i) < release) return install(role, i, release);
      }
    }
  }
  return false;
}

// ---- time --------------------------------------------------------------------------------------------------------------

bool World::wait(std::uint64_t ms) {
  for (std::uint64_t passed = 0; passed < ms; passed += 100) {
    clock_.advance(std::min<std::uint64_t>(100, ms - passed));
    for (std::size_t g = 0; g < kGateways; ++g) gtick(g);
    for (std::size_t r = 0; r < kRouters; ++r) rtick(r);
  }
  return true;
}

}  // namespace parley::simulation
