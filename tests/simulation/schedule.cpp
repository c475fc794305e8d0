#include "tests/simulation/schedule.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <sstream>
#include <stdexcept>

#include "tests/simulation/violation.h"

namespace parley::simulation {
namespace {

// Splitmix64: the same draws on every machine and library.
class Rng {
 public:
  explicit Rng(std::uint64_t seed) : state_(seed * 0x9E3779B97F4A7C15ull + 1) {}
  std::uint64_t next() {
    std::uint64_t z = state_ += 0x9E3779B97F4A7C15ull;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ z >> 27) * 0x94D049BB133111EBull;
    return z ^ z >> 31;
  }
  std::uint64_t below(std::uint64_t n) { return next() % n; }
  bool chance(double p) { return static_cast<double>(next() >> 11) < p * 0x1p53; }
  template <std::size_t N>
  std::uint64_t one_of(const std::uint64_t (&values)[N]) {
    return values[below(N)];
  }

 private:
  std::uint64_t state_;
};

using Args = std::array<std::uint64_t, 4>;

struct Verb {
  std::string_view name;
  double weight;
  std::size_t args;
  bool (*act)(World&, const Args&);
  Args (*draw)(Rng&);
};

Args device(Rng& r) { return {r.below(kDevices)}; }
Args gateway(Rng& r) { return {r.below(kGateways)}; }
Args router(Rng& r) { return {r.below(kRouters)}; }
Args router_partition(Rng& r) { return {r.below(kRouters), r.below(kPartitions)}; }
Args router_gateway(Rng& r) { return {r.below(kRouters), r.below(kGateways)}; }
Args none(Rng&) { return {}; }
Args some(Rng& r) { return {r.below(12)}; }

Args operation(Rng& r) {
  using What = World::What;
  static constexpr std::pair<What, double> kMix[] = {{What::send, 14},  {What::add, 1.5},   {What::remove, 1},    {What::title, .7}, {What::mark, 2},
                                                     {What::create, 3}, {What::block, .25}, {What::schedule, .8}, {What::cancel, .5}};
  double total = 0;
  for (const auto& [what, weight] : kMix) total += weight;
  double at = static_cast<double>(r.next() >> 11) * 0x1p-53 * total;
  What what = What::send;
  for (const auto& [kind, weight] : kMix) {
    what = kind;
    if ((at -= weight) < 0) break;
  }
  // Only of n2 a device may never have heard.
  const bool moves = what == What::add || what == What::remove;
  const std::uint64_t talk = moves ? r.one_of({kG0, kG1, kN2, kN2}) : r.one_of({kG0, kG0, kG0, kG1, kD, kD, kG0, kN2, kS});
  return {r.below(kDevices), talk, static_cast<std::uint64_t>(what), r.below(12)};
}

// Weights are those of the executable model where it has the action.
constexpr Verb kVerbs[] = {
    {"op", 22, 4, [](World& w, const Args& a) { return w.op(a[0], a[1], static_cast<World::What>(a[2]), a[3]); }, operation},
    {"take", 24, 1, [](World& w, const Args& a) { return w.take(a[0]); }, device},
    {"recv", 34, 1, [](World& w, const Args& a) { return w.recv(a[0]); }, device},
    {"resend", 2.5, 1, [](World& w, const Args& a) { return w.resend(a[0]); }, device},
    {"hello", 8, 2, [](World& w, const Args& a) { return w.hello(a[0], a[1]); }, [](Rng& r) -> Args { return {r.below(kDevices), r.below(kGateways)}; }},
    {"disc", 2, 1, [](World& w, const Args& a) { return w.disc(a[0]); }, device},
    {"ask", 2, 2, [](World& w, const Args& a) { return w.ask(a[0], a[1] != 0); }, [](Rng& r) -> Args { return {r.below(kDevices), r.chance(.1)}; }},
    {"history", 3, 1, [](World& w, const Args& a) { return w.history(a[0]); }, device},
    {"ack", 1, 1, [](World& w, const Args& a) { return w.acknowledge(a[0]); }, device},

    {"land", 20, 1, [](World& w, const Args& a) { return w.land(a[0]); }, gateway},
    {"tell", 14, 1, [](World& w, const Args& a) { return w.tell(a[0]); }, gateway},
    {"answer", 20, 1, [](World& w, const Args& a) { return w.answer(a[0]); }, gateway},
    {"orphan", 2, 1, [](World& w, const Args& a) { return w.orphan(a[0]); }, some},
    {"expire", .3, 3, [](World& w, const Args& a) { return w.expire(a[0], static_cast<std::uint32_t>(a[1]), a[2]); },
     [](Rng& r) -> Args { return {r.below(kGateways), r.below(kPartitions), r.below(3)}; }},
    {"gstall", 2, 2, [](World& w, const Args& a) { return w.gstall(a[0], a[1] != 0); }, [](Rng& r) -> Args { return {r.below(kGateways), r.chance(.4)}; }},
    {"poison", .2, 1, [](World& w, const Args& a) { return w.poison(a[0]); }, [](Rng& r) -> Args { return {r.below(kConversations)}; }},
    {"klog", .6, 1, [](World& w, const Args& a) { return w.klog(a[0] != 0); }, [](Rng& r) -> Args { return {r.chance(.7)}; }},

    {"read", 8, 1, [](World& w, const Args& a) { return w.read(a[0]); }, some},
    {"step", 40, 1, [](World& w, const Args& a) { return w.step(a[0]); }, some},
    {"readfail", 1, 1, [](World& w, const Args& a) { return w.readfail(a[0]); }, some},
    {"pgdown", 1, 0, [](World& w, const Args&) { return w.pgdown(); }, none},
    {"pgup", 1.5, 1, [](World& w, const Args& a) { return w.pgup(a[0] != 0); }, [](Rng& r) -> Args { return {r.chance(.25)}; }},

    {"deliver", 30, 3, [](World& w, const Args& a) { return w.deliver(a[0], static_cast<std::uint32_t>(a[1]), 1 + a[2]); },
     [](Rng& r) -> Args { return {r.below(kRouters), r.below(kPartitions), r.below(3)}; }},
    {"up", 12, 2, [](World& w, const Args& a) { return w.up(a[0], a[1]); }, router_gateway},
    {"net", 45, 2, [](World& w, const Args& a) { return w.net(a[0], a[1]); }, router_gateway},
    {"rtick", 6, 1, [](World& w, const Args& a) { return w.rtick(a[0]); }, router},
    {"commit", 4, 3, [](World& w, const Args& a) { return w.commit(a[0], static_cast<std::uint32_t>(a[1]), static_cast<std::uint32_t>(a[2])); },
     [](Rng& r) -> Args { return {r.below(kRouters), r.below(kPartitions), r.one_of({100, 100, 50, 80})}; }},
    {"own", 3, 2, [](World& w, const Args& a) { return w.own(a[0], static_cast<std::uint32_t>(a[1])); }, router_partition},
    {"disown", 1.2, 2, [](World& w, const Args& a) { return w.disown(a[0], static_cast<std::uint32_t>(a[1])); }, router_partition},
    {"rcrash", 1, 1, [](World& w, const Args& a) { return w.rcrash(a[0]); }, router},
    {"rstart", 3, 1, [](World& w, const Args& a) { return w.rstart(a[0]); }, router},
    {"pause", .8, 1, [](World& w, const Args& a) { return w.pause(a[0]); }, router},
    {"unpause", 4, 1, [](World& w, const Args& a) { return w.unpause(a[0]); }, router},
    {"sever", .8, 2, [](World& w, const Args& a) { return w.sever(a[0], a[1]); }, router_gateway},
    {"open", 6, 2, [](World& w, const Args& a) { return w.open(a[0], a[1]); }, router_gateway},

    {"gtick", 8, 1, [](World& w, const Args& a) { return w.gtick(a[0]); }, gateway},
    {"gcrash", .5, 2, [](World& w, const Args& a) { return w.gcrash(a[0], a[1]); }, [](Rng& r) -> Args { return {r.below(kGateways), r.below(3)}; }},
    {"gstart", 4, 1, [](World& w, const Args& a) { return w.gstart(a[0]); }, gateway},

    {"pbegin", 8, 3, [](World& w, const Args& a) { return w.pbegin(a[0], static_cast<std::uint32_t>(a[1]), 1 + a[2]); },
     [](Rng& r) -> Args { return {r.below(kPersisters), r.below(kPartitions), r.below(4)}; }},
    {"pcommit", 9, 4, [](World& w, const Args& a) { return w.pcommit(a[0], static_cast<std::uint32_t>(a[1]), a[2] != 0, a[3] != 0); },
     [](Rng& r) -> Args { return {r.below(kPersisters), r.below(kPartitions), r.chance(.85), r.chance(.04)}; }},
    {"pcrash", .4, 1, [](World& w, const Args& a) { return w.pcrash(a[0]); }, [](Rng& r) -> Args { return {r.below(kPersisters)}; }},
    {"fire", 1.5, 2, [](World& w, const Args& a) { return w.fire(a[0], a[1]); }, [](Rng& r) -> Args { return {r.below(kConversations), r.below(4)}; }},

    {"install", 1, 3, [](World& w, const Args& a) { return w.rollout() == Rollout::hasty && w.install(static_cast<World::Role>(a[0]), a[1], a[2]); },
     [](Rng& r) -> Args {
       const std::uint64_t role = r.one_of({0, 0, 0, 1, 1, 2, 2});
       return {role, r.below(role == 0 ? kRouters : role == 1 ? kGateways : kPersisters), r.below(kReleases.size())};
     }},

    {"rollout", 1.5, 0, [](World& w, const Args&) { return w.rollout() == Rollout::orderly && w.roll_out(); }, none},
    {"calm", 1.5, 1, [](World& w, const Args& a) { return w.calm(a[0]); }, [](Rng& r) -> Args { return {r.one_of({1, 1, 2, 3, 6})}; }},
    {"wait", 4, 1, [](World& w, const Args& a) { return w.wait(a[0]); },
     [](Rng& r) -> Args { return {r.one_of({100, 100, 100, 100, 300, 300, 300, 1'100, 1'100, 3'200, 9'000})}; }},
};

std::uint64_t number(std::string_view word) {
  std::uint64_t value = 0;
  for (const char c : word) {
    if (c < '0' || c > '9') throw std::invalid_argument("not a number: " + std::string(word));
    value = value * 10 + static_cast<std::uint64_t>(c - '0');
  }
  return value;
}

constexpr std::uint64_t kActionMs = 3;

template <class Next>
Run run(const Setup& setup, Next&& next) {
  Run run{.violation = {}, .setup = setup, .done = {}, .seen = {}};
  std::optional<World> world;
  try {
    world.emplace(setup);
    while (const auto action = next()) {
      run.done.push_back(*action);
      world->trace(text(*action));
      if (act(*world, *action))
        world->pass(kActionMs);
      else
        run.done.pop_back();
    }
    world->trace("rest");
    world->rest();
  } catch (const Violation& violation) {
    run.violation = violation.what();
  }
  if (world) run.seen = world->seen();
  return run;
}

// The first words tell what kind of violation it is; names and numbers do not matter.
std::string kind(std::string_view message) {
  std::string out;
  for (const char c : message.substr(0, message.find(':'))) {
    if (c < '0' || c > '9') out += c;
  }
  return out.substr(0, 40);
}

}  // namespace

