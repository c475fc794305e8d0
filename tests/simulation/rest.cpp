// The end of every schedule: all faults are over, everything moves until nothing has to, and then everyone has everything.
#include <algorithm>

#include "tests/simulation/processes.h"

namespace parley::simulation {
namespace {

constexpr std::uint64_t kRoundMs = 100;
constexpr int kQuietRounds = 35;  // longer than a gap of progress may stay uncured, and than a silent stream may live
constexpr int kRounds = 1'500;    // 150 s of the simulation's time: longer than any answer timeout of the design

}  // namespace

// One round of a world without faults: whatever waits moves. True where anything but time did.
bool World::settle_all() {
  bool moved = false;
  const auto all = [&](auto&& act) {
    for (int i = 0; i < 1'000 && act(); ++i) moved = true;
  };
  const auto persist = [&] {
    for (std::size_t i = 0; i < kPersisters; ++i) {
      for (std::uint32_t p = 0; p < kPartitions; ++p) {
        all([&] { return pcommit(i, p, true, false); });
        if (i == 0) all([&] { return pbegin(i, p, 20) && pcommit(i, p, true, false); });
      }
    }
  };
  clock_.advance(kRoundMs);
  for (std::size_t r = 0; r < kRouters; ++r) {
    for (std::size_t g = 0; g < kGateways; ++g) moved = open(r, g) || moved;
  }
  for (std::size_t d = 0; d < kDevices; ++d) {
    moved = hello(d, d % kGateways) || moved;
    all([&] { return take(d); });
  }
  all([&] { return orphan(0); });
  for (std::size_t g = 0; g < kGateways; ++g) {
    gtick(g);
    all([&] { return land(g); });
    all([&] { return tell(g); });
    for (int i = 0; i < 20 && answer(g); ++i) {
    }
  }
  for (std::size_t n = store_.waiting(); n > 0 && step(0); --n) {
  }
  // Sometimes before the routers: what was refused in a conversation that is loaded only then is told by nobody (R18).
  const bool before = clock_.elapsed() / kRoundMs % 2 == 0;
  if (before) persist();
  for (std::size_t r = 0; r < kRouters; ++r) {
    rtick(r);
    for (std::uint32_t p = 0; p < kPartitions; ++p) all([&] { return deliver(r, p, 20); });
    for (std::size_t g = 0; g < kGateways; ++g) {
      for (int i = 0; i < 100 && up(r, g); ++i) {
      }
    }
  }
  for (std::size_t n = store_.waiting(); n > 0 && step(0); --n) {
  }
  if (!before) persist();
  for (std::size_t r = 0; r < kRouters; ++r) {
    for (std::size_t g = 0; g < kGateways; ++g) {
      for (int i = 0; i < 100 && net(r, g); ++i) {
      }
    }
  }
  for (std::size_t d = 0; d < kDevices; ++d) {
    all([&] { return recv(d); });
    moved = history(d) || moved;
    moved = ask(d, false) || moved;
  }
  return moved;
}

bool World::calm(std::size_t rounds) {
  while (rounds-- > 0) settle_all();
  return true;
}

std::optional<std::string> World::restless() const {
  for (const auto& device : devices_) {
    if (!device->settled()) return fmt::format("{} {}", device->name(), device->unsettled());
  }
  for (std::uint32_t p = 0; p < kPartitions; ++p) {
    if (store_.data().positions[p] < broker_.end({p})) return fmt::format("partition {} is not persisted", p);
  }
  if (broker_.orphans() > 0) return "orphans are under way";
  return std::nullopt;
}

// Whoever stopped goes on from its position once it knows (R6).
void World::finish_rollout() {
  if (setup_.rollout == Rollout::none) return;
  for (std::size_t r = 0; r < kRouters; ++r) {
    if (router_release_[r] < kKnows) install(Role::router, r, kKnows);
  }
  for (std::size_t i = 0; i < kPersisters; ++i) {
    if (persister_release_[i] < kKnows) install(Role::persister, i, kKnows);
  }
}

void World::rest() {
  pgup(false);
  klog(true);
  for (std::size_t g = 0; g < kGateways; ++g) {
    gstart(g);
    gstall(g, false);
  }
  finish_rollout();
  for (std::size_t r = 0; r < kRouters; ++r) {
    rstart(r);
    unpause(r);
  }
  for (std::uint32_t p = 0; p < kPartitions; ++p) {
    std::vector<std::size_t> owners;
    for (std::size_t r = 0; r < kRouters; ++r) {
      if (routers_[r]->owns.contains(p)) owners.push_back(r);
    }
    if (owners.empty()) own(p, p);
    for (std::size_t i = 1; i < owners.size(); ++i) disown(owners[i], p);
  }
  int quiet = 0;
  std::uint64_t resent = clock_.elapsed();
  for (int round = 0; round < kRounds && quiet < kQuietRounds; ++round) {
    const bool moved = settle_all();
    for (std::size_t d = 0; d < kDevices; ++d) {
      // 10 s without an answer, or a temporary nack: again.
      const auto& pending = devices_[d]->pending();
      if ((devices_[d]->waits_to_resend() && round % 5 == 0) || (!pending.empty() && clock_.elapsed() > resent + 10'000)) {
        resend(d);
        if (d == kDevices - 1) resent = clock_.elapsed();
      }
    }
    if (!devices_.empty() && clock_.elapsed() > resent + 10'000) resent = clock_.elapsed();
    quiet = moved || restless() ? 0 : quiet + 1;
  }
  if (quiet < kQuietRounds) need(false, "does not come to rest: {} (liveness)", restless().value_or("it never stands still"));
  oracle_.sync();
  oracle_.judge_store(store_.data());
  for (const auto& device : devices_) seen_["unheard_of"] += device->judge_rest();
}

}  // namespace parley::simulation
