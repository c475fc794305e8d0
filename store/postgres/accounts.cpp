#include "store/pages.h"
#include "store/postgres/errors.h"
#include "store/postgres/pool_accounts.h"
#include "store/postgres/rows.h"

namespace parley::store::postgres {

namespace {

using runtime::postgres::Pool;

std::string_view bytes_of(const TokenHash& hash) { return {reinterpret_cast<const char*>(hash.data()), hash.size()}; }

User read_user(const Row& row) { return {{row.uuid(0)}, std::string(row.text(1)), std::string(row.text(2))}; }

// Answers with what `read` makes of the rows.
template <class T, class Read>
std::move_only_function<void(Pool::Outcome)> answer(Callback<T> done, Read read) {
  return [done = std::move(done), read = std::move(read)](Pool::Outcome rows) mutable {
    if (!rows)
      done(std::unexpected(store_error(rows.error())));
    else
      done(read(*rows));
  };
}
std::move_only_function<void(Pool::Outcome)> answer(Callback<void> done) {
  return [done = std::move(done)](Pool::Outcome rows) mutable {
    if (!rows)
      done(std::unexpected(store_error(rows.error())));
    else
      done({});
  };
}

std::optional<User> first_user(const Rows& rows) {
  if (rows.empty()) return std::nullopt;
  return read_user(rows[0]);
}

std::vector<User> all_users(const Rows& rows) {
  std::vector<User> out;
  for (int i = 0; i < rows.size(); ++i) out.push_back(read_user(rows[i]));
  return out;
}

}  // namespace

void PoolAccounts::create_user(User user, std::string password_hash, Callback<void> done) {
  pool_.query("insert into users (id, username, display_name, password_hash) values ($1, $2, $3, $4)",
              Params().uuid(user.id.bytes).text(user.username).text(user.display_name).text(password_hash), answer(std::move(done)));
}

void PoolAccounts::credentials(std::string username, Callback<std::optional<Credentials>> done) {
  pool_.query("select id, username, display_name, password_hash from users where lower(username) collate \"C\" = lower($1)", Params().text(username),
              answer(std::move(done), [](const Rows& rows) -> std::optional<Credentials> {
                if (rows.empty()) return std::nullopt;
                return Credentials{read_user(rows[0]), std::string(rows[0].text(3))};
              }));
}

void PoolAccounts::user(UserId id, Callback<std::optional<User>> done) {
  pool_.query("select id, username, display_name from users where id = $1", Params().uuid(id.bytes), answer(std::move(done), first_user));
}

void PoolAccounts::users(std::vector<UserId> ids, Callback<std::vector<User>> done) {
  pool_.query("select u.id, u.username, u.display_name from unnest($1) with ordinality k (id, ord) join users u on u.id = k.id order by k.ord",
              Params().array(ids_array(ids)), answer(std::move(done), all_users));
}

void PoolAccounts::search(std::string prefix, std::uint32_t limit, Callback<std::vector<User>> done) {
  // A range of the index rather than a pattern: nothing in the prefix has a meaning of its own.
  pool_.query(
      "select id, username, display_name from users where lower(username) collate \"C\" >= lower($1)"
      " and lower(username) collate \"C\" < lower($1) || U&'\\+10FFFF' order by lower(username) collate \"C\" limit $2",
      Params().text(prefix).i8(page_limit(limit)), answer(std::move(done), all_users));
}

void PoolAccounts::rename(UserId id, std::string display_name, Callback<std::optional<User>> done) {
  pool_.query("update users set display_name = $2 where id = $1 returning id, username, display_name", Params().uuid(id.bytes).text(display_name),
              answer(std::move(done), first_user));
}

void PoolAccounts::open_login(UserId user, LoginId login, std::string device, TokenHash refresh, TimeMs expires, Callback<void> done) {
  pool_.query(
      "with opened as (insert into logins (id, user_id, device) values ($1, $2, $3) returning id)"
      " insert into refresh_tokens (hash, login, expires_ms) select $4, id, $5 from opened",
      Params().uuid(login.bytes).uuid(user.bytes).text(device).bytes(bytes_of(refresh)).i8(expires.value), answer(std::move(done)));
}

// Both rows are locked before they are judged: of two who bring the same token one rotates, the other is a reuse (D13).
void PoolAccounts::rotate(TokenHash old_token, TokenHash new_token, TimeMs now, TimeMs expires, Callback<Rotation> done) {
  pool_.query(
      "with t as materialized (select r.hash, r.used, r.expires_ms <= $3 as expired, l.id as login, l.user_id, l.ended"
      "  from refresh_tokens r join logins l on l.id = r.login where r.hash = $1 for update),"
      " good as (select * from t where not used and not expired and not ended),"
      " spent as (update refresh_tokens r set used = true from good where r.hash = good.hash),"
      " forgotten as (delete from refresh_tokens r using good where r.login = good.login and r.used and r.expires_ms <= $3),"
      " fresh as (insert into refresh_tokens (hash, login, expires_ms) select $2, login, $4 from good),"
      " revoked as (update logins l set ended = true, ended_at = now(), revoked = true from t where l.id = t.login and t.used and not t.ended returning l.id, "
      "l.user_id),"
      " told as materialized (select pg_notify('parley_login_ended', user_id || ' ' || id || ' revoked') from revoked)"
      " select user_id, login, case when ended then 1 when used then 3 when expired then 2 else 0 end, (select count(*) from told) from t",
      Params().bytes(bytes_of(old_token)).bytes(bytes_of(new_token)).i8(now.value).i8(expires.value), answer(std::move(done), [](const Rows& rows) {
        Rotation out;
        if (rows.empty()) return out;
        out.user = {rows[0].uuid(0)};
        out.login = {rows[0].uuid(1)};
        out.outcome = static_cast<Rotation::Outcome>(rows[0].u4(2));
        return out;
      }));
}

void PoolAccounts::end_login(UserId user, LoginId login, Callback<void> done) {
  pool_.query(
      "with gone as (update logins set ended = true, ended_at = now() where id = $2 and user_id = $1 and not ended returning id, user_id)"
      " select pg_notify('parley_login_ended', user_id || ' ' || id || ' ended') from gone",
      Params().uuid(user.bytes).uuid(login.bytes), answer(std::move(done)));
}

void PoolAccounts::end_all_logins(UserId user, Callback<void> done) {
  pool_.query(
      "with gone as (update logins set ended = true, ended_at = now() where user_id = $1 and not ended returning id)"
      " select pg_notify('parley_login_ended', $1 || ' * ended'), (select count(*) from gone)",
      Params().uuid(user.bytes), answer(std::move(done)));
}

void PoolAccounts::login_open(LoginId login, Callback<bool> done) {
  pool_.query("select not ended from logins where id = $1", Params().uuid(login.bytes),
              answer(std::move(done), [](const Rows& rows) { return !rows.empty() && rows[0].boolean(0); }));
}

void PoolAccounts::on_listening() {
  pool_.query("select user_id, id, revoked from logins where ended and ended_at > now() - interval '10 minutes'", {}, [this](Pool::Outcome rows) {
    for (int i = 0; rows && ended_ && i < rows->size(); ++i) ended_({(*rows)[i].uuid(0)}, LoginId{(*rows)[i].uuid(1)}, (*rows)[i].boolean(2));
  });
}

void PoolAccounts::on_notified(std::string_view payload) {
  constexpr std::size_t kId = 36;
  const auto user = chat::parse_id<UserId>(payload.substr(0, kId));
  if (!user || payload.size() < kId + 3 || !ended_) return;
  payload.remove_prefix(kId + 1);
  const auto space = payload.find(' ');
  if (space == std::string_view::npos) return;
  const std::string_view which = payload.substr(0, space);
  std::optional<LoginId> login;
  if (which != "*") {
    login = chat::parse_id<LoginId>(which);
    if (!login) return;
  }
  ended_(*user, login, payload.substr(space + 1) == "revoked");
}

}  // namespace parley::store::postgres
