#include "tests/simulation/rules.h"

namespace parley::simulation {

using chat::Rule;

const std::vector<Broken> kBroken = {
    {.rule = Rule::since, .name = "since"},
    {.rule = Rule::window, .name = "window"},
    {.rule = Rule::since_mono, .name = "since_mono"},
    {.rule = Rule::in_order, .name = "in_order"},
    {.rule = Rule::turn, .name = "turn"},
    {.rule = Rule::attempts,
     .name = "attempts",
     .schedules = {{"", "op/0/0/5/5 gstall/0/1 op/2/2/0/7 resend/2 take/2 calm/2"},
                   {"3/0/2/700/1000", "op/2/2/0/8 resend/2 take/2 op/0/0/5/9 take/2 take/0 land/0 deliver/0/0/0 answer/0 step/7 calm/2"}}},
    {.rule = Rule::suppress_held, .name = "suppress_held"},
    {.rule = Rule::barrier, .name = "barrier"},
    {.rule = Rule::registered,
     .name = "registered",
     .schedules = {{"",
                    "disc/3 up/0/1 up/1/1 up/2/1 hello/3/1 take/3 step/0 up/2/1 up/2/1 up/2/1 net/2/1 net/2/1 net/2/1 answer/1 "
                    "step/0 step/0 step/0 step/0 op/0/0/0/1 take/0 land/0 deliver/0/0/2 step/0 step/0"}}},
    {.rule = Rule::buffer, .name = "buffer"},
    {.rule = Rule::progress, .name = "progress"},
    {.rule = Rule::upto_parked,
     .name = "upto_parked",
     .schedules = {{"",
                    "op/0/4/0/6 take/0 land/0 tell/0 deliver/1/1/0 wait/1100 net/1/1 net/1/1 net/1/1 net/1/1 net/1/0 net/1/0 "
                    "net/1/0 net/1/0 commit/1/1/100 rcrash/1 rstart/1 open/1/0 open/1/1 own/0/1"}}},
    {.rule = Rule::reask,
     .name = "reask",
     .schedules = {{"1000/3/2/16777216/1000",
                    "op/0/0/5/6 take/0 land/0 tell/0 wait/3200 own/1/0 open/1/0 deliver/1/0/2 up/1/0 net/1/0 wait/1100 disown/0/0 "
                    "recv/0 ask/0/0 take/0 wait/9000"}}},
    {.rule = Rule::oc, .name = "oc"},
    {.rule = Rule::stay, .name = "stay", .schedules = {{"1000/0/2/700/1000", "op/0/0/2/2 op/3/0/0/8 rcrash/0 rstart/0 open/0/0 op/1/0/3/0 up/0/0"}}},
    {.rule = Rule::start_min, .name = "start_min", .detectable = false, .why = "availability only: without it loads wait for a persister that lags"},
    {.rule = Rule::o_ge_s, .name = "o_ge_s"},
    {.rule = Rule::floor,
     .name = "floor",
     .schedules = {{"1000/0/1/16777216/1000",
                    "op/0/1/0/1 take/0 land/0 tell/0 deliver/1/1/2 step/0 step/0 step/0 step/0 step/0 step/0 step/0 step/0 "
                    "pbegin/0/1/3 pcommit/0/1/1/0 step/0 step/0 step/0 step/0 step/0 step/0 step/0 step/0 op/0/4/0/1 take/0 land/0 "
                    "tell/0 deliver/1/1/2 step/0 step/0 step/0 step/0 step/0 step/0 step/0 step/0 rtick/1 pgdown pgup/1 op/0/1/0/2 "
                    "take/0 land/0 deliver/1/1/2 step/0 step/0 step/0 step/0 step/0 step/0 step/0 step/0"}}},
    {.rule = Rule::evict_known, .name = "evict_known"},
    {.rule = Rule::cas, .name = "cas"},
    {.rule = Rule::pending, .name = "pending", .schedules = {{"", "op/1/4/7/0 take/1 land/1 pbegin/1/1/3 pcommit/1/1/1/0 fire/4/0 fire/4/2"}}},
    {.rule = Rule::sched_id,
     .name = "sched_id",
     .schedules = {{"",
                    "op/2/0/7/0 take/2 gstall/0/1 disc/2 hello/2/1 take/2 step/0 up/2/1 up/2/1 up/2/1 net/2/1 net/2/1 net/2/1 "
                    "resend/2 take/2 answer/1 answer/1 step/0 step/0 step/0 step/0 step/0 land/1 op/2/0/8/0 pbegin/0/0/3 "
                    "pcommit/0/0/1/0 gstall/0/0 land/0 pbegin/0/0/3 pcommit/0/0/1/0 fire/0/0 fire/0/0"}}},
    {.rule = Rule::ack_after_log, .name = "ack_after_log"},
    {.rule = Rule::fold_stop, .name = "fold_stop"},
    {.rule = Rule::fold_known, .name = "fold_known"},
};

std::string_view name(Rule rule) {
  for (const Broken& one : kBroken) {
    if (one.rule == rule) return one.name;
  }
  return "nothing";
}

Rule rule_named(std::string_view wanted) {
  for (const Broken& one : kBroken) {
    if (one.name == wanted) return one.rule;
  }
  throw std::invalid_argument("no such rule: " + std::string(wanted));
}

}  // namespace parley::simulation
