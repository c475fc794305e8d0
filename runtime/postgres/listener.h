// A connection of its own that hears NOTIFY. Notifications sent while it is not connected are lost: `listening` is called each
// time it hears (again), so that the owner looks for himself what he missed.
//
// Thread: that of the io_context. Bound: none is queued here; a notification is told as it is read.
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/postgres/sql.h"

namespace parley::runtime::postgres {

class Listener {
 public:
  // `listens`: statements like "listen parley_positions".
  Listener(boost::asio::io_context& io, const std::string& dsn, std::vector<Sql> listens,
           std::move_only_function<void(std::string_view channel, std::string_view payload)> notified, std::move_only_function<void()> listening);
  ~Listener();

 private:
  class Ear;
  std::unique_ptr<Ear> ear_;
};

}  // namespace parley::runtime::postgres
