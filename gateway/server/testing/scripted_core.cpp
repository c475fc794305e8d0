#include "gateway/server/testing/scripted_core.h"

#include <cstdlib>

#include "gateway/json/json.h"

namespace parley::gateway {

namespace {
testing::Script* current = nullptr;
}

namespace testing {

Script& script() { return *current; }

namespace {

// Ports that nobody asks: the scripted Core has no use for them.
struct NoProducer final : eventlog::Producer {
  std::expected<void, eventlog::Error> produce(chat::Partition, std::string_view, std::string_view, std::string_view,
                                               std::move_only_function<void(std::expected<chat::Offset, eventlog::Error>)>) override {
    std::abort();
  }
  void purge(chat::Partition) override { std::abort(); }
  void flush(std::move_only_function<void()>) override { std::abort(); }
};
struct NoLog final : eventlog::Log {
  void open(eventlog::Callback<eventlog::Topic>) override { std::abort(); }
  void ends(eventlog::Callback<std::vector<chat::Offset>>) override { std::abort(); }
  void begins(eventlog::Callback<std::vector<chat::Offset>>) override { std::abort(); }
  void since(chat::TimeMs, eventlog::Callback<std::vector<std::optional<chat::Offset>>>) override { std::abort(); }
  void committed(std::string, eventlog::Callback<std::vector<std::optional<chat::Offset>>>) override { std::abort(); }
  void trim(chat::Partition, chat::Offset, eventlog::Callback<void>) override { std::abort(); }
  std::unique_ptr<eventlog::Producer> producer() override { std::abort(); }
  std::unique_ptr<eventlog::Consumer> consumer(eventlog::ConsumerOptions, eventlog::ConsumerEvents&) override { std::abort(); }
};
struct NoReader final : store::Reader {
  void identity(store::Callback<std::optional<store::Identity>>) override { std::abort(); }
  void positions(store::Callback<store::Positions>) override { std::abort(); }
  void on_moved(std::move_only_function<void(chat::Partition, chat::Offset)>) override { std::abort(); }
  void cold_load(chat::ConversationId, chat::Partition, chat::Offset, store::Callback<store::ColdLoad>) override { std::abort(); }
  void look_up(std::vector<store::LookUp>, store::Callback<store::Snapshot<std::vector<store::LookedUp>>>) override { std::abort(); }
  void resume(store::ResumeQuery, store::Callback<store::Snapshot<store::ResumeResult>>) override { std::abort(); }
  void history(store::HistoryQuery, store::Callback<store::Snapshot<store::HistoryResult>>) override { std::abort(); }
  void summaries(chat::UserId, std::string, std::uint32_t, store::Callback<store::Snapshot<store::SummaryPage>>) override { std::abort(); }
  void details(chat::UserId, chat::ConversationId, store::Callback<store::Snapshot<store::Details>>) override { std::abort(); }
  void standing(chat::UserId, chat::ConversationId, store::Callback<store::Snapshot<store::Standing>>) override { std::abort(); }
  void mark_target(chat::UserId, chat::ConversationId, chat::Seq, store::Callback<store::Snapshot<store::MarkTarget>>) override { std::abort(); }
  void members(chat::UserId, chat::ConversationId, std::string, std::uint32_t, store::Callback<store::Snapshot<store::MemberPage>>) override { std::abort(); }
};
struct NoAccounts final : store::Accounts {
  void create_user(store::User, std::string, store::Callback<void>) override { std::abort(); }
  void credentials(std::string, store::Callback<std::optional<store::Credentials>>) override { std::abort(); }
  void user(chat::UserId, store::Callback<std::optional<store::User>>) override { std::abort(); }
  void users(std::vector<chat::UserId>, store::Callback<std::vector<store::User>>) override { std::abort(); }
  void search(std::string, std::uint32_t, store::Callback<std::vector<store::User>>) override { std::abort(); }
  void rename(chat::UserId, std::string, store::Callback<std::optional<store::User>>) override { std::abort(); }
  void open_login(chat::UserId, chat::LoginId, std::string, store::TokenHash, chat::TimeMs, store::Callback<void>) override { std::abort(); }
  void rotate(store::TokenHash, store::TokenHash, chat::TimeMs, chat::TimeMs, store::Callback<store::Rotation>) override { std::abort(); }
  void end_login(chat::UserId, chat::LoginId, store::Callback<void>) override { std::abort(); }
  void end_all_logins(chat::UserId, store::Callback<void>) override { std::abort(); }
  void login_open(chat::LoginId, store::Callback<bool>) override { std::abort(); }
  void on_login_ended(std::move_only_function<void(chat::UserId, std::optional<chat::LoginId>, bool)>) override { std::abort(); }
};
struct NoLinks final : Links {
  void send(RouterId, link::Up) override { std::abort(); }
  void break_stream(RouterId) override { std::abort(); }
};
struct NoTokens final : Tokens {
  std::expected<Identity, TokenFault> verify(std::string_view, chat::TimeMs) const override { std::abort(); }
};

}  // namespace

std::unique_ptr<Core> make_scripted_core(Sockets& sockets) {
  static runtime::SystemClock clock;
  static NoLog log;
  static NoProducer producer;
  static NoLinks links;
  static NoTokens tokens;
  static NoReader reader;
  static NoAccounts accounts;
  return std::make_unique<Core>(Settings{}, Ports{clock, log, producer, reader, accounts, sockets, links, tokens}, 1, eventlog::Topic{},
                                std::vector<chat::Offset>{}, "scripted");
}

}  // namespace testing

class Core::Impl {
 public:
  testing::Script script;
};

Core::Core(Settings, Ports ports, std::uint64_t, eventlog::Topic, std::vector<chat::Offset>, std::string) : impl_(std::make_unique<Impl>()) {
  impl_->script.sockets = &ports.sockets;
  current = &impl_->script;
}
Core::~Core() { current = nullptr; }

namespace {
std::string number(ConnectionId id) { return " " + std::to_string(static_cast<std::uint32_t>(id.value)); }
}  // namespace

void Core::on_open(ConnectionId id) { impl_->script.log.push_back("open" + number(id)); }
void Core::on_frame(ConnectionId id, client::Frame&& frame) {
  std::string text;
  json::Writer().write(frame, text);
  impl_->script.log.push_back("frame" + number(id) + " " + text);
  if (impl_->script.on_frame) impl_->script.on_frame(id, std::move(frame));
}
void Core::on_invalid(ConnectionId id, std::uint32_t req_id, std::string client_msg_id, std::string op_id, std::string) {
  impl_->script.log.push_back("invalid" + number(id) + " " + std::to_string(req_id) + " " + client_msg_id + op_id);
}
void Core::fail(ConnectionId id, chat::Close close, std::string_view message) {
  impl_->script.log.push_back("fail" + number(id) + " " + std::to_string(static_cast<int>(close)));
  client::Frame frame;
  frame.mutable_error()->set_code(std::string(chat::name(chat::error_code(close))));
  frame.mutable_error()->set_message(std::string(message));
  impl_->script.sockets->send(id, std::make_shared<Outgoing>(std::move(frame)));
  impl_->script.sockets->close(id, static_cast<std::uint16_t>(close), chat::name(close));
}
void Core::on_alive(ConnectionId) { ++impl_->script.alive; }
void Core::on_closed(ConnectionId id) { impl_->script.log.push_back("closed" + number(id)); }
void Core::request(chat::UserId, client::Frame&&, std::move_only_function<void(client::Frame)>) {}
void Core::on_members(std::vector<std::string>) {}
void Core::on_link_open(RouterId) {}
void Core::on_link_down(RouterId, const link::Down&) {}
void Core::on_link_closed(RouterId) {}
void Core::on_login_ended(chat::UserId, std::optional<chat::LoginId>, bool) {}
void Core::on_tick() {}
void Core::drain(std::uint32_t, chat::TimeMs) {}
bool Core::drained() const { return true; }
bool Core::take_read(const chat::UserId&) { return true; }
Core::Stats Core::stats() const { return {}; }

}  // namespace parley::gateway
