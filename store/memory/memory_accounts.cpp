#include <algorithm>

#include "store/memory/memory_ports.h"
#include "store/pages.h"

namespace parley::store::memory {

namespace {

// Usernames are ASCII (protocol.md).
std::string lower(std::string text) {
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return text;
}

}  // namespace

MemoryAccounts::MemoryAccounts(MemoryStore& store) : store_(store) { store_.account_ports_.push_back(this); }
MemoryAccounts::~MemoryAccounts() {
  store_.forget(this);
  std::erase(store_.account_ports_, this);
}

template <class T, class Ask>
void MemoryAccounts::later(Callback<T> done, Ask ask) {
  store_.wait(this, [this, done = std::move(done), ask = std::move(ask)]() mutable {
    if (store_.away_)
      done(std::unexpected(Error{Errc::unavailable, "the store is away"}));
    else
      done(ask(*store_.people_));
  });
}

void MemoryAccounts::tell_ended(UserId user, std::optional<LoginId> login, bool revoked) {
  for (MemoryAccounts* port : store_.account_ports_) {
    if (!port->ended_) continue;
    store_.wait(port, [port, user, login, revoked] { port->ended_(user, login, revoked); });
  }
}

void MemoryAccounts::create_user(User user, std::string password_hash, Callback<void> done) {
  later(std::move(done), [user = std::move(user), password_hash = std::move(password_hash)](MemoryStore::People& people) mutable -> Result<void> {
    for (const auto& [id, there] : people.users) {
      if (id == user.id || lower(there.user.username) == lower(user.username)) return std::unexpected(Error{Errc::conflict, "the username is taken"});
    }
    const UserId id = user.id;
    people.users[id] = {std::move(user), std::move(password_hash)};
    return {};
  });
}

void MemoryAccounts::credentials(std::string username, Callback<std::optional<Credentials>> done) {
  later(std::move(done), [username = lower(std::move(username))](MemoryStore::People& people) -> std::optional<Credentials> {
    for (const auto& [id, there] : people.users) {
      if (lower(there.user.username) == username) return there;
    }
    return std::nullopt;
  });
}

void MemoryAccounts::user(UserId id, Callback<std::optional<User>> done) {
  later(std::move(done), [id](MemoryStore::People& people) -> std::optional<User> {
    const auto at = people.users.find(id);
    if (at == people.users.end()) return std::nullopt;
    return at->second.user;
  });
}

void MemoryAccounts::users(std::vector<UserId> ids, Callback<std::vector<User>> done) {
  later(std::move(done), [ids = std::move(ids)](MemoryStore::People& people) {
    std::vector<User> out;
    for (const UserId& id : ids) {
      if (const auto at = people.users.find(id); at != people.users.end()) out.push_back(at->second.user);
    }
    return out;
  });
}

void MemoryAccounts::search(std::string prefix, std::uint32_t limit, Callback<std::vector<User>> done) {
  later(std::move(done), [prefix = lower(std::move(prefix)), limit = page_limit(limit)](MemoryStore::People& people) {
    std::vector<User> out;
    for (const auto& [id, there] : people.users) {
      if (lower(there.user.username).starts_with(prefix)) out.push_back(there.user);
    }
    std::ranges::sort(out, {}, [](const User& user) { return lower(user.username); });
    if (out.size() > limit) out.resize(limit);
    return out;
  });
}

void MemoryAccounts::rename(UserId id, std::string display_name, Callback<std::optional<User>> done) {
  later(std::move(done), [id, display_name = std::move(display_name)](MemoryStore::People& people) -> std::optional<User> {
    const auto at = people.users.find(id);
    if (at == people.users.end()) return std::nullopt;
    at->second.user.display_name = display_name;
    return at->second.user;
  });
}

void MemoryAccounts::open_login(UserId user, LoginId login, std::string, TokenHash refresh, TimeMs expires, Callback<void> done) {
  later(std::move(done), [=](MemoryStore::People& people) -> Result<void> {
    if (!people.users.contains(user)) return std::unexpected(Error{Errc::conflict, "no such user"});
    people.logins[login] = {user, false};
    people.tokens[refresh] = {login, false, expires};
    return {};
  });
}

void MemoryAccounts::rotate(TokenHash old_token, TokenHash new_token, TimeMs now, TimeMs expires, Callback<Rotation> done) {
  later(std::move(done), [=, this](MemoryStore::People& people) {
    Rotation out;
    const auto at = people.tokens.find(old_token);
    if (at == people.tokens.end()) return out;
    auto& login = people.logins.at(at->second.login);
    out.user = login.user;
    out.login = at->second.login;
    if (login.ended) return out;
    if (at->second.used) {
      out.outcome = Rotation::Outcome::reused;
      login.ended = true;
      tell_ended(out.user, out.login, true);
    } else if (at->second.expires <= now) {
      out.outcome = Rotation::Outcome::expired;
    } else {
      out.outcome = Rotation::Outcome::rotated;
      at->second.used = true;
      people.tokens[new_token] = {out.login, false, expires};
    }
    return out;
  });
}

void MemoryAccounts::end_login(UserId user, LoginId login, Callback<void> done) {
  later(std::move(done), [=, this](MemoryStore::People& people) -> Result<void> {
    const auto at = people.logins.find(login);
    if (at == people.logins.end() || at->second.user != user || at->second.ended) return {};
    at->second.ended = true;
    tell_ended(user, login, false);
    return {};
  });
}

void MemoryAccounts::end_all_logins(UserId user, Callback<void> done) {
  later(std::move(done), [=, this](MemoryStore::People& people) -> Result<void> {
    for (auto& [id, login] : people.logins) {
      if (login.user == user) login.ended = true;
    }
    tell_ended(user, std::nullopt, false);
    return {};
  });
}

void MemoryAccounts::login_open(LoginId login, Callback<bool> done) {
  later(std::move(done), [login](MemoryStore::People& people) {
    const auto at = people.logins.find(login);
    return at != people.logins.end() && !at->second.ended;
  });
}

}  // namespace parley::store::memory
