// A batch's stay changes as set-based statements that give the same rows as the changes one after the other. Pure.
#pragma once

#include <optional>
#include <vector>

#include "store/store.h"

namespace parley::store::postgres {

// In this order: `ends_before`, `opens`, `ends_after` change rows that were there before the batch, then `begins` are new rows.
struct StayPlan {
  struct End {
    ConversationId conversation;
    UserId user;
    Seq to;
  };
  struct Begin {
    ConversationId conversation;
    UserId user;
    Seq joined, from;
    std::optional<Seq> to;
  };
  std::vector<End> ends_before;       // ended before the past was opened (if it was)
  std::vector<ConversationId> opens;  // the open stays of these then begin at 1
  std::vector<End> ends_after;
  std::vector<Begin> begins;
};

StayPlan plan_stays(const std::vector<ConversationWrite>& writes);

}  // namespace parley::store::postgres
