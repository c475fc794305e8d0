// R17: where a router that takes over a partition begins.
#pragma once

#include <algorithm>
#include <optional>

#include "chat/ids.h"
#include "chat/rules.h"

namespace parley::router {

inline constexpr const char* kRouterGroup = "parley-router";
inline constexpr const char* kPersisterGroup = "parley-persister";

struct Takeover {
  chat::Offset start;         // S: fold from here
  chat::Offset deliver_from;  // deliver and answer from here
  bool operator==(const Takeover&) const = default;
};

// `own`, `persister`: offsets committed by the groups, absent where nothing was ever committed; `begin`, `end`: what the log holds. A commit
// beyond the end (the log lost its tail) must not hide what is appended from now on; whether PostgreSQL is ahead of the log is for the persister
// to say (R13). Folding from the lower one means that loads need not wait for a persister that lags.
inline Takeover takeover(std::optional<chat::Offset> own, std::optional<chat::Offset> persister, chat::Offset begin, chat::Offset end) {
  if (own) own = std::min(*own, end);
  if (persister) persister = std::min(*persister, end);
  // Nobody ever delivered here: what is persisted is found by resuming (R21), the rest is told.
  chat::Offset deliver_from = std::max(own.value_or(persister.value_or(begin)), begin);
  chat::Offset start = chat::on(chat::Rule::start_min) ? std::min(deliver_from, std::max(persister.value_or(begin), begin)) : deliver_from;
  return {start, deliver_from};
}

}  // namespace parley::router
