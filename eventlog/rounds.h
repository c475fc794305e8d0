// Questions of one kind, asked in rounds: all who ask while a query is under way share the next one, so that its answer is always
// asked for after they asked (R14), and one query serves everyone waiting.
//
// Thread: that of the io_context. Bound: `most` may wait; one more is answered unavailable.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <cstddef>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "eventlog/log.h"

namespace parley::eventlog {

template <class T>
class Rounds {
 public:
  // `query` asks once and answers later, on this thread, in a turn of its own.
  Rounds(boost::asio::io_context& io, std::size_t most, std::move_only_function<void(Callback<T>)> query) : io_(io), most_(most), query_(std::move(query)) {}

  void ask(Callback<T> done) {
    if (waiting_.size() >= most_) {
      boost::asio::post(io_, [done = std::move(done), alive = std::weak_ptr(alive_)]() mutable {
        if (!alive.expired()) done(std::unexpected(Error{Errc::unavailable, "too many ask the log"}));
      });
      return;
    }
    waiting_.push_back(std::move(done));
    if (!running_) start();
  }

 private:
  void start() {
    running_ = true;
    query_([this, alive = std::weak_ptr(alive_), asked = std::exchange(waiting_, {})](std::expected<T, Error> result) mutable {
      if (alive.expired()) return;
      running_ = false;
      // The next round first, so that it is under way while this one's owners work.
      if (!waiting_.empty()) start();
      for (auto& done : asked) {
        done(result);
        if (alive.expired()) return;
      }
    });
  }

  boost::asio::io_context& io_;
  std::size_t most_;
  std::move_only_function<void(Callback<T>)> query_;
  bool running_ = false;
  std::vector<Callback<T>> waiting_;
  std::shared_ptr<int> alive_ = std::make_shared<int>();
};

}  // namespace parley::eventlog
