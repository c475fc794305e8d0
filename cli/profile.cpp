#include "cli/profile.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

namespace parley::cli {
namespace json = boost::json;

namespace {

constexpr int kExitIo = 74;  // EX_IOERR

std::string directory() {
  if (const char* config = std::getenv("XDG_CONFIG_HOME"); config && *config) return std::string(config) + "/parley";
  const char* home = std::getenv("HOME");
  if (!home || !*home) throw Failure(kExitIo, "HOME is not set: where should the login be kept?");
  return std::string(home) + "/.config/parley";
}

std::string text_of(const json::object& object, std::string_view key) {
  const auto* value = object.if_contains(key);
  return value && value->is_string() ? std::string(value->as_string()) : std::string();
}

std::uint64_t number_of(const json::object& object, std::string_view key) {
  const auto* value = object.if_contains(key);
  return value && value->is_number() ? value->to_number<std::uint64_t>() : 0;
}

std::string path(const std::string& profile, std::string_view suffix) {
  for (char c : profile)
    if (!std::isalnum(static_cast<unsigned char>(c)) && c != '-' && c != '_' && c != '.')
      throw Failure(kExitUsage, "a profile's name has only letters, digits, - _ .");
  if (profile.empty() || profile.starts_with('.')) throw Failure(kExitUsage, "a profile's name begins with a letter or digit");
  return directory() + "/" + profile + std::string(suffix);
}

std::optional<json::object> read(const std::string& file) {
  std::ifstream stream(file);
  if (!stream) return std::nullopt;
  std::string content((std::istreambuf_iterator<char>(stream)), std::istreambuf_iterator<char>());
  boost::system::error_code error;
  auto value = json::parse(content, error);
  if (error || !value.is_object()) throw Failure(kExitIo, file + " is damaged; remove it");
  return std::move(value.as_object());
}

void make_directory() {
  std::error_code error;
  std::filesystem::create_directories(directory(), error);
  if (error) throw Failure(kExitIo, "cannot make " + directory() + ": " + error.message());
  chmod(directory().c_str(), 0700);
}

void write(const std::string& file, const json::object& object) {
  make_directory();
  auto content = json::serialize(object) + "\n";
  auto fresh = file + "." + std::to_string(getpid());  // not shared with another process that writes now
  int fd = open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) throw Failure(kExitIo, "cannot write " + fresh + ": " + std::strerror(errno));
  auto written = ::write(fd, content.data(), content.size());
  close(fd);
  if (written != static_cast<ssize_t>(content.size()) || rename(fresh.c_str(), file.c_str()) != 0)
    throw Failure(kExitIo, "cannot write " + file + ": " + std::strerror(errno));
}

}  // namespace

std::optional<Login> Login::load(const std::string& profile) {
  auto object = read(path(profile, ".json"));
  if (!object) return std::nullopt;
  return Login{.server = text_of(*object, "server"),
               .user_id = text_of(*object, "userId"),
               .username = text_of(*object, "username"),
               .access_token = text_of(*object, "accessToken"),
               .refresh_token = text_of(*object, "refreshToken"),
               .expires_ms = number_of(*object, "expiresMs"),
               .device_id = text_of(*object, "deviceId")};
}

void Login::save(const std::string& profile) const {
  write(path(profile, ".json"), {{"server", server},
                                 {"userId", user_id},
                                 {"username", username},
                                 {"accessToken", access_token},
                                 {"refreshToken", refresh_token},
                                 {"expiresMs", expires_ms},
                                 {"deviceId", device_id}});
}

Seen Seen::load(const std::string& profile, const std::string& user_id) {
  Seen seen;
  seen.user_id = user_id;
  auto object = read(path(profile, ".seen.json"));
  if (!object || text_of(*object, "userId") != user_id) return seen;
  seen.sync_token = text_of(*object, "syncToken");
  if (const auto* cursors = object->if_contains("cursors"); cursors && cursors->is_array())
    for (const auto& item : cursors->as_array())
      if (item.is_object()) seen.cursors.hold(text_of(item.as_object(), "conversation"), number_of(item.as_object(), "seq"));
  return seen;
}

void Seen::save(const std::string& profile) const {
  json::array held;
  for (const auto& cursor : cursors.all()) held.push_back({{"conversation", cursor.conversation}, {"seq", cursor.seq}});
  write(path(profile, ".seen.json"), {{"userId", user_id}, {"syncToken", sync_token}, {"cursors", std::move(held)}});
}

ProfileLock::ProfileLock(const std::string& profile) {
  make_directory();
  auto file = path(profile, ".lock");
  fd_ = open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd_ < 0 || flock(fd_, LOCK_EX) != 0) throw Failure(kExitIo, "cannot lock " + file + ": " + std::strerror(errno));
}

ProfileLock::~ProfileLock() { close(fd_); }

}  // namespace parley::cli
