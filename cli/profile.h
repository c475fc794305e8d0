// What the client remembers between runs, two files a profile in $XDG_CONFIG_HOME/parley (default ~/.config), readable by their owner only:
// <profile>.json, who is logged in where, and <profile>.seen.json, what has been shown. Apart, because a listening and a sending process share
// the first, and only the listener writes the second. Each is written whole and renamed into place: a crash leaves the old one.
#pragma once

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>

#include "cli/cursors.h"

namespace parley::cli {

// Something the user should read and can act on; `main` prints it. `exit_code` as in sysexits.h.
class Failure : public std::runtime_error {
 public:
  Failure(int exit_code, const std::string& message) : std::runtime_error(message), exit_code(exit_code) {}
  int exit_code;
};

inline constexpr int kExitRefused = 1;       // the server said no
inline constexpr int kExitUsage = 64;        // EX_USAGE
inline constexpr int kExitUnavailable = 69;  // EX_UNAVAILABLE: nobody answers, or not in time
inline constexpr int kExitNoLogin = 77;      // EX_NOPERM

struct Login {
  std::string server;  // http://host:port
  std::string user_id, username;
  std::string access_token, refresh_token;
  std::uint64_t expires_ms = 0;  // of the access token, by our clock
  std::string device_id;         // of the listening device; senders have one of their own each

  static std::optional<Login> load(const std::string& profile);
  void save(const std::string& profile) const;
};

struct Seen {
  std::string user_id;  // whose; of another user it is worth nothing
  Cursors cursors;
  std::string sync_token;

  static Seen load(const std::string& profile, const std::string& user_id);
  void save(const std::string& profile) const;
};

// Held while tokens are refreshed: a refresh token works once, so two processes must not use the same one.
class ProfileLock {
 public:
  explicit ProfileLock(const std::string& profile);
  ~ProfileLock();
  ProfileLock(const ProfileLock&) = delete;
  ProfileLock& operator=(const ProfileLock&) = delete;

 private:
  int fd_;
};

}  // namespace parley::cli
