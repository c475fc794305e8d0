#include "router/home.h"

#include <algorithm>
#include <cmath>
#include <set>

namespace parley::router {

namespace {
constexpr std::uint64_t kSweepMs = 10'000;
}

void Home::on_request(Slot slot, const link::HomeRequest& request, chat::TimeMs wall, chat::TimeMs steady) {
  auto id = chat::UserId::from_bytes(request.user());
  if (!id) return;
  auto [it, fresh] = users_.try_emplace(*id);
  User& user = it->second;
  if (fresh) {
    user.tokens = settings_.send_burst;
    user.filled = steady;
  }
  switch (request.what_case()) {
    case link::HomeRequest::kDeviceOpen:
      open(slot, *id, user, request.device_open(), steady);
      break;
    case link::HomeRequest::kDeviceClose:
      close(*id, user, slot, request.device_close(), wall, steady);
      break;
    case link::HomeRequest::kLease:
      lease(slot, *id, user, request.lease().tokens(), steady);
      break;
    case link::HomeRequest::kPresenceWatch:
      watch(slot, *id, user, request.presence_watch());
      break;
    case link::HomeRequest::WHAT_NOT_SET:
      break;
  }
}

void Home::open(Slot slot, const chat::UserId& id, User& user, const link::DeviceOpen& request, chat::TimeMs steady) {
  auto opened = [&] {
    auto& r = *reply(slot, id).mutable_device_opened();
    r.set_connection(request.connection());
    // A quarter of the burst, so that a second device on another gateway finds some too.
    r.set_tokens(draw(user, std::max(settings_.send_burst / 4, 1u), steady));
  };
  auto same = std::ranges::find(user.devices, request.device(), &Device::device);
  if (same != user.devices.end()) {
    if (same->slot == slot && same->connection == request.connection()) return opened();
    if (request.opened_ms() < same->opened_ms) {  // told late, after a change of home: the newer one is here already
      reply(slot, id).mutable_superseded()->set_connection(request.connection());
      return;
    }
    reply(same->slot, id).mutable_superseded()->set_connection(same->connection);
    user.devices.erase(same);
  } else if (!request.moved() && settings_.devices > 0 && user.devices.size() >= settings_.devices) {  // one entry per distinct device
    reply(slot, id).mutable_device_refused()->set_connection(request.connection());
    return;
  }
  user.devices.push_back({slot, request.connection(), request.device(), request.platform(), request.opened_ms()});
  opened();
  leaving_.erase(id);
  user.shown_online = true;
  tell(id, user, user.watchers);
}

void Home::close(const chat::UserId& id, User& user, Slot slot, const link::DeviceClose& request, chat::TimeMs wall, chat::TimeMs steady) {
  if (std::erase_if(user.devices, [&](const Device& d) { return d.slot == slot && d.connection == request.connection(); }) == 0) return;
  devices_changed(id, user, wall, steady);
}

void Home::devices_changed(const chat::UserId& id, User& user, chat::TimeMs wall, chat::TimeMs steady) {
  user.last_seen_ms = wall.value;
  if (user.devices.empty())
    leaving_.try_emplace(id, chat::TimeMs{steady.value + kOfflineDelayMs});
  else
    tell(id, user, user.watchers);
}

void Home::on_closed(Slot slot, chat::TimeMs wall, chat::TimeMs steady) {
  for (auto& [id, user] : users_) {
    std::erase_if(user.watchers, [slot](const Watcher& w) { return w.slot == slot; });
    if (std::erase_if(user.devices, [slot](const Device& d) { return d.slot == slot; }) > 0) devices_changed(id, user, wall, steady);
  }
}

void Home::watch(Slot slot, const chat::UserId& id, User& user, const link::PresenceWatch& request) {
  auto by = chat::UserId::from_bytes(request.watcher());
  if (!by) return;
  Watcher watcher{slot, *by};
  auto it = std::ranges::find(user.watchers, watcher);
  if (request.off()) {
    if (it != user.watchers.end()) user.watchers.erase(it);
    return;
  }
  if (it == user.watchers.end()) user.watchers.push_back(watcher);
  tell(id, user, {watcher});
}

// One reply per stream, naming its watchers.
void Home::tell(const chat::UserId& id, const User& user, const std::vector<Watcher>& watchers) {
  std::vector<std::pair<Slot, link::PresenceChanged*>> told;
  for (const Watcher& watcher : watchers) {
    auto it = std::ranges::find(told, watcher.slot, &std::pair<Slot, link::PresenceChanged*>::first);
    if (it == told.end()) {
      auto* changed = reply(watcher.slot, id).mutable_presence_changed();
      changed->set_online(user.shown_online);
      std::set<std::string_view> platforms;
      for (const Device& device : user.devices) platforms.insert(device.platform);
      for (std::string_view platform : platforms) changed->add_platforms(platform.data(), platform.size());
      if (!user.shown_online) changed->set_last_seen_ms(user.last_seen_ms);
      it = told.insert(told.end(), {watcher.slot, changed});
    }
    it->second->mutable_watchers()->append(watcher.user.view());
  }
}

void Home::fill(User& user, chat::TimeMs steady) const {
  double gained = static_cast<double>(steady.value - user.filled.value) * settings_.sends_per_second / 1000.0;
  user.tokens = std::min<double>(settings_.send_burst, user.tokens + gained);
  user.filled = steady;
}

std::uint32_t Home::draw(User& user, std::uint32_t wanted, chat::TimeMs steady) const {
  if (settings_.sends_per_second == 0) return kUnlimited;
  fill(user, steady);
  auto granted = std::min<std::uint32_t>(wanted, static_cast<std::uint32_t>(user.tokens));
  user.tokens -= granted;
  return granted;
}

void Home::lease(Slot slot, const chat::UserId& id, User& user, std::uint32_t wanted, chat::TimeMs steady) {
  std::uint32_t granted = draw(user, std::max(wanted, 1u), steady);
  auto& leased = *reply(slot, id).mutable_leased();
  leased.set_tokens(granted);
  if (granted == 0) leased.set_retry_after_ms(static_cast<std::uint32_t>(std::ceil((1.0 - user.tokens) * 1000.0 / settings_.sends_per_second)));
}

bool Home::idle(User& user, chat::TimeMs steady) const {
  if (!user.devices.empty() || !user.watchers.empty() || user.shown_online) return false;
  fill(user, steady);
  return settings_.sends_per_second == 0 || user.tokens >= settings_.send_burst;
}

void Home::on_tick(chat::TimeMs steady) {
  for (auto it = leaving_.begin(); it != leaving_.end();) {
    if (steady < it->second) {
      ++it;
      continue;
    }
    User& user = users_.at(it->first);
    user.shown_online = false;
    tell(it->first, user, user.watchers);
    it = leaving_.erase(it);
  }
  if (steady.value < swept_.value + kSweepMs) return;
  swept_ = steady;
  for (auto it = users_.begin(); it != users_.end();) it = idle(it->second, steady) ? users_.erase(it) : std::next(it);
}

link::HomeReply& Home::reply(Slot slot, const chat::UserId& user) {
  link::HomeReply& r = fanout_.reply(slot);
  r.set_user(user.bytes.data(), user.bytes.size());
  return r;
}

}  // namespace parley::router
