// What the client prints: one line an event for people, one JSON object a line (canonical proto3 JSON of the frame) with --json.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <map>
#include <string>

#include "cli/connection.h"
#include "cli/rest.h"

namespace parley::cli {

// Names of users and conversations, asked for once each.
class Names {
 public:
  explicit Names(const Login& login) : login_(login) { users_[login.user_id] = login.username; }

  boost::asio::awaitable<std::string> user(std::string id);
  // "bob" for a direct conversation with him, the title of a group, else the beginning of the id.
  boost::asio::awaitable<std::string> conversation(Connection& connection, std::string id);
  void learn(const client::Summary& summary);

 private:
  const Login& login_;
  std::map<std::string, std::string> users_;
  std::map<std::string, client::Summary> summaries_;
};

std::string json_line(const google::protobuf::Message& message);
// "12:03:44"
std::string clock_text(std::uint64_t time_ms);
// "[bob #4] alice: hello"
boost::asio::awaitable<std::string> event_line(client::Event event, Names& names, Connection& connection);

}  // namespace parley::cli
