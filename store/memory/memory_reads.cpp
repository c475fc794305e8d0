#include <algorithm>

#include "chat/limits.h"
#include "store/memory/memory_ports.h"
#include "store/pages.h"

namespace parley::store::memory {

namespace {

const Error kAway{Errc::unavailable, "the store is away"};

Standing standing_of(const Data& data, const UserId& user, const ConversationId& id) {
  const Conversation* c = data.find(id);
  if (c == nullptr) return Standing::stranger;
  if (c->state.member(user) != nullptr) return Standing::member;
  return c->stays.contains(user) ? Standing::former : Standing::stranger;
}

std::optional<Summary> summary_of(const Data& data, const UserId& user, const ConversationId& id) {
  const Conversation* c = data.find(id);
  if (c == nullptr) return std::nullopt;
  const chat::Member* member = c->state.member(user);
  if (member == nullptr || c->state.last_seq == Seq{}) return std::nullopt;
  if (c->state.kind == chat::Kind::self && c->state.last_number == MessageNumber{}) return std::nullopt;
  Summary out;
  out.conversation = id;
  out.kind = c->state.kind;
  out.title = c->state.title;
  if (c->state.kind == chat::Kind::direct) {
    for (const auto& [other, row] : c->state.members) {
      if (other != user) out.peer = other;
    }
  }
  out.role = member->role;
  out.member_count = static_cast<std::uint32_t>(c->state.members.size());
  out.first_seq = c->first_visible(user).value_or(Seq{1});
  out.last_seq = c->state.last_seq;
  out.last_number = c->state.last_number;
  out.read_seq = member->read_seq;
  out.read_number = member->read_number;
  out.delivered_seq = member->delivered_seq;
  out.muted = false;
  out.last_time = c->state.last_time;
  if (const auto at = c->events.find(c->state.last_message_seq); at != c->events.end() && c->sees(user, at->first)) out.last_message = at->second;
  return out;
}

// Newest activity first, then by id descending.
bool newer(const Summary& a, const Summary& b) { return a.last_time != b.last_time ? a.last_time > b.last_time : a.conversation > b.conversation; }

std::vector<Summary> all_summaries(const Data& data, const UserId& user) {
  std::vector<Summary> out;
  for (const auto& [id, conversation] : data.conversations) {
    if (auto summary = summary_of(data, user, id)) out.push_back(*std::move(summary));
  }
  std::ranges::sort(out, newer);
  return out;
}

ResumeResult resume_of(const Data& data, const ResumeQuery& query) {
  ResumeResult out;
  for (const Cursor& cursor : query.cursors) {
    const Conversation* c = data.find(cursor.conversation);
    if (c == nullptr || standing_of(data, query.user, cursor.conversation) == Standing::stranger) continue;
    if (cursor.seq > c->state.last_seq) out.cursor_ahead = true;
    if (c->state.member(query.user) != nullptr) {
      for (const auto& [user, member] : c->state.members) {
        if (user == query.user || c->state.kind == chat::Kind::direct)
          out.marks.push_back({cursor.conversation, user, member.read_seq, member.read_number, member.delivered_seq});
      }
    }
    for (auto at = c->events.upper_bound(cursor.seq); at != c->events.end(); ++at) {
      if (c->sees(query.user, at->first)) out.events.push_back(at->second);
    }
  }
  if (out.events.size() > query.max_events) {
    out.too_many = true;
    out.events.clear();
  }
  bound_replay(out, query.max_bytes);
  if (query.want_changed) {
    for (Summary& summary : all_summaries(data, query.user)) {
      const bool held = std::ranges::any_of(query.cursors, [&](const Cursor& cursor) { return cursor.conversation == summary.conversation; });
      const Conversation& c = *data.find(summary.conversation);
      const bool old = query.since && c.partition.value < query.since->size() && !c.changed_for(query.user, (*query.since)[c.partition.value]);
      if (!held && !old) out.changed.push_back(std::move(summary));
    }
    out.more = out.changed.size() > chat::kChangedMax;
    if (out.more) out.changed.resize(chat::kChangedMax);
  }
  return out;
}

HistoryResult history_of(const Data& data, const HistoryQuery& query) {
  HistoryResult out;
  out.standing = standing_of(data, query.user, query.conversation);
  if (out.standing == Standing::stranger) return out;
  const Conversation& c = *data.find(query.conversation);
  std::vector<StoredEvent> visible;
  for (const auto& [seq, event] : c.events) {
    if (query.before && seq >= *query.before) continue;
    if (query.after && seq <= *query.after) continue;
    if (c.sees(query.user, seq)) visible.push_back(event);
  }
  const std::uint32_t limit = page_limit(query.limit);
  switch (direction(query)) {
    case Direction::newer:
      out.more = cut_page(visible, limit, chat::kPageBytes);
      break;
    case Direction::older:
      std::ranges::reverse(visible);
      out.more = cut_page(visible, limit, chat::kPageBytes);
      std::ranges::reverse(visible);
      break;
    case Direction::around: {
      std::vector<StoredEvent> before, from;
      for (StoredEvent& event : visible) (event.event.seq < *query.around ? before : from).push_back(std::move(event));
      std::ranges::reverse(before);
      const std::uint32_t half = before_around(limit);
      const bool older = cut_page(before, half, chat::kPageBytes / 2), newer_too = cut_page(from, limit - half, chat::kPageBytes / 2);
      out.more = older || newer_too;
      std::ranges::reverse(before);
      visible = std::move(before);
      std::ranges::move(from, std::back_inserter(visible));
      break;
    }
  }
  out.events = std::move(visible);
  return out;
}

MarkTarget mark_target_of(const Data& data, const UserId& user, const ConversationId& id, Seq seq) {
  MarkTarget out;
  out.standing = standing_of(data, user, id);
  if (out.standing != Standing::member) return out;
  const Conversation& c = *data.find(id);
  for (const auto& [at, event] : c.events) {
    if (!c.sees(user, at)) continue;
    if (at <= seq || out.seq == Seq{}) out.seq = at;
    if (at >= seq) break;
  }
  for (const auto& [at, event] : c.events) {
    if (at <= out.seq && event.event.number) out.number = *event.event.number;
  }
  return out;
}

}  // namespace

MemoryReader::MemoryReader(MemoryStore& store) : store_(store) { store_.readers_.push_back(this); }
MemoryReader::~MemoryReader() {
  store_.forget(this);
  std::erase(store_.readers_, this);
}

void MemoryReader::moved(Partition partition, Offset position) {
  if (!moved_) return;
  store_.wait(this, [this, partition, position] {
    if (!store_.away_) moved_(partition, position);  // a notification is lost with the connection
  });
}

template <class T, class Ask>
void MemoryReader::later(Callback<T> done, Ask ask) {
  store_.wait_for_snapshot(this, [this, done = std::move(done), ask = std::move(ask)]() mutable -> std::move_only_function<void()> {
    Result<T> result = std::unexpected(kAway);
    if (!store_.away_) result = ask(store_.data_);
    return [done = std::move(done), result = std::move(result)]() mutable { done(std::move(result)); };
  });
}

template <class T, class Ask>
void MemoryReader::snapshot(Callback<Snapshot<T>> done, Ask ask) {
  later(std::move(done), [ask = std::move(ask)](const Data& data) { return Snapshot<T>{data.positions, ask(data)}; });
}

void MemoryReader::identity(Callback<std::optional<Identity>> done) {
  later(std::move(done), [this](const Data& data) -> std::optional<Identity> {
    if (store_.topic_id_.empty()) return std::nullopt;
    return Identity{store_.topic_id_, static_cast<std::uint32_t>(data.positions.size())};
  });
}

void MemoryReader::positions(Callback<Positions> done) {
  later(std::move(done), [](const Data& data) { return data.positions; });
}

void MemoryReader::cold_load(ConversationId conversation, Partition partition, Offset from, Callback<ColdLoad> done) {
  later(std::move(done), [=](const Data& data) {
    ColdLoad out;
    out.position = partition.value < data.positions.size() ? data.positions[partition.value] : Offset{};
    const Conversation* c = data.find(conversation);
    if (c == nullptr) return out;
    out.state = c->whole();
    for (const auto& [seq, event] : c->events) {
      if (event.offset >= from) out.events.push_back(event);
    }
    if (out.events.empty()) return out;
    const Seq first = out.events.front().event.seq, last = out.events.back().event.seq;
    for (const auto& [user, rows] : c->stays) {
      std::vector<Stay> stays;
      for (const StayRow& stay : rows) {
        if (stay.from <= last && (!stay.to || *stay.to >= first)) stays.push_back({stay.from, stay.to});
      }
      if (!stays.empty()) out.stays.emplace_back(user, std::move(stays));
    }
    return out;
  });
}

void MemoryReader::look_up(std::vector<LookUp> keys, Callback<Snapshot<std::vector<LookedUp>>> done) {
  snapshot(std::move(done), [keys = std::move(keys)](const Data& data) {
    std::vector<LookedUp> out;
    for (const LookUp& key : keys) {
      LookedUp& found = out.emplace_back();
      const Conversation* c = data.find(key.conversation);
      if (c == nullptr) continue;
      for (const StoredSchedule& schedule : c->schedules) {
        if (schedule.user != key.user || schedule.id != key.id) continue;
        found.schedule = true;
        found.payload_hash = schedule.payload_hash;
      }
      for (const auto& [seq, stored] : c->events) {
        if (stored.event.sender != key.user || stored.event.id != key.id) continue;
        found.event = stored;
        found.payload_hash = stored.event.payload_hash;
        break;  // the first: what the id was answered with
      }
    }
    return out;
  });
}

void MemoryReader::resume(ResumeQuery query, Callback<Snapshot<ResumeResult>> done) {
  snapshot(std::move(done), [query = std::move(query)](const Data& data) { return resume_of(data, query); });
}

void MemoryReader::history(HistoryQuery query, Callback<Snapshot<HistoryResult>> done) {
  snapshot(std::move(done), [query = std::move(query)](const Data& data) { return history_of(data, query); });
}

void MemoryReader::summaries(UserId user, std::string cursor, std::uint32_t limit, Callback<Snapshot<SummaryPage>> done) {
  snapshot(std::move(done), [=, limit = page_limit(limit)](const Data& data) {
    SummaryPage page;
    const auto after = decode_cursor(cursor);
    for (Summary& summary : all_summaries(data, user)) {
      if (after && (summary.last_time > after->time || (summary.last_time == after->time && summary.conversation >= after->conversation))) continue;
      if (page.items.size() == limit) {
        page.next_cursor = encode_cursor({page.items.back().last_time, page.items.back().conversation});
        break;
      }
      page.items.push_back(std::move(summary));
    }
    return page;
  });
}

void MemoryReader::details(UserId user, ConversationId conversation, Callback<Snapshot<Details>> done) {
  snapshot(std::move(done), [=](const Data& data) {
    Details out;
    out.standing = standing_of(data, user, conversation);
    if (out.standing != Standing::member) return out;
    const chat::ConversationState& state = data.find(conversation)->state;
    out.summary = summary_of(data, user, conversation);
    out.notice = state.notice;
    out.avatar = state.avatar;
    out.description = state.description;
    out.settings = state.settings;
    return out;
  });
}

void MemoryReader::standing(UserId user, ConversationId conversation, Callback<Snapshot<Standing>> done) {
  snapshot(std::move(done), [=](const Data& data) { return standing_of(data, user, conversation); });
}

void MemoryReader::mark_target(UserId user, ConversationId conversation, Seq seq, Callback<Snapshot<MarkTarget>> done) {
  snapshot(std::move(done), [=](const Data& data) { return mark_target_of(data, user, conversation, seq); });
}

void MemoryReader::members(UserId user, ConversationId conversation, std::string cursor, std::uint32_t limit, Callback<Snapshot<MemberPage>> done) {
  snapshot(std::move(done), [this, user, conversation, after = chat::parse_id<UserId>(cursor), limit = page_limit(limit)](const Data& data) {
    MemberPage page;
    page.standing = standing_of(data, user, conversation);
    if (page.standing != Standing::member) return page;
    for (const auto& [id, member] : data.find(conversation)->state.members) {
      if (after && id <= *after) continue;
      if (page.items.size() == limit) {
        page.next_cursor = chat::to_text(page.items.back().user);
        break;
      }
      MemberRow& row = page.items.emplace_back();
      row.user = id;
      row.role = member.role;
      row.muted_until = member.muted_until;
      if (const auto at = store_.people_->users.find(id); at != store_.people_->users.end()) {
        row.username = at->second.user.username;
        row.display_name = at->second.user.display_name;
      }
    }
    return page;
  });
}

}  // namespace parley::store::memory
