// The commands, each a coroutine that ends with the exit code or throws Failure.
#pragma once

#include <boost/asio/awaitable.hpp>

#include "cli/arguments.h"
#include "cli/connection.h"

namespace parley::cli {

boost::asio::awaitable<int> run(Arguments arguments);

// listen.cpp: prints events until it is interrupted, across reconnects, restarts of the server and of itself.
boost::asio::awaitable<int> listen(Arguments arguments);

// send.cpp: one message after the other, each until its ack; sent again, flagged, when the answer did not come.
boost::asio::awaitable<int> send(Arguments arguments);

// An id, or the direct conversation with the user of that name.
struct Target {
  std::string conversation;
  std::optional<User> user;  // set: a direct conversation, which may not exist yet
};
boost::asio::awaitable<Target> find_target(const Login& login, std::string name);

// Opens a connection that stays quiet for long enough to ask something: a device of its own, refreshed tokens, one retry.
boost::asio::awaitable<std::unique_ptr<Connection>> open_for_requests(std::string profile, Login& login);

// A UUIDv7.
std::string new_id();
std::string new_device_id(std::string_view purpose);

// A nack as a Failure.
void expect_success(const client::Frame& answer, std::string_view what);

}  // namespace parley::cli
