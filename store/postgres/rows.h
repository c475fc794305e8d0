// Rows of the schema as the domain's types, and the statements that more than one reader of them shares.
#pragma once

#include <vector>

#include "runtime/postgres/connection.h"
#include "runtime/postgres/sql.h"
#include "runtime/postgres/values.h"
#include "store/store.h"

namespace parley::store::postgres {

using runtime::postgres::Array;
using runtime::postgres::Oid;
using runtime::postgres::Params;
using runtime::postgres::Query;
using runtime::postgres::Row;
using runtime::postgres::Rows;
using runtime::postgres::Sql;

// The columns of `events e` that read_event() reads, in order.
#define PARLEY_EVENT_COLUMNS                                                                                                     \
  "e.conversation, e.seq, e.number, e.time_ms, e.log_offset, e.payload_hash, e.kind, e.id_is_op, e.quarantined, e.sender, e.id," \
  " e.chain, e.body_hash, e.salt, e.device, e.body"
inline constexpr int kEventColumns = 16;
// page_bytes() of `events e`.
#define PARLEY_EVENT_BYTES "(octet_length(e.body) + octet_length(e.device) + 256)"

// `first`: the column where they begin.
StoredEvent read_event(const Row& row, int first = 0);
// Columns: conversation, user_id, id, log_offset, payload_hash, due_ms, done, device, body.
StoredSchedule read_schedule(const Row& row);

// The whole states of conversations (R18), as four statements to be sent together; `states_of` puts their rows together, one
// state for each id, Kind::none where there is no such conversation.
std::vector<Query> state_queries(const std::vector<ConversationId>& ids);
inline constexpr std::size_t kStateQueries = 4;
std::vector<chat::ConversationState> states_of(std::size_t count, const Rows* rows);

// Ids as an array parameter.
template <class Tag>
Array ids_array(const std::vector<chat::Id<Tag>>& ids) {
  Array out(Oid::uuid);
  for (const auto& id : ids) out.uuid(id.bytes);
  return out;
}

inline std::string_view bytes_of(const std::array<std::uint8_t, 16>& digest) { return {reinterpret_cast<const char*>(digest.data()), digest.size()}; }
std::array<std::uint8_t, 16> digest_of(std::string_view bytes);

}  // namespace parley::store::postgres
