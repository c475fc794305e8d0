// The statements that write one batch, made from the batch alone.
#pragma once

#include <string>
#include <vector>

#include "store/postgres/rows.h"

namespace parley::store::postgres {

// begin, and the compare-and-set of the position; fails with "division by zero" (22012) when it is lost.
std::vector<Query> begin_statements(const Batch& batch);

// Binary COPY of events.
inline constexpr Sql kCopyEvents =
    "copy events (conversation, seq, number, time_ms, log_offset, payload_hash, partition, kind, id_is_op, quarantined, sender, id,"
    " chain, body_hash, salt, device, body) from stdin (format binary)";
void append_copy_header(std::string& out);
void append_copy_row(std::string& out, Partition partition, const StoredEvent& event);
void append_copy_trailer(std::string& out);

// One event behind a savepoint named `event`.
enum class Without { nothing, body, text };
std::vector<Query> insert_statements(Partition partition, const StoredEvent& event, Without without);

// Conversations, members, stays, schedules, commit.
std::vector<Query> finish_statements(const Batch& batch);

}  // namespace parley::store::postgres
