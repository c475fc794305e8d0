// /v1/users: oneself and others.
#include <algorithm>

#include "gateway/http/rest.h"

namespace parley::gateway::http {

using chat::Code;

namespace {
constexpr std::uint32_t kSearchLimit = 20;
}

void set_user(rest::v1::User& out, const store::User& user) {
  out.set_id(chat::to_text(user.id));
  out.set_username(user.username);
  out.set_display_name(user.display_name);
}

std::size_t characters(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<std::uint8_t>(c) & 0xC0) != 0x80; }));
}

void Rest::get_me(CallPtr call) {
  call->parameters = {chat::to_text(call->identity.user)};
  get_user(std::move(call));
}

void Rest::get_user(CallPtr call) {
  auto id = chat::parse_id<chat::UserId>(call->parameters[0]);
  if (!id) return refuse(call, Code::not_found, "there is no such user");
  ports_.accounts.user(*id, [this, call](store::Result<std::optional<store::User>> user) {
    if (!user) return refuse(call, user.error());
    if (!*user) return refuse(call, Code::not_found, "there is no such user");
    rest::v1::User out;
    set_user(out, **user);
    answer(call, out);
  });
}

void Rest::patch_me(CallPtr call) {
  rest::v1::UserPatch body;
  if (!read_body(call, body)) return;
  if (!body.has_display_name()) return get_me(std::move(call));
  auto length = characters(body.display_name());
  if (length < 1 || length > 64) return refuse(call, Code::invalid, "displayName: 1-64 characters");
  ports_.accounts.rename(call->identity.user, body.display_name(), [this, call](store::Result<std::optional<store::User>> user) {
    if (!user) return refuse(call, user.error());
    if (!*user) return refuse(call, Code::not_found, "there is no such user");
    rest::v1::User out;
    set_user(out, **user);
    answer(call, out);
  });
}

void Rest::search_users(CallPtr call) {
  std::string query;
  if (!query_value(call->request.query(), "query", query)) return refuse(call, Code::invalid, "query is needed");
  for (char& c : query) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  }
  // A username has no other characters, so nothing else can match; and what is not valid text never reaches the database.
  bool possible = !query.empty() && query.size() <= 32 && std::all_of(query.begin(), query.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
  });
  if (!possible) return answer(call, rest::v1::UserPage());
  ports_.accounts.search(query, kSearchLimit, [this, call](store::Result<std::vector<store::User>> users) {
    if (!users) return refuse(call, users.error());
    rest::v1::UserPage page;
    for (auto& user : *users) set_user(*page.add_items(), user);
    answer(call, page);
  });
}

}  // namespace parley::gateway::http
