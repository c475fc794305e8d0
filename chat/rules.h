// The rules of the design that a test may switch off, to prove that breaking one turns a test red.
//
// In every ordinary build `on(...)` is the constant true and costs nothing. Only the simulation is compiled a second time
// with PARLEY_BREAKABLE_RULES, where `broken` names the rule left out. Names are those of the executable model.
#pragma once

#include <cstdint>

#include "chat/record.h"

namespace parley::chat {

enum class Rule : std::uint8_t {
  none,
  since,          // R8: a record whose id may have fallen out of the window is stale
  window,         // R8: every record with an id is checked, flagged or not
  since_mono,     // R9: a later send never carries a larger since
  in_order,       // R9: nothing is produced while an earlier unanswered send of the conversation waits for its look-up
  turn,           // R9: what the client sent before it knew of a temporary nack is nacked too
  attempts,       // R23: a nack answers only if no later attempt is in flight
  suppress_held,  // R23: an own event is suppressed only where the ack is really sent
  barrier,        // R14: fresh reads need position >= end offset asked after the request
  registered,     // R25: the barrier is asked after every reachable router confirmed the registration
  buffer,         // R25: live frames wait for caughtUp
  progress,       // R21: a gateway whose progress is not continued asks its sessions to resume
  upto_parked,    // R20: upto never passes a parked record
  reask,          // R25: sessions that could not be replayed are asked again when the store is back
  oc,             // R18: records below O_c are never folded
  stay,           // R18: a stored event goes to those whose stay contains it
  start_min,      // R17: fold from min(router commit, persister commit); availability only
  o_ge_s,         // R18: a snapshot below S is not usable
  floor,          // R19: nor one below the evict floor
  evict_known,    // R19: evict only what is persisted
  cas,            // R11: position by compare-and-set
  pending,        // R10: a schedule fires only while it is pending
  sched_id,       // R10: a schedule consumes its id
  ack_after_log,  // P1: no ack before the record is in the log
  fold_stop,      // R6: a fold version that a process does not know stops the partition; without: skipped as if malformed
  fold_known,     // R6: nothing is folded by a process that does not know its version
};

#ifdef PARLEY_BREAKABLE_RULES
inline Rule broken = Rule::none;
inline bool on(Rule rule) { return rule != broken; }
inline std::uint32_t known_fold = kFoldVersion;  // of the simulated process that runs now: they may be of different releases
inline std::uint32_t newest_fold() { return known_fold; }
#else
constexpr bool on(Rule) { return true; }
constexpr std::uint32_t newest_fold() { return kFoldVersion; }
#endif

}  // namespace parley::chat
