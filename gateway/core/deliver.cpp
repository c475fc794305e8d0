#include "gateway/core/deliver.h"

#include "chat/rules.h"

namespace parley::gateway {

using chat::Rule;

namespace {

constexpr std::size_t kFrameOverhead = 256;  // what a buffered frame takes beside its body
constexpr std::size_t kIdBytes = 16;

OutgoingPtr frame_of(const link::Delivery& delivery) {
  client::Frame frame;
  if (delivery.traceparent().ends_with("-01")) frame.set_traceparent(delivery.traceparent());  // only sampled ones are worth their bytes
  if (delivery.has_event()) {
    *frame.mutable_event() = event_of(delivery);
  } else if (delivery.has_mark()) {
    auto conversation = chat::ConversationId::from_bytes(delivery.conversation());
    auto user = chat::UserId::from_bytes(delivery.actor());
    if (!conversation || !user) return nullptr;
    *frame.mutable_marker() = marker_of({.conversation = *conversation,
                                         .user = *user,
                                         .read_seq = {delivery.mark().read_seq()},
                                         .read_number = {delivery.mark().read_number()},
                                         .delivered_seq = {delivery.mark().delivered_seq()}});
  } else {
    return nullptr;
  }
  auto outgoing = std::make_shared<Outgoing>(std::move(frame));
  if (delivery.receipts())
    if (auto conversation = chat::ConversationId::from_bytes(delivery.conversation())) outgoing->receipt = {*conversation, {delivery.event().seq()}};
  return outgoing;
}

}  // namespace

void Deliver::on_delivery(const link::Delivery& delivery) {
  publisher_.raise({delivery.partition()}, {delivery.offset() + 1});
  const std::size_t bytes = delivery.event().body().size() + kFrameOverhead;
  const ConnectionId origin{delivery.has_origin() ? delivery.origin().connection() : 0};
  OutgoingPtr frame;
  bool origin_receives = false;
  // Sessions may close while frames are sent (overflow): the next one is taken before.
  for (std::size_t at = 0; at + kIdBytes <= delivery.users().size(); at += kIdBytes) {
    auto user = chat::UserId::from_bytes(std::string_view(delivery.users()).substr(at, kIdBytes));
    for (Session *session = sessions_.of(*user), *next = nullptr; session; session = next) {
      next = session->next_of_user;
      if (session->stage == Stage::greeting) continue;  // its resume begins after this; nothing was promised yet
      if (delivery.has_origin() && session->id == origin) {
        origin_receives = true;
        continue;
      }
      if (!frame && !(frame = frame_of(delivery))) return;
      to_session(*session, nullptr, frame, true, bytes);
    }
  }
  if (!delivery.has_origin()) return;
  if (Session* session = sessions_.find(origin)) to_session(*session, &delivery, frame, origin_receives, bytes);
}

void Deliver::on_ephemeral(const link::Ephemeral& ephemeral) {
  client::Frame frame;
  if (!frame.ParseFromString(ephemeral.frame())) return;
  auto outgoing = std::make_shared<Outgoing>(std::move(frame));
  outgoing->ephemeral = true;
  for (std::size_t at = 0; at + kIdBytes <= ephemeral.users().size(); at += kIdBytes) {
    auto user = chat::UserId::from_bytes(std::string_view(ephemeral.users()).substr(at, kIdBytes));
    for (Session *session = sessions_.of(*user), *next = nullptr; session; session = next) {
      next = session->next_of_user;
      if (session->stage == Stage::live) sessions_.send(*session, outgoing);
    }
  }
}

void Deliver::to_session(Session& session, const link::Delivery* own, const OutgoingPtr& frame, bool recipient, std::size_t bytes) {
  if (session.stage == Stage::resuming && chat::on(Rule::buffer)) {
    Resuming& resuming = *session.resuming;
    resuming.buffered_bytes += bytes;
    if (resuming.buffered_bytes > settings_.buffered_frames_bytes)
      return sessions_.fail(session, chat::Close::slow_consumer, "too much happened while resuming");
    resuming.buffer.push_back({own ? std::make_unique<link::Delivery>(*own) : nullptr, frame, recipient});
    return;
  }
  pass_on(session, own, frame, recipient);
}

void Deliver::flush(Session& session, std::deque<Buffered> buffer) {
  for (Buffered& held : buffer) {
    if (session.closed()) return;
    pass_on(session, held.own.get(), held.frame, held.recipient);
  }
}

void Deliver::pass_on(Session& session, const link::Delivery* own, const OutgoingPtr& frame, bool recipient) {
  if (own) {
    if (attempts_.on_outcome(session, *own)) return;  // the answer stands for the event
    if (own->has_event() && !chat::on(Rule::suppress_held)) return;
  }
  if (!recipient || session.closed()) return;
  // Where nobody else got it, it is made only now that no answer stood for it.
  if (const OutgoingPtr out = frame || !own ? frame : frame_of(*own)) sessions_.send(session, out);
}

}  // namespace parley::gateway
