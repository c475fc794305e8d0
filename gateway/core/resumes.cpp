#include "gateway/core/resumes.h"

#include <algorithm>

#include "chat/rules.h"
#include "gateway/core/sync_token.h"

namespace parley::gateway {

using chat::Rule;
using Step = Resuming::Step;

Resumes::Resumes(const Settings& settings, Ports& ports, const eventlog::Topic& topic, Sessions& sessions, Routers& routers, BarrierReads& reads,
                 Deliver& deliver)
    : settings_(settings), ports_(ports), topic_(topic), sessions_(sessions), routers_(routers), reads_(reads), deliver_(deliver) {}

void Resumes::begin(Session& session, std::vector<store::Cursor> cursors, std::string token, std::uint32_t req_id, std::uint64_t epoch) {
  // A second resume replaces the first; what was buffered for it stays.
  auto resuming = std::make_unique<Resuming>();
  std::uint32_t replaced = 0;
  if (session.resuming) {
    replaced = session.resuming->req_id;
    resuming->buffer = std::move(session.resuming->buffer);
    resuming->buffered_bytes = session.resuming->buffered_bytes;
  }
  resuming->number = ++numbers_;
  resuming->req_id = req_id;
  resuming->cursors = std::move(cursors);
  resuming->token = std::move(token);
  session.resuming = std::move(resuming);
  session.stage = Stage::resuming;
  session.ask = false;
  session.ask_deadline = {};
  if (session.behind) {
    session.behind = false;
    std::erase(behind_, session.id);
  }
  if (replaced != 0) {  // D2: exactly one answer
    sessions_.send(session, nack_frame({.req_id = replaced, .code = chat::Code::conflict, .message = "a later resume took its place"}));
    if (session.closed()) return;
  }
  if (!chat::on(Rule::registered) || routers_.confirmed(epoch)) return read(session);
  waiting_.push_back({session.id, session.resuming->number, epoch});
}

void Resumes::on_confirmed() {
  while (!waiting_.empty() && routers_.confirmed(waiting_.front().epoch)) {
    Waiting waiting = waiting_.front();
    waiting_.pop_front();
    Session* session = sessions_.find(waiting.connection);
    if (session && session->resuming && session->resuming->number == waiting.number) read(*session);
  }
}

// The session, as long as it is still about this resume.
std::move_only_function<Session*()> Resumes::mine(Session& session) {
  return [this, alive = std::weak_ptr(alive_), connection = session.id, number = session.resuming->number]() -> Session* {
    if (alive.expired()) return nullptr;
    Session* s = sessions_.find(connection);
    return s && s->resuming && s->resuming->number == number ? s : nullptr;
  };
}

void Resumes::read(Session& session) {
  Resuming& resuming = *session.resuming;
  resuming.step = Step::reading;
  auto mine = this->mine(session);
  if (resuming.cursors.empty() && resuming.token.empty()) {
    // A new device lists for itself: all it needs is where it begins.
    return reads_.ends([this, mine = std::move(mine)](auto ends) mutable {
      Session* s = mine();
      if (!s) return;
      if (!ends) return finish(*s, std::unexpected(Unavailable{}));
      finish(*s, BarrierReads::Fresh<store::ResumeResult>{{}, std::move(ends->barrier)});
    });
  }
  store::ResumeQuery query{.user = session.user,
                           .cursors = resuming.cursors,
                           .since = read_sync_token(topic_, resuming.token),
                           .want_changed = true,
                           .max_events = settings_.limits.resume_events};
  reads_.read<store::ResumeResult>(
      std::nullopt, [this, query](auto done) { ports_.reader.resume(query, std::move(done)); },
      [this, mine = std::move(mine)](auto result) mutable {
        if (Session* s = mine()) finish(*s, std::move(result));
      });
}

void Resumes::finish(Session& session, std::expected<BarrierReads::Fresh<store::ResumeResult>, Unavailable> result) {
  Resuming& resuming = *session.resuming;
  const chat::TimeMs wall = ports_.clock.wall();
  if (!result) {
    client::Frame resync;
    resync.mutable_resync()->set_reason("storeUnavailable");
    sessions_.send(session, std::move(resync));
    if (session.closed()) return;  // a full outbox closes in the middle of things, here and below
    resuming.caught_up.set_sync_token(resuming.token);
    session.behind = true;
    if (behind_.size() > 2 * sessions_.connections())  // most of them left meanwhile
      std::erase_if(behind_, [&](ConnectionId id) { return !sessions_.find(id); });
    behind_.push_back(session.id);
    return caught_up(session);
  }
  store::ResumeResult& found = result->value;
  resuming.caught_up.set_sync_token(sync_token(topic_, *result->barrier));
  if (found.too_many || found.cursor_ahead) return resync(session, found.too_many ? "tooManyEvents" : "cursorAhead");
  auto cursor = resuming.cursors.begin();          // in the order of the marks
  for (const store::Marks& marks : found.marks) {  // D28
    while (cursor != resuming.cursors.end() && cursor->conversation != marks.conversation) ++cursor;
    // What it got on an earlier connection and did not acknowledge there.
    if (cursor != resuming.cursors.end() && marks.user == session.user && marks.delivered_seq < cursor->seq) sessions_.sent(session, *cursor);
    if (marks.read_seq.value == 0 && marks.delivered_seq.value == 0) continue;
    client::Frame frame;
    *frame.mutable_marker() = marker_of(marks);
    sessions_.send(session, std::move(frame));
    if (session.closed()) return;
  }
  for (const store::Summary& summary : found.changed) *resuming.caught_up.add_changed() = summary_of(summary, wall);
  resuming.caught_up.set_more(found.more);
  resuming.step = Step::replaying;
  resuming.events = std::move(found.events);
  replay(session);
}

// D32: nothing is replayed; the device drops its cursors and gets the newest of all its conversations instead.
void Resumes::resync(Session& session, std::string reason) {
  reads_.read<store::SummaryPage>(
      std::nullopt, [this, user = session.user](auto done) { ports_.reader.summaries(user, {}, chat::kChangedMax, std::move(done)); },
      [this, mine = mine(session), reason = std::move(reason)](auto page) mutable {
        Session* s = mine();
        if (!s) return;
        if (!page) return finish(*s, std::unexpected(Unavailable{}));
        client::Frame frame;
        client::Resync& to = *frame.mutable_resync();
        to.set_reason(reason);
        for (const store::Summary& summary : page->value.items) *to.add_conversations() = summary_of(summary, ports_.clock.wall());
        to.set_more(!page->value.next_cursor.empty());
        sessions_.send(*s, std::move(frame));
        if (s->closed()) return;
        s->resuming->caught_up.set_sync_token(sync_token(topic_, *page->barrier));
        caught_up(*s);
      });
}

// D32: at most `replay_window` events the client has not acknowledged.
void Resumes::replay(Session& session) {
  Resuming& resuming = *session.resuming;
  while (resuming.next < resuming.events.size() && resuming.unacked.size() < settings_.replay_window) {
    const store::StoredEvent& stored = resuming.events[resuming.next++];
    resuming.unacked.push_back({stored.event.conversation, stored.event.seq});
    client::Frame frame;
    *frame.mutable_event() = event_of(stored, ports_.clock.wall());
    sessions_.sent(session, resuming.unacked.back());
    sessions_.send(session, std::move(frame));
    if (session.closed()) return;
  }
  if (resuming.next == resuming.events.size()) return caught_up(session);
  resuming.ack_deadline = {sessions_.now().value + kPatienceMs};
  sessions_.wheel().schedule(session, sessions_.now());
}

void Resumes::on_ack(Session& session, const std::vector<store::Cursor>& cursors) {
  if (!session.resuming || session.resuming->step != Step::replaying) return;
  auto& unacked = session.resuming->unacked;
  std::size_t before = unacked.size();
  for (const store::Cursor& cursor : cursors)
    std::erase_if(unacked, [&](const store::Cursor& sent) { return sent.conversation == cursor.conversation && sent.seq <= cursor.seq; });
  if (unacked.size() < before) replay(session);
}

void Resumes::caught_up(Session& session) {
  auto resuming = std::move(session.resuming);
  client::Frame frame;
  frame.set_req_id(resuming->req_id);
  frame.mutable_caught_up()->Swap(&resuming->caught_up);
  sessions_.send(session, std::move(frame));
  if (session.closed()) return;
  session.stage = Stage::live;
  deliver_.flush(session, std::move(resuming->buffer));
  if (!session.closed() && session.ask) ask(session, "gap", window(1));
}

// ---- asking for a resume -----------------------------------------------------------------------------------------------

std::uint32_t Resumes::window(std::size_t sessions) const {
  return static_cast<std::uint32_t>(std::min<std::size_t>(30'000, 100 + sessions * 1'000 / kResumesPerSecond));
}

void Resumes::ask(Session& session, std::string_view reason, std::uint32_t window_ms) {
  session.ask = false;
  if (session.ask_deadline.value != 0) return;  // asked already
  session.ask_deadline = {sessions_.now().value + window_ms + kPatienceMs};
  sessions_.wheel().schedule(session, sessions_.now());
  client::Frame frame;
  frame.mutable_resume()->set_reason(std::string(reason));
  frame.mutable_resume()->set_window_ms(window_ms);
  sessions_.send(session, std::move(frame));
}

void Resumes::ask_everyone(std::string_view reason) {
  if (!chat::on(Rule::progress)) return;
  std::uint32_t window_ms = window(sessions_.connections());
  for (ConnectionId id : sessions_.ids()) {
    Session* session = sessions_.find(id);
    if (!session) continue;
    if (session->stage == Stage::live)
      ask(*session, reason, window_ms);
    else if (session->resuming && session->resuming->step != Step::confirming)
      session->ask = true;  // its barrier may be older than the gap
  }
}

void Resumes::on_tick() {
  if (!chat::on(Rule::reask) || behind_.empty() || probing_ || sessions_.now() < probe_at_) return;
  probe();
}

// The store is back once a read behind a fresh barrier succeeds.
void Resumes::probe() {
  probing_ = true;
  reads_.read<std::monostate>(
      std::nullopt,
      [this](auto done) {
        ports_.reader.positions([done = std::move(done)](store::Result<store::Positions> positions) mutable {
          if (!positions) return done(std::unexpected(positions.error()));
          done(store::Snapshot<std::monostate>{std::move(*positions), {}});
        });
      },
      [this, alive = std::weak_ptr(alive_)](auto back) {
        if (alive.expired()) return;
        probing_ = false;
        probe_at_ = {sessions_.now().value + kProbeMs};
        if (!back) return;
        auto behind = std::exchange(behind_, {});
        std::uint32_t window_ms = window(behind.size());
        for (ConnectionId id : behind) {
          Session* session = sessions_.find(id);
          if (!session || !session->behind) continue;
          session->behind = false;
          if (session->stage == Stage::live)
            ask(*session, "storeBack", window_ms);
          else
            session->ask = true;
        }
      });
}

chat::TimeMs Resumes::deadline(const Session& session) {
  if (session.resuming) return session.resuming->ack_deadline;
  return session.ask_deadline;
}

chat::Close Resumes::overdue(const Session& session) { return session.resuming ? chat::Close::slow_consumer : chat::Close::resync_required; }

}  // namespace parley::gateway
