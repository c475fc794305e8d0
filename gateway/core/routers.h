// The streams to the routers: who is open, what they confirmed (R25), and which one is the home of a user (R15, R16).
//
// Registrations are numbered by epochs: everything registered so far is at a router once it confirmed the present epoch. The
// epoch is also sent once a second, so that a stream which is idle still shows life both ways; one that is silent for 3 s
// is broken. The home is asked on the ring of those routers whose stream is open, which skips the ones that cannot be reached.
// Owner's thread only. Bound: the member list.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "gateway/core/core.h"
#include "runtime/ring.h"

namespace parley::gateway {

class Routers {
 public:
  static constexpr std::uint64_t kSilentMs = 3'000;
  static constexpr std::uint64_t kBeatMs = 1'000;

  Routers(Links& links, runtime::Clock& clock) : links_(links), clock_(clock) {}

  // RouterId indexes the list. Streams belong to an index: those of a router that is not there any more are over.
  std::vector<RouterId> members(std::vector<std::string> names);
  // `attach` goes first, then every user in batches, then the epoch.
  void opened(RouterId router, link::Attach attach, const std::vector<chat::UserId>& users);
  void closed(RouterId router);
  void heard(RouterId router);
  void confirmed(RouterId router, std::uint64_t epoch);

  bool is_open(RouterId router) const { return router.value < routers_.size() && routers_[router.value].open; }
  std::size_t open() const { return open_; }

  // Tells every router about a user; the epoch that confirms it.
  std::uint64_t register_user(const chat::UserId& user);
  void unregister_user(const chat::UserId& user);
  std::uint64_t epoch() const { return epoch_; }
  // Whether every router with an open stream has confirmed it.
  bool confirmed(std::uint64_t epoch) const;

  std::optional<RouterId> home(const chat::UserId& user) const;
  void to_home(RouterId router, link::HomeRequest request);

  // Beats, and breaks what is silent; the routers that were broken.
  std::vector<RouterId> tick();

 private:
  struct Router {
    std::string name;
    bool open = false;
    std::uint64_t confirmed = 0;
    chat::TimeMs heard{};
  };
  void rebuild_ring();

  Links& links_;
  runtime::Clock& clock_;
  std::vector<Router> routers_;
  std::size_t open_ = 0;
  std::uint64_t epoch_ = 1;
  chat::TimeMs beat_at_{};
  runtime::Ring ring_;  // of those open
};

}  // namespace parley::gateway
