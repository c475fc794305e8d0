// Schedules: what happens in which order. Drawn from a seed, or written by hand as text ("verb/a/b verb/c ...").
#pragma once

#include <array>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "tests/simulation/world.h"

namespace parley::simulation {

struct Action {
  std::size_t verb = 0;  // index into the table of verbs
  std::array<std::uint64_t, 4> args{};
};

std::string text(const Action& action);
std::string text(const std::vector<Action>& actions);
// Throws std::invalid_argument naming what it does not know.
std::vector<Action> parse(std::string_view text);

bool act(World& world, const Action& action);

struct Run {
  std::optional<std::string> violation;
  Setup setup;
  std::vector<Action> done;  // those that were possible
  std::map<std::string, std::uint64_t> seen;
};

// Everything follows from the seed: the world's settings, the mix of actions, and the actions.
Run explore(std::uint64_t seed, std::size_t steps);
Run replay(const Setup& setup, const std::vector<Action>& actions);
// As few actions as still give a violation of the same kind, within about `seconds`.
Run minimise(const Run& failed, double seconds);

// The text of a setup, to replay with: "queue=3 rate=0 ...".
std::string text(const Setup& setup);
Setup parse_setup(std::string_view text);

}  // namespace parley::simulation
