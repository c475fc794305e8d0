// Whether users exist (D49), with a cache of those that do: an existing user never ceases to exist here, so it cannot be wrong.
//
// Owner's thread only. Bound: kKnown ids, the oldest is forgotten first and asked again.
#pragma once

#include <deque>
#include <expected>
#include <memory>
#include <unordered_set>
#include <vector>

#include "gateway/core/barrier_reads.h"
#include "store/accounts.h"

namespace parley::gateway {

class KnownUsers {
 public:
  static constexpr std::size_t kKnown = 65'536;

  explicit KnownUsers(store::Accounts& accounts) : accounts_(accounts) {}

  void add(const chat::UserId& user);
  bool know_all(const std::vector<chat::UserId>& users) const;
  // Whether all of them exist.
  void check(const std::vector<chat::UserId>& users, std::move_only_function<void(std::expected<bool, Unavailable>)> done);

 private:
  store::Accounts& accounts_;
  std::unordered_set<chat::UserId> known_;
  std::deque<chat::UserId> oldest_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace parley::gateway
