// From a router's stream to the connections: answers to those who wait, events and markers to everyone else (R23, D15).
//
// A frame is made once, for the first who gets it, and shared by all its recipients. While a session resumes, everything waits in its buffer until
// caughtUp, answers too, so that the order of the stream is the order on the socket (R25).
// Owner's thread only. Bound: settings.buffered_frames_bytes a resuming session; overflow closes it slowConsumer.
#pragma once

#include "gateway/core/attempts.h"
#include "gateway/core/progress.h"

namespace parley::gateway {

class Deliver {
 public:
  Deliver(const Settings& settings, Sessions& sessions, Publisher& publisher, Attempts& attempts)
      : settings_(settings), sessions_(sessions), publisher_(publisher), attempts_(attempts) {}

  void on_delivery(const link::Delivery& delivery);
  void on_ephemeral(const link::Ephemeral& ephemeral);
  // What was buffered, in order; the session is live.
  void flush(Session& session, std::deque<Buffered> buffer);

 private:
  void to_session(Session& session, const link::Delivery* own, const OutgoingPtr& frame, bool recipient, std::size_t bytes);
  void pass_on(Session& session, const link::Delivery* own, const OutgoingPtr& frame, bool recipient);

  const Settings& settings_;
  Sessions& sessions_;
  Publisher& publisher_;
  Attempts& attempts_;
};

}  // namespace parley::gateway
