#include "gateway/auth/passwords.h"

#include <argon2.h>
#include <openssl/rand.h>

#include <array>
#include <boost/asio/post.hpp>
#include <cstdlib>

namespace parley::gateway {

Passwords::Passwords(boost::asio::io_context& io, PasswordSettings settings) : io_(io), settings_(settings), decoy_(encode("nobody's password")) {
  for (std::uint32_t i = 0; i < std::max(settings_.threads, 1u); ++i) threads_.emplace_back([this] { run(); });
}

Passwords::~Passwords() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    alive_.reset();
  }
  wake_.notify_all();
  for (auto& thread : threads_) thread.join();
}

std::string Passwords::encode(const std::string& password) const {
  std::array<unsigned char, 16> salt;
  if (RAND_bytes(salt.data(), static_cast<int>(salt.size())) != 1) std::abort();
  std::array<char, 160> encoded;
  int failed = argon2id_hash_encoded(settings_.passes, settings_.memory_kib, 1, password.data(), password.size(), salt.data(), salt.size(), 32, encoded.data(),
                                     encoded.size());
  if (failed != ARGON2_OK) std::abort();  // out of memory, or parameters that Config should have refused
  return encoded.data();
}

bool Passwords::hash(std::string password, std::move_only_function<void(std::string)> done) {
  return add([this, alive = std::weak_ptr(alive_), password = std::move(password), done = std::move(done)]() mutable {
    boost::asio::post(io_, [alive, encoded = encode(password), done = std::move(done)]() mutable {
      if (!alive.expired()) done(std::move(encoded));
    });
  });
}

bool Passwords::verify(std::string password, std::string encoded, std::move_only_function<void(bool)> done) {
  return add([this, alive = std::weak_ptr(alive_), password = std::move(password), encoded = std::move(encoded), done = std::move(done)]() mutable {
    bool right = argon2id_verify(encoded.empty() ? decoy_.c_str() : encoded.c_str(), password.data(), password.size()) == ARGON2_OK && !encoded.empty();
    boost::asio::post(io_, [alive, right, done = std::move(done)]() mutable {
      if (!alive.expired()) done(right);
    });
  });
}

bool Passwords::add(Work work) {
  {
    std::lock_guard lock(mutex_);
    if (waiting_.size() >= settings_.waiting) return false;
    waiting_.push_back(std::move(work));
  }
  wake_.notify_one();
  return true;
}

void Passwords::run() {
  for (;;) {
    Work work;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
      if (stopping_) return;
      work = std::move(waiting_.front());
      waiting_.pop_front();
    }
    work();
  }
}

}  // namespace parley::gateway
