// A Kafka or PostgreSQL of a test's own, to be killed and started again. Blocking; throws with cause.
#pragma once

#include <cstdint>
#include <string>

namespace parley::test {

class OwnServer {
 public:
  enum class Kind : std::uint8_t { kafka, postgres };

  explicit OwnServer(Kind kind);  // started
  ~OwnServer();                   // killed, its files removed
  OwnServer(const OwnServer&) = delete;
  OwnServer& operator=(const OwnServer&) = delete;

  void kill();   // as a crash would
  void start();  // on the same port, with what it had
  // host:port of Kafka, connection string of PostgreSQL.
  const std::string& address() const { return address_; }

 private:
  void run(const std::string& verb);

  std::string script_, dir_, address_;
  std::uint16_t port_;
};

}  // namespace parley::test
