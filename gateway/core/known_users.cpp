#include "gateway/core/known_users.h"

#include <algorithm>

namespace parley::gateway {

void KnownUsers::add(const chat::UserId& user) {
  if (!known_.insert(user).second) return;
  oldest_.push_back(user);
  if (oldest_.size() > kKnown) {
    known_.erase(oldest_.front());
    oldest_.pop_front();
  }
}

bool KnownUsers::know_all(const std::vector<chat::UserId>& users) const {
  return std::ranges::all_of(users, [&](const chat::UserId& user) { return known_.contains(user); });
}

void KnownUsers::check(const std::vector<chat::UserId>& users, std::move_only_function<void(std::expected<bool, Unavailable>)> done) {
  std::vector<chat::UserId> unknown;
  for (const chat::UserId& user : users)
    if (!known_.contains(user)) unknown.push_back(user);
  if (unknown.empty()) return done(true);
  accounts_.users(unknown, [this, alive = std::weak_ptr(alive_), unknown, done = std::move(done)](store::Result<std::vector<store::User>> found) mutable {
    if (alive.expired()) return;
    if (!found) return done(std::unexpected(Unavailable{}));
    for (const store::User& user : *found) add(user.id);
    done(know_all(unknown));
  });
}

}  // namespace parley::gateway
