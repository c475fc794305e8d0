// The command line: options anywhere, then a command and its words.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace parley::cli {

struct Arguments {
  std::string server = "http://127.0.0.1:8080";  // for register and login; later the one logged in to
  bool server_given = false;
  std::string profile = "default";
  bool json = false;
  std::optional<std::string> password;
  std::uint32_t limit = 50;
  std::uint64_t before = 0, after = 0;  // history; 0: not given
  std::uint32_t timeout_s = 60;         // send: how long to try
  std::uint64_t count = 0;              // listen: end after that many events; 0: never
  std::vector<std::string> words;       // the command first

  // Throws Failure with what is wrong.
  static Arguments parse(const std::vector<std::string>& arguments);
};

extern const char kUsage[];

}  // namespace parley::cli
