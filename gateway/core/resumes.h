// R25: bringing a device up to date, after `hello` and whenever server or client ask for it on a live socket.
//
//   every router with an open stream has confirmed the registration -> barrier over all partitions -> one snapshot: marks,
//   missing events (paced, D32), changed conversations -> caughtUp with the barrier as syncToken -> the buffered live frames
//
// No snapshot in time: resync{storeUnavailable}, caughtUp with the old token, live; those sessions are remembered and asked
// again as soon as the store answers. Sessions are also asked where the streams had a gap (R21); who does not follow is closed.
// Owner's thread only. Bound: resume_events a resume, 200 unacknowledged, the buffer of Deliver; asking is paced.
#pragma once

#include <deque>
#include <string_view>
#include <vector>

#include "gateway/core/deliver.h"
#include "gateway/core/routers.h"

namespace parley::gateway {

class Resumes {
 public:
  static constexpr std::uint64_t kPatienceMs = 30'000;  // D32, D66
  static constexpr std::uint64_t kProbeMs = 500;
  static constexpr std::uint32_t kResumesPerSecond = 2'000;  // asked for at once, per shard

  Resumes(const Settings& settings, Ports& ports, const eventlog::Topic& topic, Sessions& sessions, Routers& routers, BarrierReads& reads, Deliver& deliver);

  // `epoch`: of the registration that has to be confirmed.
  void begin(Session& session, std::vector<store::Cursor> cursors, std::string token, std::uint32_t req_id, std::uint64_t epoch);
  // Streams confirmed or closed.
  void on_confirmed();
  // An `ack` of the client: opens the replay window.
  void on_ack(Session& session, const std::vector<store::Cursor>& cursors);
  // R21: everyone whose barrier may have been asked too early.
  void ask_everyone(std::string_view reason);
  void on_tick();

  // When this session is overdue with its `resume` or its `ack`; 0: it is not waited for.
  static chat::TimeMs deadline(const Session& session);
  // The close for it.
  static chat::Close overdue(const Session& session);

  std::size_t behind() const { return behind_.size(); }

 private:
  struct Waiting {
    ConnectionId connection;
    std::uint64_t number, epoch;
  };

  std::move_only_function<Session*()> mine(Session& session);
  void read(Session& session);
  void finish(Session& session, std::expected<BarrierReads::Fresh<store::ResumeResult>, Unavailable> result);
  void resync(Session& session, std::string reason);
  void replay(Session& session);
  void caught_up(Session& session);
  void ask(Session& session, std::string_view reason, std::uint32_t window_ms);
  std::uint32_t window(std::size_t sessions) const;
  void probe();

  const Settings& settings_;
  Ports& ports_;
  const eventlog::Topic& topic_;
  Sessions& sessions_;
  Routers& routers_;
  BarrierReads& reads_;
  Deliver& deliver_;
  std::uint64_t numbers_ = 0;
  std::deque<Waiting> waiting_;       // for confirmations, by epoch
  std::vector<ConnectionId> behind_;  // R25: to be asked again
  bool probing_ = false;
  chat::TimeMs probe_at_{};
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace parley::gateway
