#include "gateway/core/reading.h"

#include <algorithm>

namespace parley::gateway {

using chat::Code;

namespace {

constexpr std::uint32_t kRetryMs = 1'000;

// D6: a page ends before this many bytes, but holds one item.
template <class Items>
bool page_full(std::size_t bytes, const Items& items) {
  return bytes > chat::kPageBytes && items.size() > 0;
}

}  // namespace

Reading::Reading(Ports& ports, Sessions& sessions, Publisher& publisher, BarrierReads& reads, Rates& rates, Attempts& attempts)
    : ports_(ports), sessions_(sessions), publisher_(publisher), reads_(reads), rates_(rates), attempts_(attempts) {}

bool Reading::allowed(Session& session, std::uint32_t req_id) {
  if (rates_.take_read(session.user)) return true;
  attempts_.refuse(session, req_id, {}, Code::rate_limited, "too many requests", 100);
  return false;
}

void Reading::unavailable(Session& session, std::uint32_t req_id) {
  attempts_.refuse(session, req_id, {}, Code::unavailable, "the store does not answer", kRetryMs);
}

void Reading::history(Session& session, const client::History& request, std::uint32_t req_id) {
  auto conversation = chat::parse_id<chat::ConversationId>(request.conversation());
  if (!conversation) return attempts_.refuse(session, req_id, {}, Code::invalid, "conversation is not a UUID");
  if (!allowed(session, req_id)) return;
  store::HistoryQuery query{.user = session.user, .conversation = *conversation, .before = {}, .after = {}, .around = {}, .limit = chat::kHistoryDefault};
  if (request.before_seq() != 0) query.before = chat::Seq{request.before_seq()};
  if (request.after_seq() != 0) query.after = chat::Seq{request.after_seq()};
  if (request.limit() != 0) query.limit = std::min(request.limit(), chat::kHistoryMax);
  reads_.read<store::HistoryResult>(
      publisher_.partition(*conversation), [this, query](auto done) { ports_.reader.history(query, std::move(done)); },
      [this, alive = std::weak_ptr(alive_), connection = session.id, req_id, query](auto result) {
        if (alive.expired()) return;
        Session* s = sessions_.find(connection);
        if (!s) return;
        if (!result) return unavailable(*s, req_id);
        store::HistoryResult& found = result->value;
        if (found.standing == store::Standing::stranger) return attempts_.refuse(*s, req_id, {}, Code::not_found, "no such conversation");
        if (req_id == 0) return;  // D2: only a failure is told
        client::Frame frame;
        frame.set_req_id(req_id);
        client::HistoryPage& page = *frame.mutable_history_page();
        page.set_conversation(chat::to_text(query.conversation));
        page.set_more(found.more);
        // The end that is left out is the one `more` tells of: the newer one after a cursor, else the older one.
        bool ascending = query.after.has_value();
        if (!ascending) std::ranges::reverse(found.events);
        std::size_t bytes = 0;
        for (const store::StoredEvent& stored : found.events) {
          client::Event event = event_of(stored, ports_.clock.wall());
          bytes += event.ByteSizeLong();
          if (page_full(bytes, page.events())) {
            page.set_more(true);
            break;
          }
          *page.add_events() = std::move(event);
        }
        if (!ascending) std::reverse(page.mutable_events()->pointer_begin(), page.mutable_events()->pointer_end());
        if (!page.events().empty()) sessions_.sent(*s, {query.conversation, {page.events().rbegin()->seq()}});
        sessions_.send(*s, std::move(frame));
      });
}

void Reading::conversations(Session& session, const client::Conversations& request, std::uint32_t req_id) {
  if (!allowed(session, req_id)) return;
  std::uint32_t limit = request.limit() == 0 ? chat::kHistoryDefault : std::min(request.limit(), chat::kHistoryMax);
  reads_.read<store::SummaryPage>(
      std::nullopt, [this, user = session.user, cursor = request.cursor(), limit](auto done) { ports_.reader.summaries(user, cursor, limit, std::move(done)); },
      [this, alive = std::weak_ptr(alive_), connection = session.id, req_id](auto result) {
        if (alive.expired()) return;
        Session* s = sessions_.find(connection);
        if (!s) return;
        if (!result) return unavailable(*s, req_id);
        if (req_id == 0) return;  // D2
        client::Frame frame;
        frame.set_req_id(req_id);
        // 200 summaries with 256 bytes of text each stay far below the page bound (D6).
        client::ConversationPage& page = *frame.mutable_conversation_page();
        for (const store::Summary& summary : result->value.items) *page.add_items() = summary_of(summary, ports_.clock.wall());
        page.set_next_cursor(result->value.next_cursor);
        sessions_.send(*s, std::move(frame));
      });
}

void Reading::mark_read(Session& session, const client::MarkRead& request, std::uint32_t req_id) {
  auto conversation = chat::parse_id<chat::ConversationId>(request.conversation());
  if (!conversation) return attempts_.refuse(session, req_id, {}, Code::invalid, "conversation is not a UUID");
  if (!allowed(session, req_id)) return;
  chat::Seq seq{request.seq()};
  reads_.read<store::MarkTarget>(
      publisher_.partition(*conversation),
      [this, user = session.user, conversation = *conversation, seq](auto done) { ports_.reader.mark_target(user, conversation, seq, std::move(done)); },
      [this, alive = std::weak_ptr(alive_), connection = session.id, conversation = *conversation, req_id](auto result) {
        if (alive.expired()) return;
        Session* s = sessions_.find(connection);
        if (!s) return;
        if (!result) return unavailable(*s, req_id);
        const store::MarkTarget& target = result->value;
        if (target.standing == store::Standing::stranger) return attempts_.refuse(*s, req_id, {}, Code::not_found, "no such conversation");
        if (target.standing == store::Standing::former) return attempts_.refuse(*s, req_id, {}, Code::not_member, "not a member any more");
        chat::Record record;
        record.conversation = conversation;
        record.actor = s->user;
        record.op = chat::op::MarkRead{.seq = target.seq, .number = target.number};
        attempts_.produce_mark(*s, std::move(record), req_id);
      });
}

void Reading::ack(Session& session, const std::vector<store::Cursor>& cursors, std::uint32_t req_id) {
  if (!rates_.take_read(session.user, cursors.size())) {
    if (req_id != 0) attempts_.refuse(session, req_id, {}, Code::rate_limited, "too many requests", 100);
    return;
  }
  for (const store::Cursor& cursor : cursors) {
    auto sent = std::ranges::find(session.sent, cursor.conversation, &store::Cursor::conversation);
    if (sent == session.sent.end() || cursor.seq.value == 0) continue;
    const Key key{session.user, cursor.conversation};
    auto it = delivered_.find(key);
    if (it == delivered_.end()) {
      if (delivered_.size() >= kDelivered) continue;
      delivered_.emplace(key, Delivered{cursor.seq});  // the fold clamps it to what there is
      first_.emplace_back(chat::TimeMs{sessions_.now().value + kFirstMarkMs}, key);
    } else if (it->second.seq < cursor.seq) {
      it->second = {cursor.seq};
    }
    if (sent->seq <= cursor.seq) session.sent.erase(sent);
  }
  if (session.sent.empty()) session.sent = {};
}

void Reading::on_tick(bool all) {
  std::size_t most = kMarksPerTick;
  auto each_due = [&](std::deque<std::pair<chat::TimeMs, Key>>& timers) {
    for (std::size_t left = timers.size(); left > 0 && (all || timers.front().first <= sessions_.now()) && most > 0; --left) {
      Key key = timers.front().second;
      timers.pop_front();
      auto it = delivered_.find(key);
      if (it == delivered_.end()) continue;
      if (!it->second.fresh) {
        delivered_.erase(it);
        continue;
      }
      // What was not taken waits for the next period: the client does not acknowledge it again.
      it->second.fresh = !produce(key, it->second.seq);
      next_.emplace_back(chat::TimeMs{sessions_.now().value + kNextMarkMs}, key);
      --most;
    }
  };
  each_due(first_);
  each_due(next_);
}

bool Reading::produce(const Key& key, chat::Seq seq) {
  chat::Record record;
  record.conversation = key.conversation;
  record.actor = key.user;
  record.op = chat::op::Delivered{seq};
  auto attempt = publisher_.produce(record, ConnectionId{}, {});
  if (attempt) logging_.emplace(*attempt, std::pair(key, seq));
  return attempt.has_value();
}

void Reading::on_logged(std::uint64_t attempt, bool logged) {
  auto mark = logging_.extract(attempt);
  if (logged || mark.empty()) return;
  const auto& [key, seq] = mark.mapped();
  if (auto it = delivered_.find(key); it != delivered_.end()) {
    it->second.fresh = true;  // a newer one stands for it
  } else if (delivered_.size() < kDelivered) {
    delivered_.emplace(key, Delivered{seq});
    first_.emplace_back(chat::TimeMs{sessions_.now().value + kFirstMarkMs}, key);
  }
}

bool Reading::settled() const {
  return std::ranges::none_of(delivered_, [](const auto& pair) { return pair.second.fresh; });
}

}  // namespace parley::gateway