std::string text(const Action& action) {
  std::string out(kVerbs[action.verb].name);
  for (std::size_t i = 0; i < kVerbs[action.verb].args; ++i) out += fmt::format("/{}", action.args[i]);
  return out;
}

std::string text(const std::vector<Action>& actions) {
  std::string out;
  for (const Action& action : actions) out += (out.empty() ? "" : " ") + text(action);
  return out;
}

std::vector<Action> parse(std::string_view all) {
  std::vector<Action> actions;
  std::istringstream words{std::string(all)};
  for (std::string word; words >> word;) {
    std::istringstream parts{word};
    std::string part;
    std::getline(parts, part, '/');
    const auto verb = std::ranges::find(kVerbs, part, &Verb::name);
    if (verb == std::end(kVerbs)) throw std::invalid_argument("no such action: " + part);
    Action action{static_cast<std::size_t>(verb - std::begin(kVerbs)), {}};
    for (std::size_t i = 0; std::getline(parts, part, '/'); ++i) action.args.at(i) = number(part);
    actions.push_back(action);
  }
  return actions;
}

bool act(World& world, const Action& action) { return kVerbs[action.verb].act(world, action.args); }

Run explore(std::uint64_t seed, std::size_t steps) {
  Rng rng(seed);
  Setup setup;
  if (rng.chance(.15)) setup.producer_queue = 3;
  if (rng.chance(.15)) setup.sends_per_second = 3;
  if (rng.chance(.1)) setup.cached_conversations = 100;
  if (rng.chance(.15)) setup.parked_bytes = 700;
  if (rng.chance(.1)) setup.resume_events = 3;
  setup.rollout = static_cast<Rollout>(rng.one_of({0, 0, 1, 2}));
  // Every schedule has its own mix.
  std::array<double, std::size(kVerbs)> upto{};
  double total = 0;
  for (std::size_t i = 0; i < std::size(kVerbs); ++i) {
    const double weight = kVerbs[i].weight;
    static constexpr double kRare[] = {.15, 1, 1, 3}, kOften[] = {.5, 1, 2};
    upto[i] = total += weight * (weight < 9 ? kRare[rng.below(4)] : kOften[rng.below(3)]);
  }
  std::size_t drawn = 0;
  return run(setup, [&]() -> std::optional<Action> {
    if (drawn++ == steps) return std::nullopt;
    const double at = static_cast<double>(rng.next() >> 11) * 0x1p-53 * total;
    const auto verb = std::min<std::size_t>(static_cast<std::size_t>(std::ranges::upper_bound(upto, at) - upto.begin()), std::size(kVerbs) - 1);
    return Action{verb, kVerbs[verb].draw(rng)};
  });
}

