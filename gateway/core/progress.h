// R21: what this gateway has surely seen of every partition, and where something may be missing.
//
// Every router tells, per partition it owns, `from` (its stream is complete from here) and `upto` (everything below was
// sent). Streams are joined: progress moves to `upto` of any stream whose `from` it has reached. A `from` above the progress
// that no other stream cures within a second is a gap: the sessions must resume, and the progress jumps there.
// Owner's thread only. Bound: partitions x routers.
#pragma once

#include <cstdint>
#include <vector>

#include "chat/ids.h"

namespace parley::gateway {

class Progress {
 public:
  static constexpr std::uint64_t kCureMs = 1'000;
  static constexpr std::uint64_t kSilentMs = 3'000;

  // `at`: the end offsets when the gateway started.
  Progress(std::vector<chat::Offset> at, chat::TimeMs now);

  void on_from(std::uint32_t router, chat::Partition partition, chat::Offset from, chat::TimeMs now);
  void on_upto(std::uint32_t router, chat::Partition partition, chat::Offset upto, chat::TimeMs now);
  void on_closed(std::uint32_t router);
  // After a batch of the above: joins the streams.
  void advance();

  // True where a gap was not cured in time: everyone must be asked to resume. Moves the progress behind it.
  bool gaps(chat::TimeMs now);

  const std::vector<chat::Offset>& at() const { return at_; }
  // Partitions without `upto` for 3 s: an alarm.
  std::size_t silent(chat::TimeMs now) const;

 private:
  struct Stream {
    bool open = false;  // a `from` was told
    chat::Offset from, upto;
    chat::TimeMs ahead_since;  // when `from` was first seen above the progress; 0: it is not
  };
  Stream& stream(std::uint32_t router, chat::Partition partition);

  std::vector<chat::Offset> at_;
  std::vector<chat::TimeMs> heard_;           // per partition
  std::vector<std::vector<Stream>> streams_;  // [router][partition]
  bool ahead_ = false;                        // some stream may be ahead: gaps() need not look otherwise
};

}  // namespace parley::gateway
