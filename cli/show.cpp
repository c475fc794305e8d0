#include "cli/show.h"

#include <fmt/format.h>
#include <google/protobuf/util/json_util.h>

#include <ctime>

#include "chat/ids.h"

namespace parley::cli {

namespace asio = boost::asio;

asio::awaitable<std::string> Names::user(std::string id) {
  if (auto found = users_.find(id); found != users_.end()) co_return found->second;
  std::string name = id.substr(0, 8);
  try {
    auto user = co_await user_by_id(login_, id);
    name = user.username;
  } catch (const Failure&) {
    co_return name;  // shown by its id this time, asked for again the next
  }
  users_[id] = name;
  co_return name;
}

void Names::learn(const client::Summary& summary) { summaries_[summary.conversation()] = summary; }

asio::awaitable<std::string> Names::conversation(Connection& connection, std::string id) {
  if (!summaries_.contains(id)) {
    client::Frame ask;
    ask.mutable_conversations()->set_limit(200);
    auto answer = co_await connection.request(std::move(ask));
    for (const auto& summary : answer.conversation_page().items()) learn(summary);
  }
  auto found = summaries_.find(id);
  if (found == summaries_.end()) co_return id.substr(0, 8);
  const auto& summary = found->second;
  if (summary.kind() == "self") co_return "myself";
  if (summary.peer().empty()) co_return summary.title();
  auto name = co_await user(summary.peer());
  co_return name;
}

std::string json_line(const google::protobuf::Message& message) {
  std::string text;
  if (!google::protobuf::util::MessageToJsonString(message, &text).ok()) return "{}";
  return text;
}

std::string clock_text(std::uint64_t time_ms) {
  auto seconds = static_cast<std::time_t>(time_ms / 1000);
  std::tm local{};
  localtime_r(&seconds, &local);
  return fmt::format("{:02}:{:02}:{:02}", local.tm_hour, local.tm_min, local.tm_sec);
}

namespace {

// Text from strangers must not move the cursor or recolour the terminal.
std::string printable(std::string_view text) {
  std::string out;
  for (char c : text) {
    auto byte = static_cast<unsigned char>(c);
    if (c == '\n')
      out += "\n    ";
    else if (byte < 0x20 || byte == 0x7f)
      out += ' ';
    else
      out += c;
  }
  return out;
}

std::string content_text(const client::Message& message) {
  if (message.recalled()) return "(recalled)";
  if (message.expired()) return "(expired)";
  std::string text;
  switch (message.content_case()) {
    case client::Message::kText:
      text = printable(message.text().body());
      break;
    case client::Message::kImage:
      text = "(image)";
      break;
    case client::Message::kFile:
      text = "(file " + printable(message.file().name()) + ")";
      break;
    case client::Message::kAudio:
      text = "(audio)";
      break;
    case client::Message::kVideo:
      text = "(video)";
      break;
    case client::Message::kLocation:
      text = fmt::format("(location {} {})", message.location().latitude(), message.location().longitude());
      break;
    case client::Message::kCard:
      text = "(card " + printable(message.card().type()) + ")";
      break;
    case client::Message::kCipher:
      text = "(encrypted)";
      break;
    case client::Message::CONTENT_NOT_SET:
      text = "(empty)";
      break;
  }
  if (message.has_reply_to()) text = fmt::format("(to #{}) {}", message.reply_to().seq(), text);
  if (message.edited()) text += " (edited)";
  return text;
}

}  // namespace

asio::awaitable<std::string> event_line(client::Event event, Names& names, Connection& connection) {
  auto where = co_await names.conversation(connection, event.conversation());
  auto who = co_await names.user(event.sender());
  std::string what;
  switch (event.body_case()) {
    case client::Event::kMessage:
      what = ": " + content_text(event.message());
      break;
    case client::Event::kMembership: {
      what = " " + event.membership().change();
      for (const auto& user : event.membership().users()) {
        auto name = co_await names.user(user);
        what += " " + name;
      }
      if (!event.membership().title().empty()) what += " \"" + printable(event.membership().title()) + "\"";
      break;
    }
    case client::Event::kConversationChanged:
      what = event.conversation_changed().dissolved() ? " dissolved the group" : " changed the group";
      break;
    case client::Event::kRecalled:
      what = fmt::format(" recalled #{}", event.recalled().seq());
      break;
    case client::Event::kEdited:
      what = fmt::format(" edited #{}: {}", event.edited().seq(), printable(event.edited().text().body()));
      break;
    default:
      what = " (an event this client does not know)";
  }
  co_return fmt::format("{} [{} #{}] {}{}", clock_text(event.server_time_ms()), printable(where), event.seq(), who, what);
}

}  // namespace parley::cli
