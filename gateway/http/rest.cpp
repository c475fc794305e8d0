#include "gateway/http/rest.h"

#include <google/protobuf/descriptor.pb.h>
#include <openssl/sha.h>

#include <algorithm>
#include <charconv>

namespace parley::gateway::http {

using chat::Code;

namespace {
constexpr std::uint32_t kReadRetryMs = 100;
}

const std::vector<Rest::Entry>& Rest::entries() {
  static const std::vector<Entry> all{
      {{"POST", "/v1/auth/register"}, Access::open, &Rest::register_user},
      {{"POST", "/v1/auth/login"}, Access::open, &Rest::log_in},
      {{"POST", "/v1/auth/refresh"}, Access::open, &Rest::refresh},
      {{"POST", "/v1/auth/logout"}, Access::token, &Rest::log_out},
      {{"GET", "/v1/users/me"}, Access::read, &Rest::get_me},
      {{"PATCH", "/v1/users/me"}, Access::read, &Rest::patch_me},
      {{"GET", "/v1/users"}, Access::read, &Rest::search_users},
      {{"GET", "/v1/users/{user}"}, Access::read, &Rest::get_user},
      {{"GET", "/v1/conversations"}, Access::token, &Rest::list_conversations},
      {{"POST", "/v1/conversations"}, Access::token, &Rest::create_conversation},
      {{"GET", "/v1/conversations/{conversation}"}, Access::read, &Rest::get_conversation},
      {{"PATCH", "/v1/conversations/{conversation}"}, Access::token, &Rest::patch_conversation},
      {{"DELETE", "/v1/conversations/{conversation}"}, Access::token, &Rest::delete_conversation},
      {{"GET", "/v1/conversations/{conversation}/members"}, Access::read, &Rest::list_members},
      {{"POST", "/v1/conversations/{conversation}/members"}, Access::token, &Rest::add_members},
      {{"PATCH", "/v1/conversations/{conversation}/members/{user}"}, Access::token, &Rest::patch_member},
      {{"DELETE", "/v1/conversations/{conversation}/members/{user}"}, Access::token, &Rest::remove_member},
      {{"GET", "/v1/conversations/{conversation}/messages"}, Access::token, &Rest::list_messages},
      {{"POST", "/v1/conversations/{conversation}/messages"}, Access::token, &Rest::post_message},
      {{"POST", "/v1/conversations/{conversation}/read"}, Access::token, &Rest::post_read},
      {{"GET", "/v1/openapi.json"}, Access::open, &Rest::get_openapi},
      {{"GET", "/v1/proto"}, Access::open, &Rest::get_proto},
  };
  return all;
}

std::vector<Rest::Route> Rest::routes() {
  std::vector<Route> out;
  for (auto& entry : entries()) out.push_back(entry.route);
  return out;
}

bool Rest::match(std::string_view pattern, std::string_view path, std::vector<std::string>& parameters) {
  parameters.clear();
  while (!pattern.empty() && !path.empty()) {
    auto pattern_end = std::min(pattern.find('/', 1), pattern.size()), path_end = std::min(path.find('/', 1), path.size());
    auto want = pattern.substr(0, pattern_end), have = path.substr(0, path_end);
    if (want.starts_with("/{")) {
      std::string value;
      if (have.size() < 2 || !percent_decode(have.substr(1), value, false)) return false;
      parameters.push_back(std::move(value));
    } else if (want != have) {
      return false;
    }
    pattern.remove_prefix(pattern_end);
    path.remove_prefix(path_end);
  }
  return pattern.empty() && path.empty();
}

Rest::Rest(RestSettings settings, Ports ports, std::uint64_t seed)
    : settings_(std::move(settings)),
      ports_(ports),
      ids_(seed),
      registers_(settings_.register_rate),
      logins_(settings_.login_rate),
      failures_(settings_.failure_rate) {}

void Rest::start(Core& core, BarrierReads& reads, std::uint32_t partitions) {
  core_ = &core;
  reads_ = &reads;
  partitions_ = partitions;
}

// ---- CORS: exact allow-list, no wildcards, no credentials (tokens travel in a header) -----------------------------------

void Rest::add_cors(const Request& request, Response& response) const {
  if (settings_.allowed_origins.empty()) return;
  response.headers.emplace_back("Vary", "Origin");
  auto origin = request.header("Origin");
  if (std::find(settings_.allowed_origins.begin(), settings_.allowed_origins.end(), origin) == settings_.allowed_origins.end()) return;
  response.headers.emplace_back("Access-Control-Allow-Origin", origin);
  response.headers.emplace_back("Access-Control-Expose-Headers", "Retry-After");
  if (request.method != "OPTIONS") return;
  response.headers.emplace_back("Access-Control-Allow-Methods", "GET, POST, PATCH, DELETE");
  response.headers.emplace_back("Access-Control-Allow-Headers", "Authorization, Content-Type, Idempotency-Key");
  response.headers.emplace_back("Access-Control-Max-Age", "600");
}

void Rest::handle(Request request, Respond respond) {
  auto call = std::make_shared<Call>();
  call->request = std::move(request);
  call->respond = [this, weak = std::weak_ptr(call), respond = std::move(respond)](Response response) mutable {
    if (auto self = weak.lock()) add_cors(self->request, response);
    respond(std::move(response));
  };
  if (call->request.method == "OPTIONS") return call->respond(Response{.status = 204, .content_type = {}, .body = {}, .headers = {}});
  if (!core_) return refuse(call, Code::unavailable, "starting");

  std::string allow;
  for (auto& entry : entries()) {
    if (!match(entry.route.path, call->request.path(), call->parameters)) continue;
    if (entry.route.method == call->request.method) return entry.access == Access::open ? (this->*entry.handler)(call) : authenticate(call, entry);
    // "/v1/users/me" is not also a user id, and so the first pattern that fits a path is the one meant.
    allow.append(allow.empty() ? "" : ", ").append(entry.route.method);
  }
  if (allow.empty()) return refuse(call, Code::not_found, "there is nothing at this path");
  auto response = problem(405, Code::unsupported, "this path does not take this method");
  response.headers.emplace_back("Allow", allow);
  call->respond(std::move(response));
}

// ---- authentication ------------------------------------------------------------------------------------------------------

void Rest::authenticate(CallPtr call, const Entry& entry) {
  constexpr std::string_view kBearer = "Bearer ";
  auto value = call->request.header("Authorization");
  if (value.size() <= kBearer.size() || !equal_ignoring_case(std::string_view(value).substr(0, kBearer.size()), kBearer)) {
    return refuse(call, Code::unauthenticated, "a bearer token is needed");
  }
  auto identity = ports_.tokens.verify(std::string_view(value).substr(kBearer.size()), ports_.clock.wall());
  if (!identity) return refuse(call, Code::unauthenticated, identity.error() == TokenFault::expired ? "the token has expired" : "the token is not valid");
  call->identity = *identity;
  if (entry.access == Access::read && !may_read(call)) return;

  auto now = ports_.clock.steady();
  while (!open_logins_.empty() && (open_logins_.size() > kRemembered || now.value - open_logins_.back().second.value >= kRememberMs)) {
    open_by_id_.erase(open_logins_.back().first);
    open_logins_.pop_back();
  }
  if (open_by_id_.contains(identity->login)) return (this->*entry.handler)(std::move(call));
  ports_.accounts.login_open(identity->login, [this, call, handler = entry.handler](store::Result<bool> open) {
    if (!open) return refuse(call, open.error());
    if (!*open) return refuse(call, Code::unauthenticated, "this login session has ended");
    if (!open_by_id_.contains(call->identity.login)) {
      open_logins_.emplace_front(call->identity.login, ports_.clock.steady());
      open_by_id_.emplace(call->identity.login, open_logins_.begin());
    }
    (this->*handler)(call);
  });
}

void Rest::on_login_ended(std::optional<chat::LoginId> login) {
  if (!login) {
    open_logins_.clear();
    open_by_id_.clear();
  } else if (auto found = open_by_id_.find(*login); found != open_by_id_.end()) {
    open_logins_.erase(found->second);
    open_by_id_.erase(found);
  }
}

// ---- for handlers --------------------------------------------------------------------------------------------------------

void Rest::refuse(const CallPtr& call, Code code, std::string_view detail, std::uint32_t retry_after_ms) {
  call->respond(problem(code, detail, retry_after_ms));
}

void Rest::refuse(const CallPtr& call, const store::Error& error) {
  switch (error.code) {
    case store::Errc::conflict:
      return refuse(call, Code::conflict, "already taken");
    case store::Errc::unavailable:
      return refuse(call, Code::unavailable, "the database does not answer");
    default:
      return refuse(call, Code::internal, "the database refuses");
  }
}

void Rest::answer(const CallPtr& call, const google::protobuf::Message& message, unsigned status) {
  Response response;
  response.status = status;
  writer_.write(message, response.body, json::EmptyLists::show);
  response.headers.emplace_back("Cache-Control", "no-store");
  call->respond(std::move(response));
}

bool Rest::read_body(const CallPtr& call, google::protobuf::Message& out) {
  auto read = reader_.message(call->request.body, out);
  if (auto* invalid = std::get_if<json::Invalid>(&read)) {
    refuse(call, Code::invalid, invalid->message);
    return false;
  }
  if (auto* not_json = std::get_if<json::NotJson>(&read)) {
    refuse(call, Code::invalid, not_json->message);
    return false;
  }
  return true;
}

// A query parameter of decimal digits; absent leaves `out` alone.
bool Rest::read_number(const CallPtr& call, std::string_view name, std::uint64_t max, std::uint64_t& out) {
  std::string text;
  if (!query_value(call->request.query(), name, text)) return true;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (error == std::errc{} && end == text.data() + text.size() && out <= max) return true;
  refuse(call, Code::invalid, std::string(name) + " is not a number in range");
  return false;
}

bool Rest::within_rate(const CallPtr& call, KeyedBuckets& buckets) {
  auto wait_ms = buckets.take(call->request.address, ports_.clock.steady());
  if (wait_ms == 0) return true;
  refuse(call, Code::rate_limited, "too many requests from this address", wait_ms);
  return false;
}

bool Rest::may_read(const CallPtr& call) {
  if (core_->take_read(call->identity.user)) return true;
  refuse(call, Code::rate_limited, "too many requests", kReadRetryMs);
  return false;
}

void Rest::fill_id(const CallPtr& call, std::string& id, bool& resend) {
  if (!id.empty()) return;
  auto key = call->request.header("Idempotency-Key");
  if (key.empty()) {
    id = chat::uuid_text(ids_.next(ports_.clock.wall()));
    return;
  }
  // The same user, path and key always mean the same id, on every gateway: every transmission may be a repeat (D18).
  std::string named = std::string(call->identity.user.view()) + call->request.method + " " + std::string(call->request.path()) + "\n" + key;
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest;
  SHA256(reinterpret_cast<const unsigned char*>(named.data()), named.size(), digest.data());
  std::array<std::uint8_t, 16> bytes;
  std::copy_n(digest.begin(), 16, bytes.begin());
  bytes[6] = static_cast<std::uint8_t>((bytes[6] & 0x0f) | 0x80);  // UUIDv8
  bytes[8] = static_cast<std::uint8_t>((bytes[8] & 0x3f) | 0x80);
  id = chat::uuid_text(bytes);
  resend = true;
}

void Rest::ask(CallPtr call, client::Frame frame, Done done) {
  auto user = call->identity.user;
  core_->request(user, std::move(frame), [call = std::move(call), done = std::move(done)](client::Frame reply) mutable {
    if (!reply.has_nack()) return done(reply);
    auto& nack = reply.nack();
    auto code = Code::internal;
    for (auto known = static_cast<int>(Code::invalid); known <= static_cast<int>(Code::internal); ++known) {
      if (chat::name(static_cast<Code>(known)) == nack.code()) code = static_cast<Code>(known);
    }
    refuse(call, code, nack.message(), nack.retry_after_ms());
  });
}

void Rest::ask_result(CallPtr call, client::Frame frame) {
  ask(call, std::move(frame), [this, call](const client::Frame& reply) { answer(call, reply.result()); });
}

// ---- what describes this API ---------------------------------------------------------------------------------------------

void Rest::get_openapi(CallPtr call) { call->respond({.status = 200, .content_type = "application/json", .body = std::string(kOpenApi), .headers = {}}); }

void Rest::get_proto(CallPtr call) {  // D45
  google::protobuf::FileDescriptorSet set;
  client::Frame::descriptor()->file()->CopyTo(set.add_file());
  call->respond({.status = 200, .content_type = "application/protobuf", .body = set.SerializeAsString(), .headers = {}});
}

}  // namespace parley::gateway::http
