// A Core whose answers a test writes, linked in the real one's place: what the server hands over is recorded, what a test
// wants sent is sent. Only for tests of the sockets; everything else runs the real Core.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "gateway/core/core.h"

namespace parley::gateway::testing {

struct Script {
  std::vector<std::string> log;  // "open 1", "frame 1 {...}", "invalid 1 7 cmid", "fail 1 4500", "closed 1"
  std::function<void(ConnectionId, client::Frame&&)> on_frame;
  Sockets* sockets = nullptr;
  int alive = 0;
};
// A Core with no other ports than these sockets, and its script.
std::unique_ptr<Core> make_scripted_core(Sockets& sockets);
Script& script();

}  // namespace parley::gateway::testing
