// REST v1 (protocol.md): routes, authentication, CORS; the handlers are in rest_auth.cpp, rest_users.cpp and
// rest_conversations.cpp. What exists is what `routes()` lists; openapi.json describes exactly that (a test compares).
//
// Everything that touches a conversation goes through Core::request, so that a socket and REST cannot differ; reads that Core
// has no frame for are behind the same kind of barrier (R14). One shard's thread. Bounds: the server's body limit, one request
// at a time per connection, the password queue, token buckets per address and username.
#pragma once

#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "gateway/auth/passwords.h"
#include "gateway/auth/tokens.h"
#include "gateway/core/barrier_reads.h"
#include "gateway/core/core.h"
#include "gateway/http/message.h"
#include "gateway/http/problem.h"
#include "gateway/json/json.h"
#include "gateway/server/keyed_buckets.h"
#include "parley/rest/v1/rest.pb.h"

namespace parley::gateway::http {

struct RestSettings {
  std::uint32_t access_token_ms = 15 * 60 * 1000;
  std::uint64_t refresh_token_ms = 30ull * 24 * 3600 * 1000;
  // Per address. A whole office may have one, and everybody there refreshes once in access_token_ms.
  Rate register_rate = {.per_minute = 10, .burst = 20}, login_rate = {.per_minute = 120, .burst = 120};
  Rate failure_rate = {.per_minute = 10, .burst = 20};  // wrong passwords per username, wherever they come from
  std::vector<std::string> allowed_origins = {};
};

class Rest {
 public:
  struct Ports {
    const runtime::Clock& clock;
    store::Reader& reader;
    store::Accounts& accounts;
    const JwtTokens& tokens;
    Passwords& passwords;
  };

  Rest(RestSettings settings, Ports ports, std::uint64_t seed);

  // Core and barrier are made after the server that calls `handle`; until they are here everything is `unavailable`.
  void start(Core& core, BarrierReads& reads, std::uint32_t partitions);
  void handle(Request request, Respond respond);
  // D13: takes effect at once, without waiting for what is remembered to grow old.
  void on_login_ended(std::optional<chat::LoginId> login);

  struct Route {
    std::string_view method, path;  // "/v1/users/{id}"
  };
  static std::vector<Route> routes();

 private:
  struct Call {
    Request request;
    Respond respond;
    std::vector<std::string> parameters;  // those of the path, decoded
    Identity identity{};
  };
  using CallPtr = std::shared_ptr<Call>;
  using Handler = void (Rest::*)(CallPtr);
  enum class Access : std::uint8_t {
    open,   // without a token
    token,  // with one; Core counts it where it passes through Core
    read,   // with one, and asks the store itself: counts as one of the user's reads (D21)
  };
  struct Entry {
    Route route;
    Access access;
    Handler handler;
  };
  static const std::vector<Entry>& entries();
  static bool match(std::string_view pattern, std::string_view path, std::vector<std::string>& parameters);

  void authenticate(CallPtr call, const Entry& entry);
  void add_cors(const Request& request, Response& response) const;

  // ---- for handlers
  static void refuse(const CallPtr& call, chat::Code code, std::string_view detail, std::uint32_t retry_after_ms = 0);
  static void refuse(const CallPtr& call, const store::Error& error);
  void answer(const CallPtr& call, const google::protobuf::Message& message, unsigned status = 200);
  // False where the body was not this message; the answer is then given.
  bool read_body(const CallPtr& call, google::protobuf::Message& out);
  static bool read_number(const CallPtr& call, std::string_view name, std::uint64_t max, std::uint64_t& out);
  bool within_rate(const CallPtr& call, KeyedBuckets& buckets);
  bool may_read(const CallPtr& call);
  // opId or clientMsgId: as given, else from Idempotency-Key (then `resend` is set), else a new one.
  void fill_id(const CallPtr& call, std::string& id, bool& resend);
  using Done = std::move_only_function<void(const client::Frame&)>;
  // A nack is answered here; anything else goes to `done`.
  void ask(CallPtr call, client::Frame frame, Done done);
  void ask_result(CallPtr call, client::Frame frame);

  // ---- rest_auth.cpp
  void register_user(CallPtr call);
  void log_in(CallPtr call);
  void refresh(CallPtr call);
  void log_out(CallPtr call);
  void open_login(CallPtr call, const store::User& user, std::string device, unsigned status);
  void answer_login(const CallPtr& call, const store::User& user, chat::LoginId login, std::string refresh_token, unsigned status);

  // ---- rest_users.cpp
  void get_me(CallPtr call);
  void patch_me(CallPtr call);
  void get_user(CallPtr call);
  void search_users(CallPtr call);

  // ---- rest_conversations.cpp
  void list_conversations(CallPtr call);
  void create_conversation(CallPtr call);
  void get_conversation(CallPtr call);
  void patch_conversation(CallPtr call);
  void delete_conversation(CallPtr call);
  void list_members(CallPtr call);
  void add_members(CallPtr call);
  void remove_member(CallPtr call);
  void patch_member(CallPtr call);
  void list_messages(CallPtr call);
  void messages_around(CallPtr call, store::HistoryQuery query);
  void post_message(CallPtr call);
  void post_read(CallPtr call);

  // ---- what describes this API
  void get_openapi(CallPtr call);
  void get_proto(CallPtr call);

  const RestSettings settings_;
  Ports ports_;
  Core* core_ = nullptr;
  BarrierReads* reads_ = nullptr;
  std::uint32_t partitions_ = 0;
  json::Reader reader_;
  json::Writer writer_;
  chat::IdGenerator ids_;
  KeyedBuckets registers_, logins_, failures_;

  // Logins found open less than a second ago (D13 allows a second), oldest last.
  static constexpr std::size_t kRemembered = 10'000;
  static constexpr std::uint64_t kRememberMs = 1'000;
  std::list<std::pair<chat::LoginId, chat::TimeMs>> open_logins_;
  std::unordered_map<chat::LoginId, std::list<std::pair<chat::LoginId, chat::TimeMs>>::iterator> open_by_id_;
};

// In rest_users.cpp.
void set_user(rest::v1::User& out, const store::User& user);
// Unicode characters of valid UTF-8.
std::size_t characters(std::string_view text);
// openapi.json, as committed.
extern const std::string_view kOpenApi;

}  // namespace parley::gateway::http
