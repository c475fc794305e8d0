// What needs one place per user (R16): which devices are connected where, superseding, the device limit, the send rate that
// gateways lease, and presence. The ring gives every user one home; gateways send these requests to that router alone and
// repeat them (`moved`) when the ring gives the user another one. Nothing here is durable, nothing here is about messages.
//
// Pure; the Core's thread. Bounds: devices per user; entries of users without devices, watchers or a used bucket are dropped.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "parley/link/v1/link.pb.h"
#include "router/core.h"
#include "router/fanout.h"

namespace parley::router {

class Home {
 public:
  // Offline is told this long after the last device went, so that a stream or socket that reopens shows nothing (D43: 2 s).
  static constexpr std::uint64_t kOfflineDelayMs = 1'000;
  static constexpr std::uint32_t kUnlimited = 1u << 30;  // leased where no rate is set

  Home(const Settings& settings, Fanout& fanout) : settings_(settings), fanout_(fanout) {}

  void on_request(Slot slot, const link::HomeRequest& request, chat::TimeMs wall, chat::TimeMs steady);
  void on_closed(Slot slot, chat::TimeMs wall, chat::TimeMs steady);
  void on_tick(chat::TimeMs steady);

  std::size_t users() const { return users_.size(); }

 private:
  struct Device {
    Slot slot;
    std::uint64_t connection;
    std::string device, platform;
    std::uint64_t opened_ms;
  };
  struct Watcher {
    Slot slot;
    chat::UserId user;
    bool operator==(const Watcher&) const = default;
  };
  struct User {
    std::vector<Device> devices;
    std::vector<Watcher> watchers;
    double tokens = 0;
    chat::TimeMs filled;             // when `tokens` was right
    std::uint64_t last_seen_ms = 0;  // wall time; 0: not since this home began
    bool shown_online = false;
  };

  void open(Slot slot, const chat::UserId& id, User& user, const link::DeviceOpen& request, chat::TimeMs steady);
  void close(const chat::UserId& id, User& user, Slot slot, const link::DeviceClose& request, chat::TimeMs wall, chat::TimeMs steady);
  void lease(Slot slot, const chat::UserId& id, User& user, std::uint32_t wanted, chat::TimeMs steady);
  void watch(Slot slot, const chat::UserId& id, User& user, const link::PresenceWatch& request);
  void devices_changed(const chat::UserId& id, User& user, chat::TimeMs wall, chat::TimeMs steady);
  void tell(const chat::UserId& id, const User& user, const std::vector<Watcher>& watchers);

  void fill(User& user, chat::TimeMs steady) const;
  std::uint32_t draw(User& user, std::uint32_t wanted, chat::TimeMs steady) const;
  bool idle(User& user, chat::TimeMs steady) const;
  link::HomeReply& reply(Slot slot, const chat::UserId& user);

  const Settings& settings_;
  Fanout& fanout_;
  std::unordered_map<chat::UserId, User> users_;
  std::unordered_map<chat::UserId, chat::TimeMs> leaving_;  // shown online without a device: told offline then
  chat::TimeMs swept_;
};

}  // namespace parley::router
