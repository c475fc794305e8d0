// The world: the real fold, router core, gateway core and persister worker over the memory log and the memory store, and
// everything that can go wrong between them, one step at a time.
//
// Every action is a method that returns false where it is not possible. Nothing happens by itself; the same actions give the
// same run. Names of actions are those of the executable model.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "gateway/core/core.h"
#include "persister/worker.h"
#include "router/core.h"
#include "tests/simulation/device.h"

namespace parley::simulation {

namespace link = parley::link::v1;

// What differs between runs.
struct Setup {
  std::size_t producer_queue = 1'000;      // small: the log refuses now and then (queue full)
  std::uint32_t sends_per_second = 0;      // small: the gateway refuses now and then (rate)
  std::uint32_t cached_conversations = 2;  // of a router: small, so that it evicts
  std::size_t parked_bytes = 16 << 20;     // small: bodies are dropped (R18)
  std::uint32_t resume_events = 1'000;     // small: resync instead of replay
  Rollout rollout = Rollout::none;
  bool trace = false;  // tell on standard error what happens
};

struct Stream {
  router::StreamId id;
  std::deque<link::Up> up;
  std::deque<link::Down> down;
};

// One process each. A crash destroys it; what it held is gone.
struct RouterProcess;
struct GatewayProcess;
struct PersisterProcess;

struct Connection final : Wire {
  std::uint64_t id = 0;
  std::size_t gateway = 0;
  std::deque<client::Frame> to_gateway;
  std::deque<gateway::OutgoingPtr> to_device;
  bool trace = false;
  bool closing = false;  // the gateway closed it; the device sees that after what was sent before

  void say(client::Frame frame) override;
  std::uint64_t connection() const override { return id; }
};

class World {
 public:
  explicit World(const Setup& setup);
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  // ---- devices ----
  enum class What : std::uint8_t { send, add, remove, title, mark, create, block, schedule, cancel };
  bool op(std::size_t device, std::size_t talk, What what, std::uint64_t x);
  bool take(std::size_t device);  // the gateway reads the device's next frame
  bool recv(std::size_t device);  // the device reads the gateway's next frame
  bool resend(std::size_t device);
  bool hello(std::size_t device, std::size_t gateway);
  bool disc(std::size_t device);
  bool ask(std::size_t device, bool unasked);
  bool history(std::size_t device);
  bool acknowledge(std::size_t device);

  // ---- the log ----
  bool land(std::size_t gateway);
  bool tell(std::size_t gateway);
  bool answer(std::size_t gateway);
  bool orphan(std::size_t i);
  bool expire(std::size_t gateway, std::uint32_t partition, std::size_t in_flight);
  bool gstall(std::size_t gateway, bool on);
  bool poison(std::size_t talk);
  bool klog(bool available);

  // ---- the store ----
  bool read(std::size_t i);      // takes the snapshot; the answer comes later
  bool step(std::size_t i);      // gives an answer, or tells of a new position
  bool readfail(std::size_t i);  // this one fails
  bool pgdown();
  bool pgup(bool back);

  // ---- routers ----
  bool deliver(std::size_t router, std::uint32_t partition, std::size_t most);
  bool up(std::size_t router, std::size_t gateway);
  bool net(std::size_t router, std::size_t gateway);
  bool rtick(std::size_t router);
  bool commit(std::size_t router, std::uint32_t partition, std::uint32_t per_cent);  // wild: anything up to upto
  bool own(std::size_t router, std::uint32_t partition);
  bool disown(std::size_t router, std::uint32_t partition);
  bool rcrash(std::size_t router);
  bool rstart(std::size_t router);
  bool pause(std::size_t router);
  bool unpause(std::size_t router);
  bool sever(std::size_t router, std::size_t gateway);
  bool open(std::size_t router, std::size_t gateway);

  // ---- gateways ----
  bool gtick(std::size_t gateway);
  bool gcrash(std::size_t gateway, std::size_t in_flight);
  bool gstart(std::size_t gateway);

  // ---- persisters ----
  bool pbegin(std::size_t persister, std::uint32_t partition, std::size_t most);
  bool pcommit(std::size_t persister, std::uint32_t partition, bool tell_kafka, bool lose_answer);
  bool pcrash(std::size_t persister);
  bool fire(std::size_t talk, std::size_t i);

  // ---- rollouts ----
  enum class Role : std::uint8_t { router, gateway, persister };
  bool install(Role role, std::size_t i, std::size_t release);  // a restart; where the rollout is hasty
  bool roll_out();                                              // the next step of an orderly one

  // ---- time ----
  bool wait(std::uint64_t ms);    // everyone alive ticks; nothing else moves
  bool calm(std::size_t rounds);  // nothing fails for a while, so that there is something to lose afterwards

  // Everything heals, comes to rest, and is judged.
  void rest();

  Rollout rollout() const { return setup_.rollout; }
  const std::map<std::string, std::uint64_t>& seen() const { return seen_; }
  void pass(std::uint64_t ms) { clock_.advance(ms); }
  void trace(std::string_view line) const;

 private:
  friend struct RouterProcess;
  friend struct GatewayProcess;

  Stream* stream(std::size_t router, std::size_t gateway);
  void count(const char* what) { ++seen_[what]; }
  void trace(std::string_view who, const google::protobuf::Message& what) const;
  void close(std::size_t device);  // the connection is gone on both sides
  void settle_router(std::size_t router);
  bool settle_all();
  void finish_rollout();
  void append(chat::Record record);
  std::size_t& release_of(Role role, std::size_t i);
  void met_newer(const std::string& who);
  bool usable(std::size_t waiting) const;
  std::optional<std::string> restless() const;

  const Setup setup_;
  Cast cast_;
  // What is installed where; a crash does not change it.
  std::array<std::size_t, kRouters> router_release_{};
  std::array<std::size_t, kGateways> gateway_release_{};
  std::array<std::size_t, kPersisters> persister_release_{};
  SimClock clock_;
  eventlog::memory::MemoryBroker broker_;
  store::memory::MemoryStore store_;
  Oracle oracle_;
  Promises promises_;
  std::vector<std::unique_ptr<RouterProcess>> routers_;
  std::vector<std::unique_ptr<GatewayProcess>> gateways_;
  std::vector<std::unique_ptr<PersisterProcess>> persisters_;
  std::map<std::pair<std::size_t, std::size_t>, Stream> streams_;
  std::vector<std::unique_ptr<Device>> devices_;
  std::vector<std::unique_ptr<Connection>> connections_;       // of each device; none: offline
  std::vector<std::pair<std::size_t, std::size_t>> to_break_;  // streams that someone broke: severed after the call
  std::uint64_t numbers_ = 0, stream_ids_ = 0, connection_ids_ = 0, instances_ = 100;
  bool created_ = false, blocked_ = false;
  std::map<std::string, std::uint64_t> seen_;
};

}  // namespace parley::simulation
