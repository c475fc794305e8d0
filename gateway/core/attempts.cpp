#include "gateway/core/attempts.h"

#include <algorithm>

#include "chat/rules.h"

namespace parley::gateway {

using chat::Code;
using chat::Rule;
using State = Item::State;

namespace {

constexpr std::uint32_t kRetryMs = 1'000;
constexpr std::uint64_t kOverdueMs = 250;   // between two looks whether an outcome will still come
constexpr std::size_t kTurns = 4'096;       // conversations of one connection with a raised turn
constexpr std::size_t kFrameExtra = 1'024;  // of a send, beside its text

// Of unanswered sends of one connection. Whoever keeps to the announced limits is not to meet it: a burst of the longest texts
// fits, and so does a quarter of the sends that may be unanswered.
std::size_t queued_bytes(const chat::Limits& limits) {
  const std::size_t sends = std::max(limits.unacked_sends / 4, std::min(limits.send_burst, limits.unacked_sends));
  return std::max(std::size_t{1} << 20, sends * (limits.text_bytes + kFrameExtra));
}

}  // namespace

Attempts::Attempts(const Settings& settings, Ports& ports, Sessions& sessions, Publisher& publisher, BarrierReads& reads, Rates& rates, KnownUsers& users)
    : settings_(settings), ports_(ports), sessions_(sessions), publisher_(publisher), reads_(reads), rates_(rates), users_(users) {}

// ---- what a session remembers ------------------------------------------------------------------------------------------

Unanswered& Attempts::unanswered(Session& session) {
  if (!session.unanswered) session.unanswered = std::make_unique<Unanswered>();
  return *session.unanswered;
}

std::uint32_t Attempts::turn(const Session& session, const chat::ConversationId& conversation) const {
  if (session.unanswered)
    for (const auto& [id, turn] : session.unanswered->turns)
      if (id == conversation) return turn;
  return 1;
}

std::uint32_t Attempts::raise_turn(Session& session, const chat::ConversationId& conversation) {
  auto& turns = unanswered(session).turns;
  for (auto& [id, turn] : turns)
    if (id == conversation) return ++turn;
  // Forgetting a turn would let older frames through: rather end the connection, which starts all turns anew.
  if (turns.size() == kTurns) sessions_.fail(session, chat::Close::overloaded, "too many conversations with refused sends");
  turns.emplace_back(conversation, 2);
  return 2;
}

Item* Attempts::find(Session& session, const chat::ConversationId& conversation, const chat::RequestId& id) {
  if (session.unanswered)
    for (auto& item : session.unanswered->items)
      if (item->id == id && item->conversation == conversation) return item.get();
  return nullptr;
}

Item* Attempts::find_serial(Session& session, std::uint64_t serial) {
  if (session.unanswered)
    for (auto& item : session.unanswered->items)
      if (item->serial == serial) return item.get();
  return nullptr;
}

Item* Attempts::find_attempt(Session& session, std::uint64_t attempt) {
  if (session.unanswered)
    for (auto& item : session.unanswered->items)
      for (const Item::Attempt& a : item->attempts)
        if (a.number == attempt) return item.get();
  return nullptr;
}

std::unique_ptr<Item> Attempts::remove(Session& session, Item& item) {
  auto& items = session.unanswered->items;
  auto it = std::ranges::find_if(items, [&](const auto& i) { return i.get() == &item; });
  auto removed = std::move(*it);
  items.erase(it);
  return removed;
}

void Attempts::settle(Session& session) {
  const auto& u = session.unanswered;
  if (u && u->items.empty() && u->marks.empty() && u->looking.empty() && u->turns.empty()) session.unanswered.reset();
}

// ---- acceptance --------------------------------------------------------------------------------------------------------

void Attempts::accept(Session& session, std::unique_ptr<Operation> operation, std::uint32_t req_id) {
  const chat::Record& record = operation->record;
  const chat::ConversationId conversation = record.conversation;
  Nack refusal{Code::ok, {}};
  std::uint32_t present = turn(session, conversation);
  Item* item = find(session, conversation, record.id);
  if (chat::on(Rule::turn) && operation->turn != 0 && operation->turn < present) {
    refusal = {Code::out_of_turn, "sent before an earlier refusal was known"};  // D65; certain, and nothing behind it is touched
  } else if (const std::uint32_t wait = rates_.wait_ms(session.user); wait != 0) {
    refusal = {Code::rate_limited, "too many sends that were refused or sent before", wait};
    present = raise_turn(session, conversation);
  } else if (item && item->operation && item->operation->record.payload_hash != record.payload_hash) {
    refusal = {Code::conflict, "this id stands for something else"};
    present = 0;
  } else if (!(item && item->queued())) {
    Unanswered& u = unanswered(session);
    std::size_t queued = 0, bytes = operation->bytes;
    for (const auto& i : u.items) {
      if (!i->queued()) continue;
      ++queued;
      bytes += i->operation->bytes;
    }
    // Alone it is taken whatever its size: it would not get smaller by waiting.
    if (queued >= settings_.limits.unacked_sends || (queued > 0 && bytes > queued_bytes(settings_.limits))) {
      refusal = {Code::rate_limited, "too many unanswered sends", kRetryMs};
      present = raise_turn(session, conversation);
    } else if (u.items.size() >= 2 * settings_.limits.unacked_sends) {
      // What is forgotten here is told as an ordinary event when its outcome comes (R23).
      u.items.erase(std::ranges::find_if(u.items, [](const auto& i) { return !i->queued(); }));
      item = find(session, conversation, record.id);
    }
  }
  if (refusal.code != Code::ok) {
    Item gone;
    gone.id = record.id;
    gone.is_op = record.id_is_op;
    if (req_id != 0) gone.requests.push_back(req_id);
    send_nacks(session, gone, refusal, present);
    return settle(session);
  }

  // An id that is already known here cannot be a first transmission, whatever its flag says.
  bool flagged = operation->resend || item;
  if (!item || !item->queued()) {
    auto owned = item ? remove(session, *item) : std::make_unique<Item>();
    item = owned.get();
    item->serial = ++serials_;
    item->conversation = conversation;
    item->id = record.id;
    item->is_op = record.id_is_op;
    item->operation = std::move(operation);
    item->since.reset();
    item->paid = item->admitted = item->resent = item->passed = item->missed = false;
    item->check = item->tries = 0;
    unanswered(session).items.push_back(std::move(owned));
  }
  if (req_id != 0) item->requests.push_back(req_id);
  if (flagged) {
    item->resent = true;
    rates_.owe(session.user);
    if (item->state != State::look) item->look = 0;
    item->state = State::look;
    return look(session, conversation);
  }
  item->state = State::checking;
  item->since = publisher_.known(publisher_.partition(conversation));  // R8: first transmission
  check(session, *item);
}

void Attempts::refuse(Session& session, std::uint32_t req_id, const RequestIds& ids, Code code, std::string message, std::uint32_t retry_after_ms) {
  sessions_.send(session, nack_frame({.req_id = req_id,
                                      .client_msg_id = ids.client_msg_id,
                                      .op_id = ids.op_id,
                                      .code = code,
                                      .message = std::move(message),
                                      .temporary = code == Code::unavailable || code == Code::rate_limited,
                                      .retry_after_ms = retry_after_ms}));
}

void Attempts::refuse_send(Session& session, const chat::ConversationId& conversation, std::uint32_t sent_in, client::Frame&& nack) {
  std::uint32_t present = turn(session, conversation);
  if (chat::on(Rule::turn) && sent_in != 0 && sent_in < present)
    nack.mutable_nack()->set_code(std::string(chat::name(Code::out_of_turn)));
  else
    present = raise_turn(session, conversation);
  nack.mutable_nack()->set_turn(present);
  sessions_.send(session, std::move(nack));
}

// ---- R8: the look-up of flagged resends, one at a time per conversation and for all that wait at once ------------------

void Attempts::look(Session& session, const chat::ConversationId& conversation) {
  Unanswered& u = unanswered(session);
  if (std::ranges::find(u.looking, conversation) != u.looking.end()) return;
  std::vector<store::LookUp> keys;
  std::vector<std::uint64_t> serials;
  std::uint64_t number = looks_ + 1;
  for (auto& item : u.items) {
    if (item->state != State::look || item->conversation != conversation) continue;
    item->look = number;
    keys.push_back({conversation, session.user, item->id});
    serials.push_back(item->serial);
  }
  if (keys.empty()) return;
  ++looks_;
  u.looking.push_back(conversation);
  reads_.read<std::vector<store::LookedUp>>(
      publisher_.partition(conversation), [this, keys](auto done) { ports_.reader.look_up(keys, std::move(done)); },
      [this, alive = std::weak_ptr(alive_), connection = session.id, conversation, number, serials](auto found) {
        if (alive.expired()) return;
        if (Session* s = sessions_.find(connection)) looked_up(*s, conversation, number, serials, std::move(found));
      });
}

void Attempts::looked_up(Session& session, const chat::ConversationId& conversation, std::uint64_t number, const std::vector<std::uint64_t>& serials,
                         std::expected<BarrierReads::Fresh<std::vector<store::LookedUp>>, Unavailable> found) {
  std::erase(unanswered(session).looking, conversation);
  for (std::size_t i = 0; i < serials.size() && !session.closed(); ++i) {
    Item* item = find_serial(session, serials[i]);
    if (!item || item->state != State::look || item->look != number) continue;  // answered meanwhile, or to be looked up anew
    if (!found || i >= found->value.size()) {
      nack_temporary(session, conversation, item, {Code::unavailable, "the store does not answer", kRetryMs});
      break;  // it took the others with it
    }
    store::LookedUp& hit = found->value[i];
    if (hit.event || hit.schedule) {
      std::uint64_t mine = item->operation->record.payload_hash;
      if (hit.payload_hash != 0 && hit.payload_hash != mine) {
        nack_final(session, *item, {Code::conflict, "this id stands for something else"});
        continue;
      }
      client::Frame frame = duplicate_frame(*item, hit.event);
      if (!item->resent && item->held()) {  // it was asked here, not by the client: this is what its only transmission made
        if (frame.has_send_ack())
          frame.mutable_send_ack()->clear_duplicate();
        else
          frame.mutable_result()->clear_duplicate();
      }
      answer(session, *item, std::move(frame));
      continue;
    }
    if (item->missed && item->passed) {  // R9: what went after it may stand already, and the client is to know
      nack_temporary(session, conversation, item, {Code::unavailable, "no outcome in time", kRetryMs});
      break;  // it took the others with it
    }
    item->since = (*found->barrier)[publisher_.partition(conversation).value];
    item->state = item->admitted ? State::ready : State::checking;
    if (item->state == State::checking) check(session, *item);
  }
  if (session.closed()) return;
  pump(session, conversation);
  look(session, conversation);
  settle(session);
}

// ---- D57: rate, existence, references; whatever waits holds back those behind it ---------------------------------------

void Attempts::check(Session& session, Item& item) {
  auto later = [this, alive = std::weak_ptr(alive_), connection = session.id, serial = item.serial]() -> std::pair<Session*, Item*> {
    if (alive.expired()) return {};
    Session* s = sessions_.find(connection);
    Item* i = s ? find_serial(*s, serial) : nullptr;
    if (!i || i->state != State::checking) return {};
    return {s, i};
  };
  if (!item.paid) {
    if (!rates_.take(session.user)) {
      unchecked_.push_back({{sessions_.now().value + settings_.read_timeout_ms}, session.id, item.serial});
      return rates_.wait(session.user, [this, later, user = session.user](std::optional<std::uint32_t> retry_after) {
        auto [s, i] = later();
        if (!s) {
          if (!retry_after) rates_.refund(user);
          return;
        }
        if (retry_after) return nack_temporary(*s, i->conversation, i, {Code::rate_limited, "too many sends", *retry_after});
        i->paid = true;
        check(*s, *i);
      });
    }
    item.paid = true;
  }
  const Operation& operation = *item.operation;
  if (item.check == 0) {
    if (!users_.know_all(operation.must_exist)) {
      unchecked_.push_back({{sessions_.now().value + settings_.read_timeout_ms}, session.id, item.serial});
      return users_.check(operation.must_exist, [this, later](std::expected<bool, Unavailable> exist) {
        auto [s, i] = later();
        if (!s) return;
        if (!exist) return nack_temporary(*s, i->conversation, i, {Code::unavailable, "the store does not answer", kRetryMs});
        if (!*exist) return nack_final(*s, *i, {Code::not_found, "no such user"});
        i->check = 1;
        check(*s, *i);
      });
    }
    item.check = 1;
  }
  if (std::size_t next = item.check - 1u; next < operation.must_see.size()) {
    const Reference reference = operation.must_see[next];
    store::HistoryQuery query{.user = session.user,
                              .conversation = reference.conversation,
                              .before = reference.seq.next(),
                              .after = chat::Seq{reference.seq.value - 1},
                              .around = {},
                              .limit = 1};
    return reads_.read<store::HistoryResult>(
        publisher_.partition(reference.conversation), [this, query](auto done) { ports_.reader.history(query, std::move(done)); },
        [this, later](auto seen) {
          auto [s, i] = later();
          if (!s) return;
          if (!seen) return nack_temporary(*s, i->conversation, i, {Code::unavailable, "the store does not answer", kRetryMs});
          const auto& events = seen->value.events;
          if (events.empty() || events.front().event.kind != chat::EventKind::message) return nack_final(*s, *i, {Code::not_found, "no such message"});
          ++i->check;
          check(*s, *i);
        });
  }
  item.admitted = true;
  item.state = State::ready;
  pump(session, item.conversation);
}

// ---- R9: produce what may be produced, in order ------------------------------------------------------------------------

void Attempts::pump(Session& session, const chat::ConversationId& of) {
  if (session.closed() || !session.unanswered) return;
  const chat::ConversationId conversation = of;  // the reference may belong to an item that goes
  std::optional<chat::Offset> least;             // the smallest `since` of an unanswered earlier one
  auto& items = session.unanswered->items;
  for (std::size_t i = 0; i < items.size(); ++i) {
    Item& item = *items[i];
    if (item.conversation != conversation || !item.queued()) continue;
    if (chat::on(Rule::in_order) && (item.state == State::look || item.state == State::checking)) return;
    if (item.state == State::ready) {
      if (chat::on(Rule::since_mono) && least && *least < *item.since) item.since = least;
      if (!produce(session, item)) return;
    }
    if (item.since) least = least ? std::min(*least, *item.since) : *item.since;
  }
}

// False where it was refused, and the queue has changed.
bool Attempts::produce(Session& session, Item& item) {
  Operation& operation = *item.operation;
  operation.record.device = session.device;
  operation.record.since = *item.since;
  auto attempt = publisher_.produce(operation.record, session.id, operation.traceparent);
  if (!attempt) {
    if (attempt.error().code == eventlog::Errc::too_large)
      nack_final(session, item, {Code::too_large, "larger than the log takes"});
    else  // R24: nothing was produced
      nack_temporary(session, item.conversation, &item, {Code::unavailable, "the log takes nothing now", kRetryMs});
    return false;
  }
  for (auto& earlier : session.unanswered->items) {
    if (earlier.get() == &item) break;
    if (earlier->conversation == item.conversation) earlier->passed = true;
  }
  item.state = State::sent;
  item.passed = item.missed = false;
  item.attempts.push_back({.number = *attempt});
  chat::TimeMs now = sessions_.now();
  unlogged_.push_back({{now.value + settings_.produce_answer_ms}, session.id, *attempt});
  untold_.push_back({{now.value + settings_.outcome_answer_ms}, session.id, *attempt});
  if (!chat::on(Rule::ack_after_log)) {  // P1
    client::Frame frame;
    frame.mutable_send_ack()->set_conversation(chat::to_text(item.conversation));
    frame.mutable_send_ack()->set_client_msg_id(chat::to_text(item.id));
    send_answers(session, item, std::move(frame));
    item.requests.clear();
  }
  return true;
}

void Attempts::produce_mark(Session& session, chat::Record record, std::uint32_t req_id) {
  record.device = session.device;
  auto attempt = publisher_.produce(record, session.id, {});
  if (!attempt) return refuse(session, req_id, {}, Code::unavailable, "the log takes nothing now", kRetryMs);
  unanswered(session).marks.push_back({.attempt = *attempt, .req_id = req_id, .conversation = record.conversation});
  chat::TimeMs now = sessions_.now();
  unlogged_.push_back({{now.value + settings_.produce_answer_ms}, session.id, *attempt});
  untold_.push_back({{now.value + settings_.outcome_answer_ms}, session.id, *attempt});
}

void Attempts::on_logged(ConnectionId connection, std::uint64_t attempt, chat::Partition partition, std::expected<chat::Offset, eventlog::Error> offset) {
  Session* session = sessions_.find(connection);
  if (!offset && offset.error().code != eventlog::Errc::queue_full && offset.error().code != eventlog::Errc::too_large) {
    // R24: from here on the order of what is in flight is lost: it all goes, and the sessions concerned start anew, at once: that an
    // attempt was purged is told later, and what its session sent in between would land without it.
    if (session) sessions_.fail(*session, chat::Close::overloaded, "the log does not answer");
    if (offset.error().code == eventlog::Errc::purged || !publisher_.purge(partition, attempt)) return;
    for (const ConnectionId id : sessions_.ids()) {
      Session* other = sessions_.find(id);
      if (other && in_flight(*other, partition)) sessions_.fail(*other, chat::Close::overloaded, "the log does not answer");
    }
    return;
  }
  if (!session || !session->unanswered) return;
  for (MarkWait& mark : session->unanswered->marks)
    if (mark.attempt == attempt && offset) mark.logged = *offset;
  Item* item = find_attempt(*session, attempt);
  if (!item) return;
  if (offset) {
    for (Item::Attempt& a : item->attempts)
      if (a.number == attempt) a.logged = *offset;
    return;
  }
  // Nothing was produced after all.
  std::erase_if(item->attempts, [&](const Item::Attempt& a) { return a.number == attempt; });
  if (!item->queued()) {
    if (!item->held()) remove(*session, *item);
  } else if (offset.error().code == eventlog::Errc::too_large) {
    nack_final(*session, *item, {Code::too_large, "larger than the log takes"});
  } else {
    nack_temporary(*session, item->conversation, item, {Code::unavailable, "the log takes nothing now", kRetryMs});
  }
  if (!session->closed()) settle(*session);
}

bool Attempts::in_flight(const Session& session, chat::Partition partition) const {
  return session.unanswered && std::ranges::any_of(session.unanswered->items, [&](const auto& item) {
           return publisher_.partition(item->conversation) == partition &&
                  std::ranges::any_of(item->attempts, [](const Item::Attempt& a) { return !a.logged; });
         });
}

// ---- answers that do not come (R24) ------------------------------------------------------------------------------------

bool Attempts::expire(Session& session, std::uint64_t attempt, bool logged_counts) {
  if (!session.unanswered) return false;
  auto& marks = session.unanswered->marks;
  if (auto it = std::ranges::find(marks, attempt, &MarkWait::attempt); it != marks.end()) {
    if (it->logged && !logged_counts) return true;
    std::uint32_t req_id = it->req_id;
    marks.erase(it);
    refuse(session, req_id, {}, Code::unavailable, "no outcome in time", kRetryMs);
    settle(session);
    return false;
  }
  Item* item = find_attempt(session, attempt);
  if (!item || item->state != State::sent || item->attempts.back().number != attempt) return false;
  if (item->attempts.back().logged && !logged_counts) return true;
  nack_temporary(session, item->conversation, item, {Code::unavailable, logged_counts ? "no outcome in time" : "the log does not answer", kRetryMs});
  if (!session.closed()) settle(session);
  return false;
}

// R18. What is looked up was in the log before the barrier, so what is not found made no event and never will (R8). An outcome
// that a second owner still tells counts as any late one does (R23).
void Attempts::overdue(Session& session, std::uint64_t attempt, const std::vector<chat::Offset>& told) {
  if (!session.unanswered) return;
  const auto& marks = session.unanswered->marks;
  const auto mark = std::ranges::find(marks, attempt, &MarkWait::attempt);
  Item* item = mark == marks.end() ? find_attempt(session, attempt) : nullptr;
  if (mark == marks.end() && (!item || item->state != State::sent || item->attempts.back().number != attempt)) return;
  const chat::ConversationId conversation = item ? item->conversation : mark->conversation;
  const std::optional<chat::Offset> logged = item ? item->attempts.back().logged : mark->logged;
  const bool may_come = !logged || *logged >= told[publisher_.partition(conversation).value] || session.resuming;  // or be buffered until caughtUp
  if (may_come) {
    overdue_.push_back({{sessions_.now().value + kOverdueMs}, session.id, attempt});
    return;
  }
  if (!item || item->tries == kTries) {
    expire(session, attempt, true);
    return;
  }
  ++item->tries;
  item->missed = true;
  item->state = State::look;
  item->look = 0;
  look(session, conversation);
}

void Attempts::on_tick(const std::vector<chat::Offset>& told) {
  chat::TimeMs now = sessions_.now();
  auto each_due = [&](std::deque<Timer>& timers, auto&& due) {
    while (!timers.empty() && timers.front().at <= now) {
      Timer timer = timers.front();
      timers.pop_front();
      if (Session* session = sessions_.find(timer.connection)) due(*session, timer.number);
    }
  };
  each_due(unlogged_, [&](Session& s, std::uint64_t attempt) {
    if (expire(s, attempt, false)) overdue(s, attempt, told);
  });
  each_due(overdue_, [&](Session& s, std::uint64_t attempt) { overdue(s, attempt, told); });
  each_due(untold_, [&](Session& s, std::uint64_t attempt) { expire(s, attempt, true); });
  each_due(unchecked_, [&](Session& s, std::uint64_t serial) {
    Item* item = find_serial(s, serial);
    if (item && item->state == State::checking) nack_temporary(s, item->conversation, item, {Code::unavailable, "the store does not answer", kRetryMs});
  });
}

}  // namespace parley::gateway
