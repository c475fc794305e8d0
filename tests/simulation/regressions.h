// Schedules that once went wrong, in their shortest form, and what was wrong. Played before every search.
#pragma once

#include <array>
#include <string_view>

#include "tests/simulation/rules.h"

namespace parley::simulation {

struct Regression {
  std::string_view was;
  ByHand schedule;
};

inline constexpr std::array kRegressions = {
    Regression{"a rival's newer state was loaded, PostgreSQL came back older, and the batch folded onto it was stored",
               {"1000/3/100/16777216/1000",
                "op/1/0/0/1 take/1 land/1 pcrash/0 op/2/0/0/3 take/2 pbegin/1/0/1 pcommit/1/0/1/0 land/0 pbegin/1/0/2 pcommit/1/0/0/0 pbegin/0/0/1 pgdown "
                "pgup/1"}},
    Regression{"a session whose send was purged was closed only when that was told, and its next send landed in between",
               {"1000/0/2/16777216/3", "op/3/2/0/4 take/3 expire/1/0/0 op/1/0/0/7 take/1 op/1/0/0/2 tell/1"}},
    Regression{"a persister with nothing to write did not notice that PostgreSQL had come back older",
               {"1000/0/2/16777216/1000", "op/0/4/0/6 take/0 land/0 pbegin/0/1/1 pcommit/0/1/1/0 pgdown pgup/1"}},
    Regression{"a mark whose record was not kept while its conversation was loaded is told by the next one (R18)",
               {"1000/0/2/700/1000", "gcrash/0/1 op/3/0/0/4 op/3/2/0/10 own/0/1 klog/0 op/1/0/4/4 op/1/0/4/6 take/1 op/3/0/4/8"}},
};

}  // namespace parley::simulation
