// From an operation to an entry of the log: one numbered attempt (R23) with its own salt (R7), limits and fold version (R6).
//
// Also keeps `known`, the highest end offset this gateway knows of each partition: what a first transmission carries as
// `since` (R8). Owner's thread only. Bound: the producer's queue; full means nothing was produced.
#pragma once

#include <expected>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "gateway/core/core.h"

namespace parley::gateway {

class Publisher {
 public:
  Publisher(const Settings& settings, eventlog::Producer& producer, std::uint64_t instance, std::vector<chat::Offset> ends);

  // Told of every attempt that was taken, once.
  void on_logged(std::move_only_function<void(ConnectionId, std::uint64_t attempt, chat::Partition, std::expected<chat::Offset, eventlog::Error>)> logged) {
    logged_ = std::move(logged);
  }
  // The number of the attempt, or why nothing was produced. Connection 0: nobody waits for the outcome. Completes the record.
  // `traceparent`: the client's, whatever it decided about sampling. None is made up: nobody would record such a trace.
  std::expected<std::uint64_t, eventlog::Error> produce(chat::Record& record, ConnectionId connection, std::string_view traceparent);
  // R24: takes back what the log does not have yet of the partition of an attempt that failed. False where that was done since the
  // attempt was made: whatever was in flight beside it went then.
  bool purge(chat::Partition partition, std::uint64_t attempt);

  chat::Partition partition(const chat::ConversationId& conversation) const {
    return chat::partition_of(conversation, static_cast<std::uint32_t>(known_.size()));
  }
  chat::Offset known(chat::Partition partition) const { return known_[partition.value]; }
  void raise(chat::Partition partition, chat::Offset end);
  std::size_t in_flight() const { return in_flight_; }

 private:
  const Settings& settings_;
  eventlog::Producer& producer_;
  std::uint64_t instance_;
  std::uint64_t attempts_ = 0;
  std::size_t in_flight_ = 0;
  std::vector<chat::Offset> known_;
  std::vector<std::uint64_t> purged_;  // per partition, the last attempt before the newest purge
  std::move_only_function<void(ConnectionId, std::uint64_t, chat::Partition, std::expected<chat::Offset, eventlog::Error>)> logged_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace parley::gateway
