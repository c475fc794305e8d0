// The client's one rule (protocol.md "Rules"): seq <= last: drop; seq == last + 1: take; seq > last + 1: ask for what is missing.
//
// What a device holds of each conversation. Pure; bounded by `kMax`, the server's limit on cursors: the ones longest without news go first.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace parley::cli {

class Cursors {
 public:
  static constexpr std::size_t kMax = 1'000;

  struct Cursor {
    std::string conversation;
    std::uint64_t seq;
  };
  enum class Take : std::uint8_t { drop, take, ask };

  // What to do with this event; the cursor is not moved.
  Take look(const std::string& conversation, std::uint64_t seq) const;
  // Everything up to `seq` is here.
  void hold(const std::string& conversation, std::uint64_t seq);
  // 0: nothing.
  std::uint64_t held(const std::string& conversation) const;
  bool knows(const std::string& conversation) const;
  void clear() { cursors_.clear(); }

  const std::vector<Cursor>& all() const { return cursors_; }  // newest news last

 private:
  std::vector<Cursor>::const_iterator find(const std::string& conversation) const;
  std::vector<Cursor> cursors_;
};

}  // namespace parley::cli
