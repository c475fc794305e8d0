#include "gateway/core/frames.h"

#include "chat/state.h"

namespace parley::gateway {
namespace {

constexpr std::size_t kSummaryText = 256;

template <class Digest>
std::string bytes(const Digest& digest) {
  return {reinterpret_cast<const char*>(digest.data()), digest.size()};
}

std::string uuid(std::string_view raw) {
  auto id = chat::Id<struct AnyTag>::from_bytes(raw);
  return id ? chat::to_text(*id) : std::string();
}

}  // namespace

client::Frame nack_frame(Refusal refusal) {
  client::Frame frame;
  frame.set_req_id(refusal.req_id);
  client::Nack& nack = *frame.mutable_nack();
  nack.set_client_msg_id(std::move(refusal.client_msg_id));
  nack.set_op_id(std::move(refusal.op_id));
  nack.set_code(std::string(chat::name(refusal.code)));
  nack.set_message(std::move(refusal.message));
  nack.set_temporary(refusal.temporary);
  nack.set_retry_after_ms(refusal.retry_after_ms);
  nack.set_turn(refusal.turn);
  return frame;
}

client::Frame error_frame(chat::Close close, std::string_view message) {
  client::Frame frame;
  client::Error& error = *frame.mutable_error();
  error.set_code(std::string(chat::name(chat::error_code(close))));
  error.set_message(std::string(message));
  error.set_reconnect(std::string(chat::reconnect(close)));
  return frame;
}

bool is_answer(const client::Frame& frame) {
  switch (frame.body_case()) {
    case client::Frame::kSendAck:
    case client::Frame::kNack:
    case client::Frame::kResult:
    case client::Frame::kHistoryPage:
    case client::Frame::kConversationPage:
      return true;
    default:
      return false;
  }
}

client::Event event_of(const link::Delivery& delivery) {
  const link::Event& from = delivery.event();
  client::Event event;
  event.ParseFromString(from.body());
  event.set_conversation(uuid(delivery.conversation()));
  event.set_seq(from.seq());
  event.set_number(from.number());
  event.set_sender(uuid(delivery.actor()));
  event.set_sender_device(delivery.device());
  (delivery.id_is_op() ? event.mutable_op_id() : event.mutable_client_msg_id())->assign(uuid(delivery.id()));
  event.set_server_time_ms(from.time_ms());
  event.set_chain(from.chain());
  return event;
}

client::Event event_of(const store::StoredEvent& stored, chat::TimeMs now) {
  const chat::Event& from = stored.event;
  client::Event event;
  event.ParseFromString(from.body);
  event.set_conversation(chat::to_text(from.conversation));
  event.set_seq(from.seq.value);
  if (from.number) event.set_number(from.number->value);
  event.set_sender(chat::to_text(from.sender));
  event.set_sender_device(from.device);
  if (from.id) (from.id_is_op ? event.mutable_op_id() : event.mutable_client_msg_id())->assign(chat::to_text(from.id));
  event.set_server_time_ms(from.time.value);
  event.set_chain(bytes(from.chain));
  if (event.has_message() && event.message().expires_at_ms() != 0 && event.message().expires_at_ms() <= now.value) {
    event.clear_message();
    event.mutable_message()->set_expired(true);
  }
  return event;
}

client::Marker marker_of(const store::Marks& marks) {
  client::Marker marker;
  marker.set_conversation(chat::to_text(marks.conversation));
  marker.set_user(chat::to_text(marks.user));
  marker.set_read_seq(marks.read_seq.value);
  marker.set_read_number(marks.read_number.value);
  marker.set_delivered_seq(marks.delivered_seq.value);
  return marker;
}

std::string_view beginning(std::string_view utf8, std::size_t bytes) {
  if (utf8.size() <= bytes) return utf8;
  while (bytes > 0 && (static_cast<unsigned char>(utf8[bytes]) & 0xC0) == 0x80) --bytes;
  return utf8.substr(0, bytes);
}

void truncate_text(client::Message& message) {
  if (!message.has_text() || message.text().body().size() <= kSummaryText) return;
  std::string& body = *message.mutable_text()->mutable_body();
  body.resize(beginning(body, kSummaryText).size());
  message.set_truncated(true);
}

client::Summary summary_of(const store::Summary& from, chat::TimeMs now) {
  client::Summary out;
  out.set_conversation(chat::to_text(from.conversation));
  out.set_kind(std::string(chat::name(from.kind)));
  out.set_title(from.title);
  if (from.peer) out.set_peer(chat::to_text(*from.peer));
  out.set_role(std::string(chat::name(from.role)));
  out.set_member_count(from.member_count);
  out.set_first_seq(from.first_seq.value);
  out.set_last_seq(from.last_seq.value);
  out.set_last_number(from.last_number.value);
  out.set_read_number(from.read_number.value);
  out.set_unread(chat::unread(from.last_number, from.read_number));
  out.set_muted(from.muted);
  if (from.last_message) {
    *out.mutable_last_message() = event_of(*from.last_message, now);
    if (out.last_message().has_message()) truncate_text(*out.mutable_last_message()->mutable_message());
  }
  return out;
}

}  // namespace parley::gateway
