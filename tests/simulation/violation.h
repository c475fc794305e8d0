// A promise that did not hold. Thrown, because it ends the schedule from wherever it is seen.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>

namespace parley::simulation {

class Violation : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

template <class... Args>
void need(bool holds, fmt::format_string<Args...> text, Args&&... args) {
  if (!holds) throw Violation(fmt::format(text, std::forward<Args>(args)...));
}

}  // namespace parley::simulation
