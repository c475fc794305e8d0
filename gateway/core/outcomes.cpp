// The second half of Attempts: what a router or a look-up says about an item, and how the client is told (R23, D64, D65).
#include <algorithm>

#include "chat/rules.h"
#include "gateway/core/attempts.h"

namespace parley::gateway {

using chat::Code;
using chat::Rule;
using State = Item::State;

namespace {

constexpr std::uint32_t kRetryMs = 1'000;

}  // namespace

bool Attempts::on_outcome(Session& session, const link::Delivery& outcome) {
  bool answered = false;
  auto id = chat::RequestId::from_bytes(outcome.id());
  auto conversation = chat::ConversationId::from_bytes(outcome.conversation());
  if (!conversation) return false;
  if (!id) {
    on_mark(session, outcome, answered);
    settle(session);
    return answered;
  }
  Item* item = find(session, *conversation, *id);
  if (!item || !item->held()) return false;  // R23: nothing is held: told as an ordinary event, if at all
  switch (outcome.outcome_case()) {
    case link::Delivery::kRejected: {
      if (chat::on(Rule::attempts)) {
        std::erase_if(item->attempts, [&](const Item::Attempt& a) { return a.number <= outcome.origin().attempt(); });
        if (item->held()) return false;  // a later attempt is in flight: its outcome decides
      }
      item->attempts.clear();
      auto code = static_cast<Code>(outcome.rejected().code());
      if (code == Code::stale)
        stale(session, item, *conversation);
      else if (code == Code::not_member)
        not_member(session, *item);
      else
        nack_final(session, *item, {code, "refused by the conversation"});
      break;
    }
    case link::Delivery::kEvent: {
      client::Frame frame;
      if (item->is_op && item->requests.empty()) {  // nobody waits for a result: he gets the event like everyone else
        remove(session, *item);
        pump(session, *conversation);
        break;
      }
      const link::Event& event = outcome.event();
      if (item->is_op) {
        client::Result& result = *frame.mutable_result();
        result.set_conversation(chat::to_text(*conversation));
        result.set_seq(event.seq());
        *result.mutable_event() = event_of(outcome);
      } else {
        client::SendAck& ack = *frame.mutable_send_ack();
        ack.set_conversation(chat::to_text(*conversation));
        ack.set_seq(event.seq());
        ack.set_number(event.number());
        ack.set_client_msg_id(chat::to_text(*id));
        ack.set_server_time_ms(event.time_ms());
        ack.set_chain(event.chain());
      }
      answered = true;
      answer(session, *item, std::move(frame));
      break;
    }
    case link::Delivery::kDuplicate:
      duplicate(session, *item, {outcome.duplicate().of_seq()});
      break;
    case link::Delivery::kNothing: {  // D37: a no-op; D23: a schedule
      client::Frame frame;
      frame.mutable_result()->set_conversation(chat::to_text(*conversation));
      answer(session, *item, std::move(frame));
      break;
    }
    case link::Delivery::kMark:
    case link::Delivery::OUTCOME_NOT_SET:
      break;
  }
  if (!session.closed()) settle(session);
  return answered;
}

void Attempts::on_mark(Session& session, const link::Delivery& outcome, bool& answered) {
  if (!session.unanswered) return;
  auto& marks = session.unanswered->marks;
  auto it = std::ranges::find(marks, outcome.origin().attempt(), &MarkWait::attempt);
  if (it == marks.end()) return;
  MarkWait mark = *it;
  marks.erase(it);
  if (outcome.has_rejected()) {
    auto code = static_cast<Code>(outcome.rejected().code());
    return refuse(session, mark.req_id, {}, code, "refused by the conversation");
  }
  if (mark.req_id == 0) return;  // executed silently (D2); a marker tells
  client::Frame frame;
  frame.set_req_id(mark.req_id);
  frame.mutable_result()->set_conversation(chat::to_text(mark.conversation));
  frame.mutable_result()->set_read_seq(outcome.mark().read_seq());
  frame.mutable_result()->set_read_number(outcome.mark().read_number());
  answered = true;
  sessions_.send(session, std::move(frame));
}

// R8: looks all unanswered ones of this conversation up again, in order, and makes one more attempt of each.
void Attempts::stale(Session& session, Item* item, const chat::ConversationId& of) {
  const chat::ConversationId conversation = of;
  bool again = true;
  if (item->queued())
    again = ++item->tries <= kTries;
  else
    remove(session, *item);  // the client was told to send it again
  Item* first = nullptr;
  for (auto& i : unanswered(session).items) {
    if (!i->queued() || i->conversation != conversation) continue;
    if (!first) first = i.get();
    if (i->state == State::checking) continue;
    i->state = State::look;
    i->look = 0;
  }
  if (!again) return nack_temporary(session, conversation, first, {Code::unavailable, "too many other sends went before", kRetryMs});
  look(session, conversation);
}

// The fold remembers the seq, PostgreSQL the rest of the first ack (D19).
void Attempts::duplicate(Session& session, Item& item, chat::Seq of) {
  auto removed = std::shared_ptr<Item>(remove(session, item));
  const chat::ConversationId conversation = removed->conversation;
  if (removed->paid) refused(session);
  pump(session, conversation);
  if (of.value == 0) return send_answers(session, *removed, duplicate_frame(*removed, std::nullopt));
  std::vector<store::LookUp> keys{{conversation, session.user, removed->id}};
  reads_.read<std::vector<store::LookedUp>>(
      publisher_.partition(conversation), [this, keys](auto done) { ports_.reader.look_up(keys, std::move(done)); },
      [this, alive = std::weak_ptr(alive_), connection = session.id, removed](auto found) {
        if (alive.expired()) return;
        Session* s = sessions_.find(connection);
        if (!s) return;
        if (found && !found->value.empty() && found->value.front().event)
          return send_answers(*s, *removed, duplicate_frame(*removed, found->value.front().event));
        Nack nack{Code::unavailable, "the store does not answer", kRetryMs};
        std::uint32_t raised = raise_turn(*s, removed->conversation);
        if (!s->closed()) send_nacks(*s, *removed, nack, raised);
      });
}

// The fold knows members only; whether he ever was one (notMember) or not (notFound) is in PostgreSQL. The verdict is final
// either way: while the store is away he is told the one that reveals least. A temporary nack here would let what he sent
// after it, and what was accepted since, stand before what he sends again (R9).
void Attempts::not_member(Session& session, Item& item) {
  auto removed = std::shared_ptr<Item>(remove(session, item));
  const chat::ConversationId conversation = removed->conversation;
  if (removed->paid) refused(session);
  pump(session, conversation);
  reads_.read<store::Standing>(
      publisher_.partition(conversation), [this, user = session.user, conversation](auto done) { ports_.reader.standing(user, conversation, std::move(done)); },
      [this, alive = std::weak_ptr(alive_), connection = session.id, removed](auto standing) {
        if (alive.expired()) return;
        Session* s = sessions_.find(connection);
        if (!s) return;
        if (Item* later = find(*s, removed->conversation, removed->id); later && later->queued()) {
          // R23: it was sent again meanwhile: that transmission decides, and answers for this one too.
          later->requests.insert(later->requests.begin(), removed->requests.begin(), removed->requests.end());
          return;
        }
        bool stranger = !standing || standing->value == store::Standing::stranger;
        send_nacks(*s, *removed, {stranger ? Code::not_found : Code::not_member, stranger ? "no such conversation" : "not a member any more"}, 0);
      });
}

// With it goes everything behind it in that conversation, and what the client sent before it knew (`turn`).
void Attempts::nack_temporary(Session& session, const chat::ConversationId& of, Item* item, Nack nack) {
  const chat::ConversationId conversation = of;
  std::vector<Item*> gone;
  bool from_here = false;
  for (auto& i : unanswered(session).items) {
    from_here = from_here || i.get() == item;
    if (from_here && i->queued() && i->conversation == conversation) gone.push_back(i.get());
  }
  std::uint32_t raised = raise_turn(session, conversation);
  if (session.closed()) return;
  for (Item* i : gone) {
    if (i == item)
      send_nacks(session, *i, nack, raised);
    else if (i->held())
      send_nacks(session, *i, {Code::unavailable, "an earlier one was refused", nack.retry_after_ms}, raised);
    else
      send_nacks(session, *i, {Code::out_of_turn, "an earlier one was refused", nack.retry_after_ms}, raised);
    if (session.closed()) return;
    if (i->paid) rates_.refund(session.user);
    i->paid = i->admitted = false;
    i->state = State::idle;
    i->operation.reset();
    i->since.reset();
    i->requests.clear();
    if (!i->held()) remove(session, *i);
  }
  pump(session, conversation);
}

// D21: it costs no send. But it was in the log, or the store was asked about it.
void Attempts::refused(Session& session) {
  rates_.refund(session.user);
  rates_.owe(session.user);
}

void Attempts::nack_final(Session& session, Item& item, Nack nack) {
  const chat::ConversationId conversation = item.conversation;
  if (item.paid) refused(session);
  item.paid = item.admitted = false;
  send_nacks(session, item, nack, 0);
  if (session.closed()) return;
  item.state = State::idle;
  item.operation.reset();
  item.since.reset();
  item.requests.clear();
  if (!item.held()) remove(session, item);
  pump(session, conversation);
}

void Attempts::answer(Session& session, Item& item, client::Frame frame) {
  auto removed = remove(session, item);
  bool first = !(frame.has_send_ack() ? frame.send_ack().duplicate() : frame.result().duplicate());
  if (removed->paid && !first) refused(session);
  send_answers(session, *removed, std::move(frame));
  pump(session, removed->conversation);
}

// D2, D64: each transmission that bears a reqId gets one answer; the newest the answer itself, earlier ones a duplicate.
void Attempts::send_answers(Session& session, const Item& item, client::Frame frame) {
  if (item.requests.empty()) {
    if (!item.is_op) sessions_.send(session, std::move(frame));
    return;
  }
  for (std::size_t i = item.requests.size(); i-- > 0;) {
    client::Frame copy(frame);
    copy.set_req_id(item.requests[i]);
    sessions_.send(session, std::move(copy));
    if (frame.has_send_ack())
      frame.mutable_send_ack()->set_duplicate(true);
    else
      frame.mutable_result()->set_duplicate(true);
  }
}

void Attempts::send_nacks(Session& session, Item& item, const Nack& nack, std::uint32_t turn) {
  bool temporary = turn != 0;
  Refusal refusal{.client_msg_id = item.is_op ? std::string() : chat::to_text(item.id),
                  .op_id = item.is_op ? chat::to_text(item.id) : std::string(),
                  .code = nack.code,
                  .message = nack.message,
                  .temporary = temporary,
                  .retry_after_ms = nack.retry_after_ms,
                  .turn = turn};
  if (item.requests.empty()) return sessions_.send(session, nack_frame(refusal));
  for (std::uint32_t req_id : item.requests) {
    refusal.req_id = req_id;
    sessions_.send(session, nack_frame(refusal));
  }
}

client::Frame Attempts::duplicate_frame(const Item& item, const std::optional<store::StoredEvent>& stored) const {
  client::Frame frame;
  if (stored && !item.is_op) {
    client::SendAck& ack = *frame.mutable_send_ack();
    const chat::Event& event = stored->event;
    ack.set_conversation(chat::to_text(item.conversation));
    ack.set_seq(event.seq.value);
    if (event.number) ack.set_number(event.number->value);
    ack.set_client_msg_id(chat::to_text(item.id));
    ack.set_server_time_ms(event.time.value);
    ack.set_chain(std::string(reinterpret_cast<const char*>(event.chain.data()), event.chain.size()));
    ack.set_duplicate(true);
    return frame;
  }
  client::Result& result = *frame.mutable_result();
  result.set_conversation(chat::to_text(item.conversation));
  result.set_duplicate(true);
  if (stored) {
    result.set_seq(stored->event.seq.value);
    *result.mutable_event() = event_of(*stored, ports_.clock.wall());
  }
  return frame;
}

}  // namespace parley::gateway
