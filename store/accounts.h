// Users and login sessions: the one part of PostgreSQL that gateways write themselves, because it is not conversation state.
//
// Asynchronous, on the owner's thread. Passwords come already hashed (argon2id, hashed on a bounded pool by the caller);
// refresh tokens come as SHA-256 of the token: neither is ever stored or logged in the clear.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "store/store.h"

namespace parley::store {

using chat::LoginId;

struct User {
  UserId id;
  std::string username, display_name;
};

struct Credentials {
  User user;
  std::string password_hash;  // argon2id, encoded form
};

using TokenHash = std::array<std::uint8_t, 32>;

struct Rotation {
  enum class Outcome : std::uint8_t { rotated, unknown, expired, reused } outcome = Outcome::unknown;
  UserId user;
  LoginId login;
};

class Accounts {
 public:
  virtual ~Accounts() = default;
  // Errc::conflict when the username is taken (case-insensitively).
  virtual void create_user(User user, std::string password_hash, Callback<void> done) = 0;
  virtual void credentials(std::string username, Callback<std::optional<Credentials>> done) = 0;
  virtual void user(UserId id, Callback<std::optional<User>> done) = 0;
  virtual void users(std::vector<UserId> ids, Callback<std::vector<User>> done) = 0;  // those that exist
  virtual void search(std::string prefix, std::uint32_t limit, Callback<std::vector<User>> done) = 0;
  virtual void rename(UserId id, std::string display_name, Callback<std::optional<User>> done) = 0;

  virtual void open_login(UserId user, LoginId login, std::string device, TokenHash refresh, TimeMs expires, Callback<void> done) = 0;
  // D13: rotates a refresh token; reuse of an old one ends the login session.
  virtual void rotate(TokenHash old_token, TokenHash new_token, TimeMs now, TimeMs expires, Callback<Rotation> done) = 0;
  virtual void end_login(UserId user, LoginId login, Callback<void> done) = 0;
  virtual void end_all_logins(UserId user, Callback<void> done) = 0;
  // Whether the login session is still in force.
  virtual void login_open(LoginId login, Callback<bool> done) = 0;
  // Logins that ended, told soon after (NOTIFY), so that every gateway closes their sockets within 1 s (D13); an end may be told more
  // than once.
  virtual void on_login_ended(std::move_only_function<void(UserId, std::optional<LoginId>, bool revoked)> ended) = 0;
};

}  // namespace parley::store
