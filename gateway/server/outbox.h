// What one connection still has to be sent, bounded in bytes.
//
// Frames are shared between connections and never copied; the socket takes them with gather writes. Over the bound the
// ephemeral ones go first (typing, presence), then the connection is a slow consumer and must be closed: an event is never
// left out on a live socket. Exists only while something is queued: an idle connection has none.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include <sys/uio.h>

#include "gateway/core/core.h"

namespace parley::gateway {

class Outbox {
 public:
  // `wire` lies in `frame`. False: over `max_bytes` even without what could be shed; the frame was not taken.
  bool push(OutgoingPtr frame, std::string_view wire, std::size_t max_bytes);

  bool empty() const { return head_ == items_.size(); }
  std::size_t bytes() const { return bytes_; }
  std::size_t shed() const { return shed_; }
  bool small() const { return items_.capacity() <= 256; }

  // The next bytes to write, in order; at most `out.size()` pieces.
  std::size_t gather(std::span<iovec> out) const;
  // The first piece alone; it is not shed from now on (OpenSSL wants the same bytes again when a write must be repeated).
  std::string_view front();
  void written(std::size_t bytes);
  void clear();

 private:
  struct Item {
    OutgoingPtr frame;
    std::string_view wire;
  };
  void shed_ephemeral();

  std::vector<Item> items_;
  std::size_t head_ = 0;    // first one not wholly written
  std::size_t offset_ = 0;  // written bytes of that
  std::size_t bytes_ = 0;
  std::size_t shed_ = 0;
  bool head_pinned_ = false;
};

}  // namespace parley::gateway
