// argon2id on threads of its own: some 25 ms and 19 MiB a password (OWASP's least), which no I/O thread may spend.
//
// Called on the io_context's thread; answers come back there. Bound: `threads` at work, `waiting` queued; beyond, the call is
// refused and the client told to come again (503). Waiting work is dropped when this is destroyed; nobody is told.
#pragma once

#include <boost/asio/io_context.hpp>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace parley::gateway {

struct PasswordSettings {
  std::uint32_t threads = 1;
  std::uint32_t waiting = 64;
  std::uint32_t memory_kib = 19 * 1024;
  std::uint32_t passes = 2;
};

class Passwords {
 public:
  Passwords(boost::asio::io_context& io, PasswordSettings settings);
  ~Passwords();
  Passwords(const Passwords&) = delete;
  Passwords& operator=(const Passwords&) = delete;

  // False: the queue is full, `done` is never called. The encoded form holds salt and parameters.
  bool hash(std::string password, std::move_only_function<void(std::string encoded)> done);
  // An empty `encoded` (there is no such user) takes as long as a wrong password.
  bool verify(std::string password, std::string encoded, std::move_only_function<void(bool)> done);

 private:
  using Work = std::move_only_function<void()>;
  bool add(Work work);
  void run();
  std::string encode(const std::string& password) const;

  boost::asio::io_context& io_;
  const PasswordSettings settings_;
  std::string decoy_;  // what a password of nobody is compared with

  std::mutex mutex_;  // guards what follows
  std::condition_variable wake_;
  std::deque<Work> waiting_;
  bool stopping_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  std::vector<std::thread> threads_;
};

}  // namespace parley::gateway
