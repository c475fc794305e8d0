#include "gateway/core/routers.h"

#include <algorithm>

namespace parley::gateway {
namespace {

constexpr std::size_t kRegistrationsPerMessage = 4'096;

}  // namespace

std::vector<RouterId> Routers::members(std::vector<std::string> names) {
  std::vector<RouterId> over;
  for (std::uint32_t i = 0; i < routers_.size(); ++i)
    if (routers_[i].open && (i >= names.size() || names[i] != routers_[i].name)) {
      over.push_back({i});
      routers_[i] = {};
    }
  routers_.resize(names.size());
  for (std::size_t i = 0; i < names.size(); ++i) routers_[i].name = std::move(names[i]);
  rebuild_ring();
  return over;
}

void Routers::opened(RouterId router, link::Attach attach, const std::vector<chat::UserId>& users) {
  if (router.value >= routers_.size()) routers_.resize(router.value + 1);
  Router& r = routers_[router.value];
  r.open = true;
  r.confirmed = 0;
  r.heard = clock_.steady();
  rebuild_ring();
  link::Up up;
  *up.mutable_attach() = std::move(attach);
  for (const chat::UserId& user : users) {
    up.add_registrations()->set_user(std::string(user.view()));
    if (static_cast<std::size_t>(up.registrations_size()) == kRegistrationsPerMessage) {
      links_.send(router, std::move(up));
      up = link::Up();
    }
  }
  up.set_confirm(epoch_);
  links_.send(router, std::move(up));
}

void Routers::closed(RouterId router) {
  if (!is_open(router)) return;
  routers_[router.value].open = false;
  rebuild_ring();
}

void Routers::heard(RouterId router) {
  if (is_open(router)) routers_[router.value].heard = clock_.steady();
}

void Routers::confirmed(RouterId router, std::uint64_t epoch) {
  if (is_open(router)) routers_[router.value].confirmed = std::max(routers_[router.value].confirmed, epoch);
}

std::uint64_t Routers::register_user(const chat::UserId& user) {
  ++epoch_;
  for (std::uint32_t i = 0; i < routers_.size(); ++i) {
    if (!routers_[i].open) continue;
    link::Up up;
    up.add_registrations()->set_user(std::string(user.view()));
    up.set_confirm(epoch_);
    links_.send({i}, std::move(up));
  }
  return epoch_;
}

void Routers::unregister_user(const chat::UserId& user) {
  for (std::uint32_t i = 0; i < routers_.size(); ++i) {
    if (!routers_[i].open) continue;
    link::Up up;
    auto& registration = *up.add_registrations();
    registration.set_user(std::string(user.view()));
    registration.set_gone(true);
    links_.send({i}, std::move(up));
  }
}

bool Routers::confirmed(std::uint64_t epoch) const {
  return std::ranges::all_of(routers_, [&](const Router& r) { return !r.open || r.confirmed >= epoch; });
}

void Routers::rebuild_ring() {
  std::vector<std::string> names;
  for (const Router& r : routers_)
    if (r.open) names.push_back(r.name);
  open_ = names.size();
  ring_ = runtime::Ring(std::move(names));
}

std::optional<RouterId> Routers::home(const chat::UserId& user) const {
  if (ring_.empty()) return std::nullopt;
  const std::string& name = ring_.home(user);
  for (std::uint32_t i = 0; i < routers_.size(); ++i)
    if (routers_[i].open && routers_[i].name == name) return RouterId{i};
  return std::nullopt;
}

void Routers::to_home(RouterId router, link::HomeRequest request) {
  if (!is_open(router)) return;
  link::Up up;
  *up.add_home() = std::move(request);
  links_.send(router, std::move(up));
}

std::vector<RouterId> Routers::tick() {
  std::vector<RouterId> broken;
  chat::TimeMs now = clock_.steady();
  if (now < beat_at_) return broken;
  beat_at_ = {now.value + kBeatMs};
  for (std::uint32_t i = 0; i < routers_.size(); ++i) {
    Router& r = routers_[i];
    if (!r.open) continue;
    if (now.value - r.heard.value > kSilentMs) {
      links_.break_stream({i});
      broken.push_back({i});
      continue;
    }
    link::Up beat;
    beat.set_confirm(epoch_);
    links_.send({i}, std::move(beat));
  }
  return broken;
}

}  // namespace parley::gateway
