// R20: what a router commits for a partition: once a second, what its `upto` was a second earlier, so that what was committed
// has had a second to reach the gateways. Nothing but the amount repeated after a crash depends on it.
#pragma once

#include <optional>

#include "chat/ids.h"

namespace parley::router {

class Progress {
 public:
  static constexpr std::uint64_t kPeriodMs = 1'000;

  // `at_least`: where this owner's delivery began; committing less would only make others repeat more.
  Progress(chat::Offset at_least, chat::TimeMs now) : older_(at_least), committed_(at_least), taken_(now) {}

  // Called on every tick; tells what is to be committed now, if anything.
  std::optional<chat::Offset> due(chat::Offset upto, chat::TimeMs now) {
    if (now.value < taken_.value + kPeriodMs) return std::nullopt;
    taken_ = now;
    chat::Offset commit = older_;
    older_ = upto;
    if (commit <= committed_) return std::nullopt;
    committed_ = commit;
    return commit;
  }

 private:
  chat::Offset older_, committed_;
  chat::TimeMs taken_;
};

}  // namespace parley::router
