// The rules that the simulation leaves out one at a time, and schedules by hand for those that chance seldom needs.
#pragma once

#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "chat/rules.h"

namespace parley::simulation {

struct ByHand {
  std::string_view setup;  // as Setup's text; empty: the usual one
  std::string_view actions;
};

struct Broken {
  chat::Rule rule;
  std::string_view name;
  bool detectable = true;
  std::string_view why = {};           // it cannot be missed
  std::vector<ByHand> schedules = {};  // each goes wrong without the rule
};

extern const std::vector<Broken> kBroken;

std::string_view name(chat::Rule rule);
// Throws std::invalid_argument.
chat::Rule rule_named(std::string_view name);

}  // namespace parley::simulation
