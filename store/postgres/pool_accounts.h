// The Accounts port over a pool. Not for use outside of store/postgres/. Each call is one statement: one transaction.
#pragma once

#include "runtime/postgres/pool.h"
#include "store/accounts.h"

namespace parley::store::postgres {

class PoolAccounts final : public store::Accounts {
 public:
  explicit PoolAccounts(runtime::postgres::Pool& pool) : pool_(pool) {}
  void create_user(User user, std::string password_hash, Callback<void> done) override;
  void credentials(std::string username, Callback<std::optional<Credentials>> done) override;
  void user(UserId id, Callback<std::optional<User>> done) override;
  void users(std::vector<UserId> ids, Callback<std::vector<User>> done) override;
  void search(std::string prefix, std::uint32_t limit, Callback<std::vector<User>> done) override;
  void rename(UserId id, std::string display_name, Callback<std::optional<User>> done) override;
  void open_login(UserId user, LoginId login, std::string device, TokenHash refresh, TimeMs expires, Callback<void> done) override;
  void rotate(TokenHash old_token, TokenHash new_token, TimeMs now, TimeMs expires, Callback<Rotation> done) override;
  void end_login(UserId user, LoginId login, Callback<void> done) override;
  void end_all_logins(UserId user, Callback<void> done) override;
  void login_open(LoginId login, Callback<bool> done) override;
  void on_login_ended(std::move_only_function<void(UserId, std::optional<LoginId>, bool revoked)> ended) override { ended_ = std::move(ended); }

  // "<user> <login or *> <revoked or ended>", as the statements' NOTIFY says it.
  void on_notified(std::string_view payload);
  // Notifications may have been missed: tells again which logins ended lately.
  void on_listening();

 private:
  runtime::postgres::Pool& pool_;
  std::move_only_function<void(UserId, std::optional<LoginId>, bool)> ended_;
};

}  // namespace parley::store::postgres
