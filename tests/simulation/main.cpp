// simulation: random schedules of everything that can go wrong, over the real cores. The same seed gives the same run.
//
//   simulation --seeds 2000 [--first S] [--steps 800]       every rule on: must be clean
//   simulation --without RULE [--seeds N]                   one rule left out: exit 0 where a violation was seen
//   simulation --rules [--seeds N]                          that for every rule; prints which check caught it
//   simulation --replay "op/0/0/0/1 take/0 ..." [--setup a/b/c/d/e/f] [--without RULE]
//   --min                                                   shortens what failed first
//   --trace                                                 with --replay: tells every action and frame
#include <fmt/format.h>

#include <chrono>
#include <cstdlib>
#include <iostream>

#include "chat/rules.h"
#include "tests/simulation/regressions.h"
#include "tests/simulation/rules.h"
#include "tests/simulation/schedule.h"

namespace parley::simulation {
namespace {

struct Options {
  std::uint64_t first = 1, seeds = 2'000;
  std::size_t steps = 800;
  std::string without, replay, setup;
  bool rules = false, min = false, trace = false;
};

void print(const std::string& line) { std::cout << line << std::endl; }

void tell(const Run& run, std::string_view how, bool min) {
  Run shown = min ? minimise(run, 30) : run;
  print(fmt::format("VIOLATION ({}): {}", how, *shown.violation));
  constexpr std::size_t kLast = 25;
  const std::size_t from = shown.done.size() > kLast ? shown.done.size() - kLast : 0;
  print(fmt::format("  last of {} actions: {}", shown.done.size(),
                    text(std::vector<Action>(shown.done.begin() + static_cast<std::ptrdiff_t>(from), shown.done.end()))));
  print(fmt::format("  to replay: simulation --setup {}{} --replay \"{}\"", text(shown.setup),
                    chat::broken == chat::Rule::none ? "" : fmt::format(" --without {}", name(chat::broken)), text(shown.done)));
}

Setup setup_of(std::string_view text) { return text.empty() ? Setup{} : parse_setup(text); }

int search(const Options& options) {
  const auto began = std::chrono::steady_clock::now();
  std::map<std::string, std::uint64_t> seen;
  std::uint64_t violated = 0;
  for (const Regression& regression : kRegressions) {
    const Run run = replay(setup_of(regression.schedule.setup), parse(regression.schedule.actions));
    if (!run.violation) continue;
    ++violated;
    tell(run, regression.was, false);
  }
  for (std::uint64_t seed = options.first; seed < options.first + options.seeds; ++seed) {
    const Run run = explore(seed, options.steps);
    for (const auto& [what, times] : run.seen) seen[what] += times;
    if (!run.violation) continue;
    if (++violated <= 5) tell(run, fmt::format("seed {}", seed), options.min);
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  print(fmt::format("{} seeds of {} steps from {}, without {}: {} violated, {:.1f} s", options.seeds, options.steps, options.first, name(chat::broken),
                    violated, seconds));
  std::string all;
  for (const auto& [what, times] : seen) all += fmt::format(" {} {}", what, times);
  print("seen:" + all);
  if (chat::broken != chat::Rule::none) return violated > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
  return violated > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

// Each rule of chat/rules.h in turn is left out, and must be missed.
int every_rule(const Options& options) {
  int missed = 0;
  print("| rule | caught by | what went wrong |\n|---|---|---|");
  for (const Broken& rule : kBroken) {
    chat::broken = rule.rule;
    std::string how = "nothing", what;
    for (const ByHand& schedule : rule.schedules) {
      const Run run = replay(setup_of(schedule.setup), parse(schedule.actions));
      if (!run.violation) continue;
      how = "a schedule by hand";
      what = *run.violation;
      break;
    }
    for (std::uint64_t seed = options.first; what.empty() && rule.detectable && seed < options.first + options.seeds; ++seed) {
      const Run run = explore(seed, options.steps);
      if (!run.violation) continue;
      how = fmt::format("seed {}", seed);
      what = *run.violation;
    }
    if (what.empty() && rule.detectable) ++missed;
    print(fmt::format("| {} | {} | {} |", name(rule.rule), how, what.empty() ? (rule.detectable ? std::string("NOT DETECTED") : std::string(rule.why)) : what));
  }
  // The schedules by hand are about the rules, not about themselves.
  chat::broken = chat::Rule::none;
  for (const Broken& rule : kBroken) {
    for (const ByHand& schedule : rule.schedules) {
      const Run run = replay(setup_of(schedule.setup), parse(schedule.actions));
      if (!run.violation) continue;
      ++missed;
      print(fmt::format("the schedule for {} is violated with every rule on: {}", name(rule.rule), *run.violation));
    }
  }
  return missed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    std::string argument = argv[i];
    std::optional<std::string> given;
    if (const auto equals = argument.find('='); equals != std::string::npos) {
      given = argument.substr(equals + 1);
      argument.resize(equals);
    }
    const auto value = [&]() -> std::string {
      if (given) return *given;
      if (++i == argc) throw std::invalid_argument(argument + " needs a value");
      return argv[i];
    };
    if (argument == "--seeds")
      options.seeds = std::stoull(value());
    else if (argument == "--first")
      options.first = std::stoull(value());
    else if (argument == "--steps")
      options.steps = std::stoull(value());
    else if (argument == "--without")
      options.without = value();
    else if (argument == "--replay")
      options.replay = value();
    else if (argument == "--setup")
      options.setup = value();
    else if (argument == "--rules")
      options.rules = true;
    else if (argument == "--min")
      options.min = true;
    else if (argument == "--trace")
      options.trace = true;
    else
      throw std::invalid_argument("no such option: " + argument);
  }
  if (!options.without.empty()) chat::broken = rule_named(options.without);
  if (options.rules) return every_rule(options);
  if (options.replay.empty()) return search(options);
  Setup setup = setup_of(options.setup);
  setup.trace = options.trace;
  const Run run = replay(setup, parse(options.replay));
  if (!run.violation) {
    print("no violation");
    return EXIT_SUCCESS;
  }
  tell(run, "replay", options.min);
  return EXIT_FAILURE;
}

}  // namespace
}  // namespace parley::simulation

int main(int argc, char** argv) {
  try {
    return parley::simulation::main(argc, argv);
  } catch (const std::invalid_argument& wrong) {
    std::cerr << wrong.what() << '\n';
    return 2;
  }
}
