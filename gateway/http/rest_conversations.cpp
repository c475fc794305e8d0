// /v1/conversations: the operations of the WebSocket protocol, one request each.
#include "gateway/core/frames.h"
#include "gateway/http/rest.h"

namespace parley::gateway::http {

using chat::Code;

namespace {
constexpr std::uint32_t kUnavailableRetryMs = 1'000;
constexpr std::uint64_t kMembersDefault = 100, kMembersMax = 1'000;
constexpr std::uint64_t kAnySeq = std::numeric_limits<std::uint64_t>::max();
}  // namespace

void Rest::list_conversations(CallPtr call) {
  std::uint64_t limit = 0;
  if (!read_number(call, "limit", std::numeric_limits<std::uint32_t>::max(), limit)) return;
  client::Frame frame;
  auto& ask_for = *frame.mutable_conversations();
  query_value(call->request.query(), "cursor", *ask_for.mutable_cursor());
  ask_for.set_limit(static_cast<std::uint32_t>(limit));
  ask(call, std::move(frame), [this, call](const client::Frame& reply) { answer(call, reply.conversation_page()); });
}

void Rest::create_conversation(CallPtr call) {
  client::Frame frame;
  auto& create = *frame.mutable_create_conversation();
  if (!read_body(call, create)) return;
  bool resend = create.resend();
  fill_id(call, *create.mutable_op_id(), resend);
  create.set_resend(resend);
  ask(call, std::move(frame), [this, call](const client::Frame& reply) {
    rest::v1::Created created;
    created.set_id(reply.result().conversation());
    created.set_seq(reply.result().seq());
    answer(call, created, 201);
  });
}

void Rest::get_conversation(CallPtr call) {
  auto conversation = chat::parse_id<chat::ConversationId>(call->parameters[0]);
  if (!conversation) return refuse(call, Code::not_found, "there is no such conversation");
  reads_->read<store::Details>(
      chat::partition_of(*conversation, partitions_),
      [this, user = call->identity.user, id = *conversation](store::Callback<store::Snapshot<store::Details>> done) {
        ports_.reader.details(user, id, std::move(done));
      },
      [this, call](std::expected<BarrierReads::Fresh<store::Details>, Unavailable> found) {
        if (!found) return refuse(call, Code::unavailable, "the store does not answer", kUnavailableRetryMs);
        const store::Details& details = found->value;
        if (details.standing == store::Standing::former) return refuse(call, Code::not_member, "you are not a member any more");
        if (!details.summary) return refuse(call, Code::not_found, "there is no such conversation");
        rest::v1::Conversation out;
        // Same names, same numbers (a test sees to it): a summary is a conversation without its details.
        out.ParseFromString(summary_of(*details.summary, ports_.clock.wall()).SerializeAsString());
        if (details.summary->kind == chat::Kind::group) {
          out.set_notice(details.notice);
          out.set_avatar(details.avatar);
          out.set_description(details.description);
          auto& settings = *out.mutable_settings();
          settings.set_history_for_new_members(details.settings.history_for_new_members);
          settings.set_members_may_add(details.settings.members_may_add);
          settings.set_mention_all_admins(details.settings.mention_all_admins);
        }
        answer(call, out);
      });
}

void Rest::patch_conversation(CallPtr call) {
  client::Frame frame;
  auto& update = *frame.mutable_update_conversation();
  if (!read_body(call, update)) return;
  update.set_conversation(call->parameters[0]);
  bool resend = update.resend();
  fill_id(call, *update.mutable_op_id(), resend);
  update.set_resend(resend);
  ask(call, std::move(frame), [this, call](const client::Frame&) { get_conversation(call); });  // D54
}

void Rest::delete_conversation(CallPtr call) {
  client::Frame frame;
  auto& dissolve = *frame.mutable_dissolve();
  dissolve.set_conversation(call->parameters[0]);
  bool resend = false;
  fill_id(call, *dissolve.mutable_op_id(), resend);
  dissolve.set_resend(resend);
  ask_result(std::move(call), std::move(frame));
}

// ---- members -------------------------------------------------------------------------------------------------------------

void Rest::list_members(CallPtr call) {
  auto conversation = chat::parse_id<chat::ConversationId>(call->parameters[0]);
  if (!conversation) return refuse(call, Code::not_found, "there is no such conversation");
  std::uint64_t limit = kMembersDefault;
  if (!read_number(call, "limit", kAnySeq, limit)) return;
  std::string cursor;
  query_value(call->request.query(), "cursor", cursor);
  reads_->read<store::MemberPage>(
      chat::partition_of(*conversation, partitions_),
      [this, user = call->identity.user, id = *conversation, cursor, limit](store::Callback<store::Snapshot<store::MemberPage>> done) {
        ports_.reader.members(user, id, cursor, static_cast<std::uint32_t>(std::clamp<std::uint64_t>(limit, 1, kMembersMax)), std::move(done));
      },
      [this, call](std::expected<BarrierReads::Fresh<store::MemberPage>, Unavailable> found) {
        if (!found) return refuse(call, Code::unavailable, "the store does not answer", kUnavailableRetryMs);
        if (found->value.standing == store::Standing::stranger) return refuse(call, Code::not_found, "there is no such conversation");
        if (found->value.standing == store::Standing::former) return refuse(call, Code::not_member, "you are not a member any more");
        rest::v1::MemberPage page;
        for (auto& row : found->value.items) {
          auto& member = *page.add_items();
          set_user(*member.mutable_user(), {row.user, row.username, row.display_name});
          member.set_role(row.role == chat::Role::owner ? "owner" : row.role == chat::Role::admin ? "admin" : "member");
          if (row.muted_until) member.set_muted_until_ms(row.muted_until->value);
        }
        page.set_next_cursor(found->value.next_cursor);
        answer(call, page);
      });
}

void Rest::add_members(CallPtr call) {
  client::Frame frame;
  auto& add = *frame.mutable_add_members();
  if (!read_body(call, add)) return;
  add.set_conversation(call->parameters[0]);
  bool resend = add.resend();
  fill_id(call, *add.mutable_op_id(), resend);
  add.set_resend(resend);
  ask_result(std::move(call), std::move(frame));
}

void Rest::remove_member(CallPtr call) {
  client::Frame frame;
  std::string id;
  bool resend = false;
  fill_id(call, id, resend);
  if (call->parameters[1] == "me" || call->parameters[1] == chat::to_text(call->identity.user)) {
    auto& leave = *frame.mutable_leave();
    leave.set_conversation(call->parameters[0]);
    leave.set_op_id(id);
    leave.set_resend(resend);
  } else {
    auto& remove = *frame.mutable_remove_members();
    remove.set_conversation(call->parameters[0]);
    remove.set_op_id(id);
    remove.set_resend(resend);
    remove.add_users(call->parameters[1]);
  }
  ask_result(std::move(call), std::move(frame));
}

void Rest::patch_member(CallPtr call) {
  rest::v1::MemberPatch body;
  if (!read_body(call, body)) return;
  if (body.has_role() == body.has_muted_until_ms()) return refuse(call, Code::invalid, "one of role and mutedUntilMs at a time");
  client::Frame frame;
  std::string id;
  bool resend = false;
  fill_id(call, id, resend);
  if (body.has_role()) {
    auto& role = *frame.mutable_set_role();
    role.set_conversation(call->parameters[0]);
    role.set_op_id(id);
    role.set_resend(resend);
    role.set_user(call->parameters[1]);
    role.set_role(body.role());
  } else {
    auto& mute = *frame.mutable_mute();
    mute.set_conversation(call->parameters[0]);
    mute.set_op_id(id);
    mute.set_resend(resend);
    mute.set_user(call->parameters[1]);
    mute.set_until_ms(body.muted_until_ms());
    mute.set_off(body.muted_until_ms() == 0);
  }
  ask_result(std::move(call), std::move(frame));
}

// ---- messages ------------------------------------------------------------------------------------------------------------

void Rest::list_messages(CallPtr call) {
  std::uint64_t before = 0, after = 0, around = 0, limit = 0;
  if (!read_number(call, "beforeSeq", kAnySeq, before) || !read_number(call, "afterSeq", kAnySeq, after) || !read_number(call, "aroundSeq", kAnySeq, around) ||
      !read_number(call, "limit", std::numeric_limits<std::uint32_t>::max(), limit)) {
    return;
  }
  auto conversation = chat::parse_id<chat::ConversationId>(call->parameters[0]);
  if (!conversation) return refuse(call, Code::not_found, "there is no such conversation");
  std::string ignored;
  if (query_value(call->request.query(), "aroundSeq", ignored)) {
    if (!may_read(call)) return;  // without aroundSeq Core counts it
    if (before || after) return refuse(call, Code::invalid, "aroundSeq goes without beforeSeq and afterSeq");
    auto wanted = limit ? std::min<std::uint64_t>(limit, chat::kHistoryMax) : chat::kHistoryDefault;
    return messages_around(call, {.user = call->identity.user,
                                  .conversation = *conversation,
                                  .before = {},
                                  .after = {},
                                  .around = chat::Seq{around},
                                  .limit = static_cast<std::uint32_t>(wanted)});
  }
  client::Frame frame;
  auto& history = *frame.mutable_history();
  history.set_conversation(call->parameters[0]);
  history.set_before_seq(before);
  history.set_after_seq(after);
  history.set_limit(static_cast<std::uint32_t>(limit));
  ask(call, std::move(frame), [this, call](const client::Frame& reply) {
    rest::v1::MessagePage page;
    *page.mutable_events() = reply.history_page().events();
    page.set_more(reply.history_page().more());
    answer(call, page);
  });
}

// D25: half before, the event itself, half after. The WebSocket protocol has no such request.
void Rest::messages_around(CallPtr call, store::HistoryQuery query) {
  auto partition = chat::partition_of(query.conversation, partitions_);
  reads_->read<store::HistoryResult>(
      partition,
      [this, query = std::move(query)](store::Callback<store::Snapshot<store::HistoryResult>> done) { ports_.reader.history(query, std::move(done)); },
      [this, call](std::expected<BarrierReads::Fresh<store::HistoryResult>, Unavailable> found) {
        if (!found) return refuse(call, Code::unavailable, "the store does not answer", kUnavailableRetryMs);
        if (found->value.standing == store::Standing::stranger) return refuse(call, Code::not_found, "there is no such conversation");
        rest::v1::MessagePage page;
        std::size_t bytes = 0;
        page.set_more(found->value.more);
        for (auto& stored : found->value.events) {
          auto event = event_of(stored, ports_.clock.wall());
          bytes += event.ByteSizeLong();
          if (bytes > chat::kPageBytes && page.events_size() > 0) {  // D6
            page.set_more(true);
            break;
          }
          *page.add_events() = std::move(event);
        }
        answer(call, page);
      });
}

void Rest::post_message(CallPtr call) {
  client::Frame frame;
  auto& send = *frame.mutable_send();
  if (!read_body(call, send)) return;
  send.set_conversation(call->parameters[0]);
  bool resend = send.resend();
  fill_id(call, *send.mutable_client_msg_id(), resend);
  send.set_resend(resend);
  ask(call, std::move(frame), [this, call](const client::Frame& reply) {
    if (reply.has_send_ack()) return answer(call, reply.send_ack(), 201);
    answer(call, reply.result(), 201);  // D23: scheduled
  });
}

void Rest::post_read(CallPtr call) {
  client::Frame frame;
  auto& read = *frame.mutable_mark_read();
  if (!read_body(call, read)) return;
  read.set_conversation(call->parameters[0]);
  ask_result(std::move(call), std::move(frame));
}

}  // namespace parley::gateway::http
