#include "gateway/core/operation.h"

#include <xxhash.h>

#include <algorithm>
#include <cmath>
#include <unordered_set>

#include "chat/state.h"

namespace parley::gateway {
namespace {

using chat::Code;
using Checked = std::expected<void, Fault>;

constexpr std::size_t kCardBytes = 16 * 1024;  // D51
constexpr std::size_t kSmallText = 1024;       // names and addresses

std::unexpected<Fault> fault(Code code, std::string message) { return std::unexpected(Fault{code, std::move(message)}); }
std::unexpected<Fault> invalid(std::string message) { return fault(Code::invalid, std::move(message)); }

bool has_nul(std::string_view text) { return text.find('\0') != std::string_view::npos; }

std::size_t characters(std::string_view utf8) {
  return static_cast<std::size_t>(std::ranges::count_if(utf8, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

template <class T>
std::expected<T, Fault> id(std::string_view text, std::string_view field) {
  if (auto parsed = chat::parse_id<T>(text)) return *parsed;
  return invalid(std::string(field) + " is not a UUID");
}

std::uint64_t hash(std::string_view payload) {
  std::uint64_t value = XXH3_64bits(payload.data(), payload.size());
  return value == 0 ? 1 : value;  // 0 matches anything (R8)
}

// The hash of an operation is that of its message without what a resend changes.
template <class Message>
std::uint64_t payload_hash(const Message& message) {
  Message payload = message;
  payload.clear_op_id();
  payload.clear_resend();
  payload.DiscardUnknownFields();
  return hash(payload.SerializeAsString());
}

void put_varint(std::string& out, std::uint64_t value) {
  for (; value >= 128; value >>= 7) out += static_cast<char>(value | 128);
  out += static_cast<char>(value);
}

// A client Event that holds only this message: byte-equal to protobuf's own serialisation (tested).
std::string event_body(std::string_view message) {
  std::string out(1, static_cast<char>(client::Event::kMessageFieldNumber << 3 | 2));
  put_varint(out, message.size());
  out += message;
  return out;
}

Checked check_text(client::Text& text, const Shape& shape) {
  if (text.body().empty()) return invalid("text.body is empty");
  if (text.body().size() > shape.limits.text_bytes) return fault(Code::too_large, "text.body is longer than textBytes");
  if (has_nul(text.body())) return invalid("text.body holds U+0000");
  for (std::string& mention : *text.mutable_mentions()) {
    if (mention == "all") continue;
    auto user = id<chat::UserId>(mention, "text.mentions");
    if (!user) return std::unexpected(user.error());
    mention = chat::to_text(*user);
  }
  return {};
}

Checked check_location(const client::Location& location) {
  auto within = [](double value, double bound) { return std::isfinite(value) && std::abs(value) <= bound; };
  if (!within(location.latitude(), 90) || !within(location.longitude(), 180)) return invalid("location is not on the globe");
  if (has_nul(location.name()) || has_nul(location.address())) return invalid("location holds U+0000");
  if (location.name().size() > kSmallText || location.address().size() > kSmallText) return fault(Code::too_large, "location is longer than 1 KiB");
  return {};
}

Checked check_card(const client::Card& card) {
  if (card.type().empty() || card.json().empty()) return invalid("card needs type and json");
  if (has_nul(card.type()) || has_nul(card.json())) return invalid("card holds U+0000");
  if (card.json().size() > kCardBytes || card.type().size() > kSmallText) return fault(Code::too_large, "card is longer than 16 KiB");
  return {};
}

Checked check_cipher(const client::Cipher& cipher) {
  if (cipher.algorithm().empty() || cipher.payload().empty()) return invalid("cipher needs algorithm and payload");
  if (has_nul(cipher.algorithm()) || has_nul(cipher.key_id())) return invalid("cipher holds U+0000");
  if (cipher.algorithm().size() > kSmallText || cipher.key_id().size() > kSmallText) return fault(Code::too_large, "cipher names are longer than 1 KiB");
  return {};
}

// Moves the content, whose field numbers are the same in both.
Checked take_content(client::Send& send, client::Message& message, const Shape& shape) {
  switch (send.content_case()) {
    case client::Send::kText:
      message.mutable_text()->Swap(send.mutable_text());
      return check_text(*message.mutable_text(), shape);
    case client::Send::kLocation:
      message.mutable_location()->Swap(send.mutable_location());
      return check_location(message.location());
    case client::Send::kCard:
      message.mutable_card()->Swap(send.mutable_card());
      return check_card(message.card());
    case client::Send::kCipher:
      message.mutable_cipher()->Swap(send.mutable_cipher());
      return check_cipher(message.cipher());
    case client::Send::kImage:
    case client::Send::kFile:
    case client::Send::kAudio:
    case client::Send::kVideo:
      return fault(Code::unsupported, "files are not served here");
    case client::Send::CONTENT_NOT_SET:
      break;
  }
  return invalid("send has no content");
}

std::expected<std::vector<chat::UserId>, Fault> users(const google::protobuf::RepeatedPtrField<std::string>& texts, std::string_view field) {
  std::vector<chat::UserId> out;
  std::unordered_set<chat::UserId> seen;  // a frame holds some 1,700 of them, and its rate is not checked yet
  out.reserve(static_cast<std::size_t>(texts.size()));
  for (const std::string& text : texts) {
    auto user = id<chat::UserId>(text, field);
    if (!user) return std::unexpected(user.error());
    if (seen.insert(*user).second) out.push_back(*user);
  }
  return out;
}

Checked check_title(std::string_view title) {
  if (has_nul(title)) return invalid("title holds U+0000");
  std::size_t n = characters(title);
  if (n < 1 || n > chat::kTitleChars) return invalid("title has 1 to 128 characters");
  return {};
}

// One overload per body: fills `op` from it.
class Reader {
 public:
  Reader(Operation& op, const Shape& shape) : op_(op), shape_(shape) {}

  Checked read(client::Send& send) {
    chat::Record& record = op_.record;
    if (send.online_only()) return fault(Code::unsupported, "onlineOnly is not served here");
    if (send.send_at_ms() != 0 && !shape_.scheduled_sends) return fault(Code::unsupported, "sendAtMs is not served here");
    auto request = id<chat::RequestId>(send.client_msg_id(), "clientMsgId");
    if (!request) return std::unexpected(request.error());
    record.id = *request;
    if (send.conversation().empty() == send.direct_to().empty()) return invalid("send needs either conversation or directTo");
    std::optional<chat::UserId> peer;
    if (send.direct_to().empty()) {
      auto conversation = id<chat::ConversationId>(send.conversation(), "conversation");
      if (!conversation) return std::unexpected(conversation.error());
      record.conversation = *conversation;
    } else {
      auto user = id<chat::UserId>(send.direct_to(), "directTo");
      if (!user) return std::unexpected(user.error());
      peer = *user;
      record.conversation = chat::direct_conversation(shape_.user, *user);
      if (*user != shape_.user) op_.must_exist.push_back(*user);
    }
    client::Message message;
    if (auto ok = take_content(send, message, shape_); !ok) return ok;
    bool all = message.has_text() && std::ranges::find(message.text().mentions(), "all") != message.text().mentions().end();
    if (send.has_reply_to()) {
      if (send.reply_to().seq() == 0) return invalid("replyTo.seq is missing");
      message.mutable_reply_to()->set_seq(send.reply_to().seq());
      op_.must_see.push_back({record.conversation, {send.reply_to().seq()}});
    }
    message.DiscardUnknownFields();
    std::string bytes = message.SerializeAsString();
    record.payload_hash = hash(bytes);  // D19: content and replyTo
    if (send.has_forward_of() || send.expires_in_ms() != 0) {
      if (send.has_forward_of()) {
        auto from = id<chat::ConversationId>(send.forward_of().conversation(), "forwardOf.conversation");
        if (!from) return std::unexpected(from.error());
        if (send.forward_of().seq() == 0) return invalid("forwardOf.seq is missing");
        message.mutable_forward_of()->set_conversation(chat::to_text(*from));
        message.mutable_forward_of()->set_seq(send.forward_of().seq());
        op_.must_see.push_back({*from, {send.forward_of().seq()}});
      }
      if (send.expires_in_ms() != 0) message.set_expires_at_ms(shape_.now.value + std::min<std::uint64_t>(send.expires_in_ms(), std::uint64_t{1} << 48));
      bytes = message.SerializeAsString();
    }
    op_.body = event_body(bytes);
    op_.turn = send.turn();
    op_.resend = send.resend();
    if (send.send_at_ms() != 0)
      record.op = chat::op::Schedule{.peer = peer, .body = op_.body, .due = {send.send_at_ms()}};
    else
      record.op = chat::op::Send{.peer = peer, .body = op_.body, .mention_all = all};
    return {};
  }

  Checked read(client::CreateConversation& create) {
    if (auto ok = identify(create, false); !ok) return ok;
    if (create.kind() != "group") return invalid("kind is not group");
    if (auto ok = check_title(create.title()); !ok) return ok;
    auto members = users(create.members(), "members");
    if (!members) return std::unexpected(members.error());
    std::erase(*members, shape_.user);  // D37
    op_.must_exist = *members;
    op_.record.conversation = chat::group_conversation(shape_.user, op_.record.id);
    op_.record.op = chat::op::Create{.title = create.title(), .members = std::move(*members)};
    return {};
  }

  Checked read(client::UpdateConversation& update) {
    if (auto ok = identify(update); !ok) return ok;
    chat::op::Update out;
    if (update.has_title()) {
      if (auto ok = check_title(update.title()); !ok) return ok;
      out.title = update.title();
    }
    if (has_nul(update.notice()) || has_nul(update.avatar()) || has_nul(update.description())) return invalid("a text holds U+0000");
    if (update.has_notice()) out.notice = update.notice();
    if (update.has_avatar()) out.avatar = update.avatar();
    if (update.has_description()) out.description = update.description();
    const client::Settings& settings = update.settings();
    if (settings.has_history_for_new_members()) out.history_for_new_members = settings.history_for_new_members();
    if (settings.has_members_may_add()) out.members_may_add = settings.members_may_add();
    if (settings.has_mention_all_admins()) out.mention_all_admins = settings.mention_all_admins();
    op_.record.op = out;
    return {};
  }

  Checked read(client::ChangeMembers& change, bool add) {
    if (auto ok = identify(change); !ok) return ok;
    auto who = users(change.users(), "users");
    if (!who) return std::unexpected(who.error());
    if (who->empty()) return invalid("users is empty");
    if (add) {
      op_.must_exist = *who;
      op_.record.op = chat::op::Add{std::move(*who)};
    } else {
      op_.record.op = chat::op::Remove{std::move(*who)};
    }
    return {};
  }

  Checked read(client::SetRole& change) {
    if (auto ok = identify(change); !ok) return ok;
    auto user = id<chat::UserId>(change.user(), "user");
    if (!user) return std::unexpected(user.error());
    auto role = chat::parse_role(change.role());
    if (!role) return invalid("role is none of owner, admin, member");
    op_.record.op = chat::op::SetRole{*user, *role};
    return {};
  }

  Checked read(client::Mute& mute) {
    if (auto ok = identify(mute); !ok) return ok;
    chat::op::Mute out{.user = {}, .until = {mute.until_ms()}, .off = mute.off()};
    if (!mute.user().empty()) {
      auto user = id<chat::UserId>(mute.user(), "user");
      if (!user) return std::unexpected(user.error());
      out.user = *user;
    }
    op_.record.op = out;
    return {};
  }

  Checked read(client::Leave& leave) {
    op_.record.op = chat::op::Leave{};
    return identify(leave);
  }

  Checked read(client::Dissolve& dissolve) {
    op_.record.op = chat::op::Dissolve{};
    return identify(dissolve);
  }

 private:
  template <class Message>
  Checked identify(const Message& message, bool with_conversation = true) {
    op_.record.id_is_op = true;
    op_.resend = message.resend();
    auto request = id<chat::RequestId>(message.op_id(), "opId");
    if (!request) return std::unexpected(request.error());
    op_.record.id = *request;
    op_.record.payload_hash = payload_hash(message);
    if constexpr (requires { message.conversation(); }) {
      if (with_conversation) {
        auto conversation = id<chat::ConversationId>(message.conversation(), "conversation");
        if (!conversation) return std::unexpected(conversation.error());
        op_.record.conversation = *conversation;
      }
    }
    return {};
  }

  Operation& op_;
  const Shape& shape_;
};

Checked read(Operation& op, const Shape& shape) {
  Reader reader(op, shape);
  client::Frame& frame = op.frame;
  switch (frame.body_case()) {
    case client::Frame::kSend:
      return reader.read(*frame.mutable_send());
    case client::Frame::kCreateConversation:
      return reader.read(*frame.mutable_create_conversation());
    case client::Frame::kUpdateConversation:
      return reader.read(*frame.mutable_update_conversation());
    case client::Frame::kAddMembers:
      return reader.read(*frame.mutable_add_members(), true);
    case client::Frame::kRemoveMembers:
      return reader.read(*frame.mutable_remove_members(), false);
    case client::Frame::kSetRole:
      return reader.read(*frame.mutable_set_role());
    case client::Frame::kMute:
      return reader.read(*frame.mutable_mute());
    case client::Frame::kLeave:
      return reader.read(*frame.mutable_leave());
    case client::Frame::kDissolve:
      return reader.read(*frame.mutable_dissolve());
    default:
      return fault(Code::unsupported, "not an operation");
  }
}

// Every body with an op_id, whether served or not: its nack bears it.
std::string op_id(const client::Frame& frame) {
  switch (frame.body_case()) {
    case client::Frame::kEdit:
      return frame.edit().op_id();
    case client::Frame::kRecall:
      return frame.recall().op_id();
    case client::Frame::kReact:
      return frame.react().op_id();
    case client::Frame::kPin:
      return frame.pin().op_id();
    case client::Frame::kDeleteForMe:
      return frame.delete_for_me().op_id();
    case client::Frame::kCreateConversation:
      return frame.create_conversation().op_id();
    case client::Frame::kUpdateConversation:
      return frame.update_conversation().op_id();
    case client::Frame::kAddMembers:
      return frame.add_members().op_id();
    case client::Frame::kRemoveMembers:
      return frame.remove_members().op_id();
    case client::Frame::kSetRole:
      return frame.set_role().op_id();
    case client::Frame::kMute:
      return frame.mute().op_id();
    case client::Frame::kLeave:
      return frame.leave().op_id();
    case client::Frame::kDissolve:
      return frame.dissolve().op_id();
    default:
      return {};
  }
}

}  // namespace

bool is_operation(const client::Frame& frame) {
  switch (frame.body_case()) {
    case client::Frame::kSend:
    case client::Frame::kCreateConversation:
    case client::Frame::kUpdateConversation:
    case client::Frame::kAddMembers:
    case client::Frame::kRemoveMembers:
    case client::Frame::kSetRole:
    case client::Frame::kMute:
    case client::Frame::kLeave:
    case client::Frame::kDissolve:
      return true;
    default:
      return false;
  }
}

std::expected<std::unique_ptr<Operation>, Fault> operation(client::Frame&& frame, const Shape& shape) {
  auto op = std::make_unique<Operation>();
  op->frame.Swap(&frame);
  op->bytes = op->frame.ByteSizeLong();
  op->record.actor = shape.user;
  if (valid_traceparent(op->frame.traceparent())) op->traceparent = op->frame.traceparent();
  if (auto ok = read(*op, shape); !ok) {
    frame.Swap(&op->frame);  // the caller names the request in its nack
    return std::unexpected(ok.error());
  }
  return op;
}

RequestIds request_ids(const client::Frame& frame) {
  RequestIds ids;
  if (frame.has_send())
    ids.client_msg_id = frame.send().client_msg_id();
  else
    ids.op_id = op_id(frame);
  return ids;
}

bool valid_device(std::string_view device) {
  auto allowed = [](char c) { return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-'; };
  return !device.empty() && device.size() <= 64 && std::ranges::all_of(device, allowed);
}

bool valid_traceparent(std::string_view text) {
  auto hex = [](std::string_view part) {
    return std::ranges::all_of(part, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); }) && part.find_first_not_of('0') != part.npos;
  };
  return text.size() == 55 && text.starts_with("00-") && text[35] == '-' && text[52] == '-' && hex(text.substr(3, 32)) && hex(text.substr(36, 16)) &&
         (text.substr(53) == "00" || hex(text.substr(53)));
}

}  // namespace parley::gateway
