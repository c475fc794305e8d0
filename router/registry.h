// R16: which streams have a user registered. Every gateway registers all its users on every router, so this is the one
// table here that grows with the number of users online: 20 bytes an entry, one entry per user and stream, in one flat
// open-addressed table that is between a third and two thirds full.
//
// Pure; the Core's thread. Bound: what the gateways have connected (their own connection limit).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "chat/ids.h"

namespace parley::router {

using Slot = std::uint32_t;  // index of an open stream in Fanout; reused after it closed

class Registry {
 public:
  Registry();

  // Both tell whether anything changed.
  bool add(const chat::UserId& user, Slot slot);
  bool remove(const chat::UserId& user, Slot slot);
  // The stream is gone. Walks the whole table: about 5 ns an entry, once per broken stream.
  void remove_slot(Slot slot);

  // Calls visit(slot) for every stream that has this user.
  template <class Visit>
  void each(const chat::UserId& user, Visit&& visit) const {
    for (std::size_t i = start(user); entries_[i].slot != kFree; i = (i + 1) & mask())
      if (entries_[i].user == user) visit(entries_[i].slot);
  }

  std::size_t size() const { return size_; }

 private:
  static constexpr Slot kFree = ~Slot{0};
  struct Entry {
    chat::UserId user;
    Slot slot = kFree;
  };

  std::size_t mask() const { return entries_.size() - 1; }
  std::size_t start(const chat::UserId& user) const;
  void insert(const Entry& entry);
  void erase(std::size_t at);
  void rebuild(std::size_t capacity, Slot without);

  std::vector<Entry> entries_;  // a power of two
  std::size_t size_ = 0;
};

}  // namespace parley::router
