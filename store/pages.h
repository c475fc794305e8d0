// How pages are cut (D6, D25): the one meaning shared by every store.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "chat/limits.h"
#include "store/store.h"

namespace parley::store {

enum class Direction : std::uint8_t { older, newer, around };

inline Direction direction(const HistoryQuery& query) {
  if (query.around) return Direction::around;
  return query.after ? Direction::newer : Direction::older;
}

// 0 is the default, beyond the maximum is the maximum.
inline std::uint32_t page_limit(std::uint32_t asked) {
  if (asked == 0) return chat::kHistoryDefault;
  return asked > chat::kHistoryMax ? chat::kHistoryMax : asked;
}

// Around: how many of the page lie before the event itself.
inline std::uint32_t before_around(std::uint32_t limit) { return (limit - 1) / 2; }

// What an event takes in a page, about: its body and its header. PARLEY_EVENT_BYTES is the same in SQL.
inline std::size_t page_bytes(const StoredEvent& event) { return event.event.body.size() + event.event.device.size() + 256; }

// Cuts what is too much at the far end of `events`, nearest first, and says whether something was cut. At least one stays.
inline bool cut_page(std::vector<StoredEvent>& events, std::size_t limit, std::size_t bytes) {
  std::size_t keep = 0, used = 0;
  for (; keep < events.size() && keep < limit; ++keep) {
    used += page_bytes(events[keep]);
    if (used > bytes && keep > 0) break;
  }
  const bool cut = keep < events.size();
  events.resize(keep);
  return cut;
}

// A replay of more than `bytes` is none (D32).
inline void bound_replay(ResumeResult& result, std::size_t bytes) {
  std::size_t used = 0;
  for (const StoredEvent& event : result.events) used += page_bytes(event);
  if (used <= bytes) return;
  result.too_many = true;
  result.events.clear();
}

// A place in the list "newest activity first, then by id descending". Opaque to clients.
struct ListCursor {
  TimeMs time;
  ConversationId conversation;
};
inline std::string encode_cursor(const ListCursor& cursor) { return std::to_string(cursor.time.value) + "_" + chat::to_text(cursor.conversation); }
// Nothing for what is no cursor: the list then starts at its beginning.
inline std::optional<ListCursor> decode_cursor(std::string_view text) {
  const auto bar = text.find('_');
  if (bar == 0 || bar == std::string_view::npos || bar > 19) return std::nullopt;
  ListCursor cursor;
  for (const char c : text.substr(0, bar)) {
    if (c < '0' || c > '9') return std::nullopt;
    cursor.time.value = cursor.time.value * 10 + static_cast<std::uint64_t>(c - '0');
  }
  const auto id = chat::parse_id<ConversationId>(text.substr(bar + 1));
  if (!id) return std::nullopt;
  cursor.conversation = *id;
  return cursor;
}

}  // namespace parley::store
