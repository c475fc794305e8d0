#include "store/postgres/writer.h"

#include <fmt/core.h>

#include "store/postgres/batch_statements.h"
#include "store/postgres/errors.h"
#include "store/postgres/rows.h"

namespace parley::store::postgres {

Result<void> Writer::connect() {
  if (connection_ && !connection_->broken()) return {};
  connection_.reset();
  auto opened = runtime::postgres::Connection::open(dsn_, timeout_ms_);
  if (!opened) return std::unexpected(store_error(opened.error()));
  connection_.emplace(*std::move(opened));
  return {};
}

Result<std::vector<Offset>> Writer::open(std::string_view topic_id, std::uint32_t partitions) {
  if (auto connected = connect(); !connected) return std::unexpected(connected.error());
  std::vector<Query> queries;
  queries.push_back({"insert into log_identity (topic_id, partitions) values ($1, $2) on conflict do nothing", Params().text(topic_id).i4(partitions)});
  queries.push_back(
      {"insert into positions (partition, next_offset) select p, 0 from log_identity i, generate_series(0, i.partitions - 1) p"
       " on conflict do nothing",
       {}});
  queries.push_back({"select topic_id, partitions from log_identity", {}});
  queries.push_back({"select next_offset from positions order by partition", {}});
  auto rows = connection_->queries(queries);
  if (!rows) return std::unexpected(failed(rows.error()));
  const Row there = (*rows)[2][0];
  const Identity stored{std::string(there.text(0)), there.u4(1)}, log{std::string(topic_id), partitions};
  if (stored != log) return std::unexpected(Error{Errc::misconfigured, mismatch(stored, log)});
  std::vector<Offset> out;
  for (int i = 0; i < (*rows)[3].size(); ++i) out.push_back({(*rows)[3][i].u8(0)});
  return out;
}

Result<Offset> Writer::position(Partition partition) {
  if (auto connected = connect(); !connected) return std::unexpected(connected.error());
  auto rows = connection_->query("select next_offset from positions where partition = $1", Params().i4(partition.value));
  if (!rows) return std::unexpected(failed(rows.error()));
  if (rows->empty()) return std::unexpected(Error{Errc::misconfigured, "no such partition"});
  return Offset{(*rows)[0].u8(0)};
}

// Statements of one call may see different snapshots here. The position is read by the last of them: where it is still `at`, the
// others saw nothing else.
Result<std::vector<chat::ConversationState>> Writer::load(Partition partition, Offset at, const std::vector<ConversationId>& conversations) {
  if (auto connected = connect(); !connected) return std::unexpected(connected.error());
  std::vector<Query> queries = state_queries(conversations);
  queries.push_back({"select next_offset from positions where partition = $1", Params().i4(partition.value)});
  auto rows = connection_->queries(queries);
  if (!rows) return std::unexpected(failed(rows.error()));
  const auto& position = (*rows)[kStateQueries];
  if (position.empty() || position[0].u8(0) != at.value) return std::unexpected(Error{Errc::lost, "the position is not where this batch begins"});
  return states_of(conversations.size(), rows->data());
}

Result<std::vector<StoredSchedule>> Writer::due(Partition partition, TimeMs now, std::size_t limit) {
  if (auto connected = connect(); !connected) return std::unexpected(connected.error());
  auto rows = connection_->query(
      "select conversation, user_id, id, log_offset, payload_hash, due_ms, done, device, body from schedules"
      " where partition = $1 and due_ms <= $2 and not done order by due_ms, log_offset limit $3",
      Params().i4(partition.value).i8(now.value).i8(limit));
  if (!rows) return std::unexpected(failed(rows.error()));
  std::vector<StoredSchedule> out;
  for (int i = 0; i < rows->size(); ++i) out.push_back(read_schedule((*rows)[i]));
  return out;
}

Result<void> Writer::commit(const Batch& batch) {
  if (auto connected = connect(); !connected) return connected;
  if (auto begun = begin(batch); !begun) return std::unexpected(give_up(begun.error()));
  auto events = copy_events(batch);
  if (!events && events.error().code == runtime::postgres::Errc::refused) {
    roll_back();
    if (auto connected = connect(); !connected) return connected;
    if (auto begun = begin(batch); !begun) return std::unexpected(give_up(begun.error()));
    events = insert_events(batch);
  }
  if (!events) return std::unexpected(give_up(events.error()));
  if (auto finished = finish(batch); !finished) return std::unexpected(give_up(finished.error()));
  announce(batch);
  return {};
}

void Writer::roll_back() {
  if (connection_ && (connection_->broken() || !connection_->query("rollback"))) connection_.reset();
}

Error Writer::give_up(const DoorError& error) {
  roll_back();
  // The compare-and-set divides by the number of rows it changed: none, and somebody else wrote this partition (R11).
  if (error.sqlstate == "22012") return {Errc::lost, "the position is not where this batch begins"};
  // A row that is there already: not the fold of this log.
  if (error.unique_violation()) return {Errc::misconfigured, error.message};
  return failed(error);
}

// What is refused may be so for what this session remembers: the next attempt has a new one.
Error Writer::failed(const DoorError& error) {
  if (error.code == runtime::postgres::Errc::refused) connection_.reset();
  return store_error(error);
}

std::expected<void, Writer::DoorError> Writer::begin(const Batch& batch) {
  auto rows = connection_->queries(begin_statements(batch));
  if (!rows) return std::unexpected(rows.error());
  return {};
}

std::expected<void, Writer::DoorError> Writer::copy_events(const Batch& batch) {
  if (batch.events.empty()) return {};
  if (auto begun = connection_->copy_begin(kCopyEvents); !begun) return begun;
  std::string piece;
  append_copy_header(piece);
  for (const StoredEvent& event : batch.events) {
    append_copy_row(piece, batch.partition, event);
    if (piece.size() < 64 * 1024) continue;
    if (auto sent = connection_->copy_data(piece); !sent) return sent;
    piece.clear();
  }
  append_copy_trailer(piece);
  if (auto sent = connection_->copy_data(piece); !sent) return sent;
  return connection_->copy_end();
}

std::expected<void, Writer::DoorError> Writer::insert_events(const Batch& batch) {
  for (const StoredEvent& event : batch.events) {
    std::optional<DoorError> refused;
    // As it is; without its body; without any text a client made.
    for (const Without without : {Without::nothing, Without::body, Without::text}) {
      auto tried = connection_->queries(insert_statements(batch.partition, event, without));
      if (tried) break;
      if (tried.error().code != runtime::postgres::Errc::refused || without == Without::text) return std::unexpected(tried.error());
      if (!refused) refused = tried.error();
      if (auto back = connection_->query("rollback to savepoint event"); !back) return std::unexpected(back.error());
    }
    if (refused && quarantined_) quarantined_(batch.partition, event, refused->sqlstate + ": " + refused->message);
  }
  return {};
}

std::expected<void, Writer::DoorError> Writer::finish(const Batch& batch) {
  auto rows = connection_->queries(finish_statements(batch));
  if (!rows) return std::unexpected(rows.error());
  return {};
}

// Best effort: who waits also polls.
void Writer::announce(const Batch& batch) {
  std::vector<Query> queries;
  queries.push_back({"begin", {}});
  queries.push_back({"set local synchronous_commit = off", {}});
  queries.push_back({"select pg_notify('parley_moved', $1)", Params().text(fmt::format("{} {}", batch.partition.value, batch.next.value))});
  queries.push_back({"commit", {}});
  if (!connection_->queries(queries)) connection_.reset();
}

}  // namespace parley::store::postgres
