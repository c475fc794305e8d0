// The router without its sockets: log entries, stream messages, loads and time in; stream messages, loads, commits out.
//
// One Core per router process, on one thread. It folds the partitions it owns, delivers outcomes to the gateways that have
// the members registered, and keeps what needs one place per user (the home). It is rebuilt from the log and PostgreSQL.
//
//   entries -> intake (position, parking) -> conversations (cold load, fold, evict) -> fanout (grouped per gateway) -> stream
//   stream Up -> registry (who is where), home (devices, presence, leases)
//   tick -> progress (from, upto) to the gateways, commits a second later (R20)
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "chat/ids.h"
#include "chat/limits.h"
#include "eventlog/log.h"
#include "parley/link/v1/link.pb.h"
#include "runtime/clock.h"
#include "store/store.h"

namespace parley::router {

namespace link = parley::link::v1;

using chat::Offset;
using chat::Partition;
using StreamId = chat::Number<struct StreamTag, std::uint64_t>;  // the shell's, never reused

struct Settings {
  // Beyond either: evict the longest unused whose records are persisted (R19).
  std::uint32_t cached_conversations = 1'000'000;
  std::uint64_t cache_bytes = 512u << 20;
  std::uint32_t parked_bytes = 16 << 20;  // per partition (R18)
  std::uint32_t intake_wait_ms = 3'000;   // R20: a fresh router waits this long for known gateways
  std::uint32_t sends_per_second = 20, send_burst = 40, devices = 16;
};

// The shell's side: ordered streams to gateways; `send` batches naturally, `break_stream` ends one (R16).
class Streams {
 public:
  virtual ~Streams() = default;
  virtual void send(StreamId stream, link::Down message) = 0;
  virtual void break_stream(StreamId stream) = 0;
};

struct Ports {
  const runtime::Clock& clock;
  eventlog::Consumer& consumer;  // manual mode; its events go to Core::on_entries / on_out_of_range
  store::Reader& reader;
  Streams& streams;
};

class Core {
 public:
  Core(Settings settings, Ports ports, eventlog::Topic topic);
  ~Core();

  // ---- ownership: decided by the shell from the ring ----
  // R17: folds from `start`, delivers from `deliver_from` (this group's committed offset) on.
  void own(Partition partition, Offset start, Offset deliver_from);
  void disown(Partition partition);

  // ---- streams ----
  void on_stream(StreamId stream, const link::Attach& attach);
  void on_up(StreamId stream, const link::Up& message);
  void on_stream_closed(StreamId stream);

  // ---- the log ----
  void on_entries(Partition partition, std::span<const eventlog::Entry> entries, Offset end);

  // R17, R19: the known position of the persister, from PostgreSQL's NOTIFY or a read.
  void on_position(Partition partition, Offset position);

  void on_tick();

  // Partitions that stopped because of a newer fold version (R6); alarms.
  std::vector<Partition> stopped() const;

  // R19: partitions given up because PostgreSQL went back below what was evicted; the shell takes them over anew (R17).
  std::vector<Partition> take_dropped();

  struct Stats {
    std::size_t streams = 0, users = 0, registrations = 0, conversations = 0, parked = 0, parked_bytes = 0, partitions = 0, loads_waiting = 0;
    std::uint64_t cached_bytes = 0;
    std::uint64_t records = 0, malformed = 0, deliveries = 0, evictions = 0, loads = 0, loads_refused = 0, loads_failed = 0, parked_dropped = 0;
    std::uint64_t behind = 0;  // records taken whose outcome is not sent yet (next offset - upto), over all partitions
  };
  Stats stats() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace parley::router
