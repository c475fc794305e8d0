#include "tests/services/own_server.h"

#include <fmt/core.h>
#include <netinet/in.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <random>
#include <stdexcept>

#include "tests/services/services.h"

extern char** environ;

namespace parley::test {
namespace {

bool is_free(std::uint16_t port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  const bool bound = bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  close(fd);
  return bound;
}

// Below the range the kernel hands out to clients; Kafka takes two in a row.
std::uint16_t free_port() {
  std::random_device random;
  for (int i = 0; i < 100; ++i) {
    const auto port = static_cast<std::uint16_t>(20'000 + random() % 6'000 * 2);
    if (is_free(port) && is_free(port + 1)) return port;
  }
  throw std::runtime_error("no free port between 20000 and 32000");
}

}  // namespace

OwnServer::OwnServer(Kind kind) : port_(free_port()) {
  const bool kafka = kind == Kind::kafka;
  script_ = services().tools + (kafka ? "/kafka" : "/postgres");
  dir_ = fmt::format("{}/{}", services().dir, fresh_name(kafka ? "k" : "p"));
  address_ = kafka ? fmt::format("127.0.0.1:{}", port_) : fmt::format("host=127.0.0.1 port={} user=parley dbname=parley", port_);
  start();
}

OwnServer::~OwnServer() {
  kill();
  std::filesystem::remove_all(dir_);
}

void OwnServer::kill() { run("kill"); }
void OwnServer::start() { run("start"); }

void OwnServer::run(const std::string& verb) {
  auto port = std::to_string(port_), what = verb;
  std::array<char*, 5> arguments{script_.data(), what.data(), dir_.data(), verb == "start" ? port.data() : nullptr, nullptr};
  pid_t child = 0;
  if (posix_spawn(&child, script_.c_str(), nullptr, nullptr, arguments.data(), environ) != 0) throw std::runtime_error(script_ + " cannot be run");
  int status = 0;
  if (waitpid(child, &status, 0) != child || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
    throw std::runtime_error(fmt::format("{} {} {} failed; it says why above", script_, verb, dir_));
}

}  // namespace parley::test
