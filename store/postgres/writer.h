// The persister's side of PostgreSQL. Blocking, for the persister's own thread; one connection, made anew after a failure.
//
// The order of one batch (R11): begin, compare-and-set of the position (which locks out rivals on the same partition), events
// by binary COPY, the rest by one statement per table, commit; then NOTIFY, in a transaction of its own that waits for no disk.
// When PostgreSQL refuses an event, the batch is written once more, row by row, and what is refused goes without its body (R12).
#pragma once

#include <optional>
#include <string>

#include "runtime/postgres/connection.h"
#include "store/store.h"

namespace parley::store::postgres {

class Writer final : public store::Writer {
 public:
  explicit Writer(std::string dsn, std::uint32_t timeout_ms = 10'000) : dsn_(std::move(dsn)), timeout_ms_(timeout_ms) {}

  Result<std::vector<Offset>> open(std::string_view topic_id, std::uint32_t partitions) override;
  Result<Offset> position(Partition partition) override;
  Result<std::vector<chat::ConversationState>> load(Partition partition, Offset at, const std::vector<ConversationId>& conversations) override;
  Result<void> commit(const Batch& batch) override;
  void on_quarantined(std::move_only_function<void(Partition, const StoredEvent&, std::string_view)> told) override { quarantined_ = std::move(told); }
  Result<std::vector<StoredSchedule>> due(Partition partition, TimeMs now, std::size_t limit) override;

 private:
  using DoorError = runtime::postgres::Error;
  Result<void> connect();
  std::expected<void, DoorError> begin(const Batch& batch);
  std::expected<void, DoorError> copy_events(const Batch& batch);
  std::expected<void, DoorError> insert_events(const Batch& batch);
  std::expected<void, DoorError> finish(const Batch& batch);
  void roll_back();
  Error give_up(const DoorError& error);
  Error failed(const DoorError& error);
  void announce(const Batch& batch);

  std::string dsn_;
  std::uint32_t timeout_ms_;
  std::optional<runtime::postgres::Connection> connection_;
  std::move_only_function<void(Partition, const StoredEvent&, std::string_view)> quarantined_;
};

}  // namespace parley::store::postgres