Run replay(const Setup& setup, const std::vector<Action>& actions) {
  auto next = actions.begin();
  return run(setup, [&]() -> std::optional<Action> { return next == actions.end() ? std::nullopt : std::optional(*next++); });
}

Run minimise(const Run& failed, double seconds) {
  const auto began = std::chrono::steady_clock::now();
  const auto late = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count() > seconds; };
  Run best = failed;
  for (std::size_t size = std::max<std::size_t>(1, best.done.size() / 2); !late();) {
    bool cut = false;
    for (std::size_t i = 0; i < best.done.size() && !late();) {
      std::vector<Action> candidate = best.done;
      candidate.erase(candidate.begin() + static_cast<std::ptrdiff_t>(i),
                      candidate.begin() + static_cast<std::ptrdiff_t>(std::min(i + size, candidate.size())));
      Run tried = replay(failed.setup, candidate);
      if (tried.violation && kind(*tried.violation) == kind(*failed.violation)) {
        best = std::move(tried);
        cut = true;
      } else {
        i += size;
      }
    }
    if (size == 1 && !cut) break;
    size = std::max<std::size_t>(1, size / 2);
  }
  return best;
}

std::string text(const Setup& setup) {
  return fmt::format("{}/{}/{}/{}/{}/{}", setup.producer_queue, setup.sends_per_second, setup.cached_conversations, setup.parked_bytes, setup.resume_events,
                     static_cast<int>(setup.rollout));
}

Setup parse_setup(std::string_view all) {
  std::array<std::uint64_t, 6> values{};  // the last may be left out: no rollout
  std::istringstream parts{std::string(all)};
  std::string part;
  for (std::size_t i = 0; std::getline(parts, part, '/'); ++i) values.at(i) = number(part);
  return {.producer_queue = values[0],
          .sends_per_second = static_cast<std::uint32_t>(values[1]),
          .cached_conversations = static_cast<std::uint32_t>(values[2]),
          .parked_bytes = values[3],
          .resume_events = static_cast<std::uint32_t>(values[4]),
          .rollout = static_cast<Rollout>(values[5])};
}

}  // namespace parley::simulation
