// Outcomes out: grouped per gateway, batched per stream (R16).
//
// One record's outcome becomes at most one Delivery per gateway: the recipients registered there, and, for the gateway that
// waits for it, the answer in the same message, so that acks and events of a conversation arrive in seq order. What gathers
// while one batch of input is worked off goes out as one Down per stream, followed by how far everything is sent (R20).
// Pure; the Core's thread. Bound: a Down is handed over once it holds kDownBytes; the shell bounds what waits behind a slow
// gateway and breaks the stream (R16).
#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "chat/record.h"
#include "parley/link/v1/link.pb.h"
#include "router/conversations.h"
#include "router/core.h"
#include "router/registry.h"

namespace parley::router {

// What one record did; the record itself may be gone (R18).
struct Outward {
  Partition partition;
  Offset offset;
  chat::ConversationId conversation;
  const chat::Record* record = nullptr;
  std::string_view traceparent;
};

struct Upto {
  Partition partition;
  Offset offset;
};

class Fanout {
 public:
  explicit Fanout(Streams& streams) : streams_(streams) {}

  Registry& registry() { return registry_; }
  const Registry& registry() const { return registry_; }

  // A gateway has one stream: an older one of the same instance must have been closed.
  void open(StreamId stream, std::uint64_t gateway);
  void close(StreamId stream);
  std::optional<Slot> slot(StreamId stream) const;
  std::optional<Slot> of_gateway(std::uint64_t gateway) const;
  StreamId stream(Slot slot) const { return outlets_[slot].stream; }
  std::size_t open_streams() const { return by_stream_.size(); }

  // Registered: told `from` and `upto` from now on.
  bool registered(Slot slot) const { return outlets_[slot].registered; }
  void set_registered(Slot slot) { outlets_[slot].registered = true; }
  std::size_t registered_streams() const;

  void deliver(const Outward& what, const Outcome& outcome);
  // R1: the answer to a record that could not be folded, if its sender can be told.
  void reject(const Outward& what, const chat::Origin& origin, const chat::RequestId& id, bool id_is_op, chat::Code code);
  void ephemeral(const link::Ephemeral& message);

  void from(Slot slot, Partition partition, Offset offset);  // R20
  void from_all(Partition partition, Offset offset);
  void confirm(Slot slot, std::uint64_t number);
  link::HomeReply& reply(Slot slot);

  // Hands over what gathered, with `upto` where it moved; on request also where nothing gathered, or nothing moved either.
  enum class Flush : std::uint8_t { gathered, moved, all };
  void flush(std::span<const Upto> positions, Flush which);

  std::uint64_t deliveries() const { return deliveries_; }

 private:
  static constexpr std::size_t kDownBytes = 256 * 1024;

  struct Outlet {
    StreamId stream;  // 0: closed, the slot is free
    std::uint64_t gateway = 0;
    bool registered = false;
    link::Down down;
    std::size_t bytes = 0;      // of what gathered in `down`, roughly
    std::uint64_t outcome = 0;  // the last one that got a Delivery here
    link::Delivery* delivery = nullptr;
    std::unordered_map<Partition, Offset> upto;  // as last told
  };

  link::Delivery& delivery(Slot slot, const Outward& what, const Outcome& outcome);
  void hand_over(Outlet& outlet);
  void gathered(Outlet& outlet, std::size_t bytes) { outlet.bytes += bytes; }

  Streams& streams_;
  Registry registry_;
  std::vector<Outlet> outlets_;
  std::unordered_map<StreamId, Slot> by_stream_;
  std::unordered_map<std::uint64_t, Slot> by_gateway_;
  std::uint64_t outcome_ = 0, deliveries_ = 0;
};

}  // namespace parley::router
