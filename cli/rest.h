// REST v1 as the client needs it: one request, one JSON answer, within ten seconds. Errors become Failures that say what the server said.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/json/value.hpp>
#include <string>

#include "cli/profile.h"

namespace parley::cli {

struct Server {
  std::string host, port;
  static Server parse(const std::string& url);  // http://host[:port]
};

struct Answer {
  unsigned status = 0;
  boost::json::value body;
};

// `token` empty: none. Throws Failure when nobody answers; an HTTP error is an Answer.
boost::asio::awaitable<Answer> rest(Server server, std::string method, std::string target, boost::json::value body, std::string token);

// Throws what the problem document says unless the status is 2xx.
void expect_success(const Answer& answer, std::string_view what);

boost::asio::awaitable<Login> sign_in(std::string server, std::string path, boost::json::object credentials);

// The login of a profile with an access token that is good for another minute, refreshed if need be. `force`: the server just refused it.
boost::asio::awaitable<Login> fresh_login(std::string profile, bool force = false);

struct User {
  std::string id, username, display_name;
};
boost::asio::awaitable<User> user_by_name(const Login& login, std::string username);  // Failure if there is none
boost::asio::awaitable<User> user_by_id(const Login& login, std::string id);

std::uint64_t now_ms();

}  // namespace parley::cli
