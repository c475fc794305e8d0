// POST /v1/auth/...: accounts and login sessions (D13).
#include "gateway/http/rest.h"

namespace parley::gateway::http {

using chat::Code;

namespace {

constexpr std::size_t kLeastPassword = 8, kMostPassword = 128;  // characters

// 3-32 of a-z 0-9 . _ - ; upper case is read as lower case. Empty: not a username.
std::string normal_username(std::string_view text) {
  if (text.size() < 3 || text.size() > 32) return {};
  std::string out;
  for (char c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
    bool good = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
    if (!good) return {};
    out.push_back(c);
  }
  return out;
}

bool valid_device(std::string_view text) {
  return text.size() <= 64 && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
         });
}

constexpr std::uint32_t kBusyRetryMs = 2'000;

}  // namespace

void Rest::register_user(CallPtr call) {
  rest::v1::Register body;
  if (!within_rate(call, registers_) || !read_body(call, body)) return;
  auto username = normal_username(body.username());
  if (username.empty()) return refuse(call, Code::invalid, "username: 3-32 of a-z 0-9 . _ -");
  auto password_length = characters(body.password()), name_length = characters(body.display_name());
  if (password_length < kLeastPassword || password_length > kMostPassword) return refuse(call, Code::invalid, "password: 8-128 characters");
  if (name_length < 1 || name_length > 64) return refuse(call, Code::invalid, "displayName: 1-64 characters");

  // With an Idempotency-Key the id follows from it, and so a repeat can be told from somebody else's name.
  std::string id;
  bool repeatable = false;
  fill_id(call, id, repeatable);
  store::User user{*chat::parse_id<chat::UserId>(id), username, body.display_name()};
  auto hashed = [this, call, user, repeatable, password = body.password()](std::string encoded) mutable {
    ports_.accounts.create_user(user, std::move(encoded), [this, call, user, repeatable, password = std::move(password)](store::Result<void> made) mutable {
      if (made) return open_login(call, user, "", 201);
      if (made.error().code != store::Errc::conflict || !repeatable) return refuse(call, made.error());
      ports_.accounts.credentials(
          user.username, [this, call, user, password = std::move(password)](store::Result<std::optional<store::Credentials>> found) mutable {
            if (!found) return refuse(call, found.error());
            if (!*found || (*found)->user.id != user.id) return refuse(call, Code::conflict, "this username is taken");
            bool queued = ports_.passwords.verify(std::move(password), (*found)->password_hash, [this, call, known = (*found)->user](bool right) {
              if (!right) return refuse(call, Code::conflict, "this username is taken");
              open_login(call, known, "", 201);
            });
            if (!queued) refuse(call, Code::unavailable, "too many logins at once", kBusyRetryMs);
          });
    });
  };
  if (!ports_.passwords.hash(body.password(), std::move(hashed))) refuse(call, Code::unavailable, "too many logins at once", kBusyRetryMs);
}

void Rest::log_in(CallPtr call) {
  rest::v1::Login body;
  if (!within_rate(call, logins_) || !read_body(call, body)) return;
  if (!valid_device(body.device_id())) return refuse(call, Code::invalid, "deviceId: 1-64 of A-Z a-z 0-9 . _ -");
  if (characters(body.password()) > kMostPassword) return refuse(call, Code::unauthenticated, "wrong username or password");
  auto username = normal_username(body.username());
  // Taken before the password is looked at, or many guesses at once would all be checked. For names that nobody has, too: they cannot be told apart.
  if (auto wait_ms = username.empty() ? 0 : failures_.take(username, ports_.clock.steady()))
    return refuse(call, Code::rate_limited, "too many wrong passwords for this username", wait_ms);
  auto check = [this, call, username, password = body.password(), device = body.device_id()](store::Result<std::optional<store::Credentials>> found) mutable {
    if (!found) {
      failures_.give_back(username);
      return refuse(call, found.error());
    }
    // Nobody's password takes as long to check as a wrong one: usernames cannot be told by the clock.
    auto hash = *found ? (*found)->password_hash : std::string();
    auto user = *found ? (*found)->user : store::User{};
    bool queued = ports_.passwords.verify(std::move(password), std::move(hash), [this, call, user, username, device = std::move(device)](bool right) mutable {
      if (!right) return refuse(call, Code::unauthenticated, "wrong username or password");
      failures_.give_back(username);
      open_login(call, user, std::move(device), 200);
    });
    if (queued) return;
    failures_.give_back(username);
    refuse(call, Code::unavailable, "too many logins at once", kBusyRetryMs);
  };
  if (username.empty()) return check(std::optional<store::Credentials>{});
  ports_.accounts.credentials(username, std::move(check));
}

void Rest::open_login(CallPtr call, const store::User& user, std::string device, unsigned status) {
  chat::LoginId login{ids_.next(ports_.clock.wall())};
  auto token = new_refresh_token();
  auto hash = hash_token(token);
  chat::TimeMs expires{ports_.clock.wall().value + settings_.refresh_token_ms};
  ports_.accounts.open_login(user.id, login, std::move(device), hash, expires,
                             [this, call, user, login, token = std::move(token), status](store::Result<void> opened) mutable {
                               if (!opened) return refuse(call, opened.error());
                               answer_login(call, user, login, std::move(token), status);
                             });
}

void Rest::answer_login(const CallPtr& call, const store::User& user, chat::LoginId login, std::string refresh_token, unsigned status) {
  auto now = ports_.clock.wall();
  rest::v1::LoginSession session;
  set_user(*session.mutable_user(), user);
  session.set_access_token(ports_.tokens.issue({user.id, login, {now.value + settings_.access_token_ms}}, now));
  session.set_refresh_token(std::move(refresh_token));
  session.set_expires_in_ms(settings_.access_token_ms);
  answer(call, session, status);
}

void Rest::refresh(CallPtr call) {
  rest::v1::Refresh body;
  if (!within_rate(call, logins_) || !read_body(call, body)) return;
  auto fresh = new_refresh_token();
  auto now = ports_.clock.wall();
  auto rotated = [this, call, fresh](store::Result<store::Rotation> rotation) {
    if (!rotation) return refuse(call, rotation.error());
    if (rotation->outcome != store::Rotation::Outcome::rotated) return refuse(call, Code::unauthenticated, "this refresh token is not valid (any more)");
    ports_.accounts.user(rotation->user, [this, call, fresh, login = rotation->login](store::Result<std::optional<store::User>> user) {
      if (!user) return refuse(call, user.error());
      if (!*user) return refuse(call, Code::unauthenticated, "there is no such user any more");
      answer_login(call, **user, login, fresh, 200);
    });
  };
  ports_.accounts.rotate(hash_token(body.refresh_token()), hash_token(fresh), now, {now.value + settings_.refresh_token_ms}, std::move(rotated));
}

void Rest::log_out(CallPtr call) {
  rest::v1::Logout body;
  if (!call->request.body.empty() && !read_body(call, body)) return;
  auto done = [this, call, all = body.all()](store::Result<void> ended) {
    if (!ended) return refuse(call, ended.error());
    on_login_ended(all ? std::nullopt : std::optional(call->identity.login));
    call->respond({.status = 204, .content_type = {}, .body = {}, .headers = {}});
  };
  if (body.all()) return ports_.accounts.end_all_logins(call->identity.user, std::move(done));
  ports_.accounts.end_login(call->identity.user, call->identity.login, std::move(done));
}

}  // namespace parley::gateway::http
