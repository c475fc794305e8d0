// The start of every program: opens the log, again and again while it is away, and tells the topic once it is there.
//
// Owner's thread. A topic that is not what the design needs (R13) is not waited for: a person has to change it.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <string>

#include "eventlog/log.h"

namespace parley::eventlog {

class Opening {
 public:
  // Asks at once; `opened` is called once, later, or `misconfigured`.
  Opening(boost::asio::io_context& io, Log& log, std::function<void(Topic)> opened, std::function<void(std::string)> misconfigured);
  Opening(const Opening&) = delete;
  Opening& operator=(const Opening&) = delete;

 private:
  void ask();

  Log& log_;
  std::function<void(Topic)> opened_;
  std::function<void(std::string)> misconfigured_;
  boost::asio::steady_timer again_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // an answer may come after this is gone
};

}  // namespace parley::eventlog
