// Logs: one JSON object a line on stderr, written by whichever thread logs. Never bodies, tokens or passwords.
//
//   log::info("persister.batch", {{"partition", 3}, {"rows", 512}});
//
// `event` is a stable dotted name (component.what); fields follow as they are given. trace_id and span_id are added inside
// `log::Trace` scopes. What strangers can cause goes through `log::limited` (at most one line per key and second).
//
// A line is at most 4,096 bytes (PIPE_BUF): what a pipe that is ready takes without blocking. If stderr is not ready, the
// line is dropped and counted, and the next one that gets through says how many (`dropped`): a slow reader never stops us.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

namespace parley::runtime::log {

enum class Level : std::uint8_t { debug, info, warn, error };

struct Field {
  std::string_view key;
  std::variant<std::int64_t, std::uint64_t, double, bool, std::string> value;

  Field(std::string_view k, std::string v) : key(k), value(std::move(v)) {}
  Field(std::string_view k, std::string_view v) : key(k), value(std::string(v)) {}
  Field(std::string_view k, const char* v) : key(k), value(std::string(v)) {}
  Field(std::string_view k, bool v) : key(k), value(v) {}
  Field(std::string_view k, double v) : key(k), value(v) {}
  template <class T>
    requires std::is_integral_v<T>
  Field(std::string_view k, T v) : key(k) {
    if constexpr (std::is_signed_v<T>)
      value = static_cast<std::int64_t>(v);
    else
      value = static_cast<std::uint64_t>(v);
  }
};

// Set once at start: least level written, and the fields every line carries (role, instance).
void configure(Level least, std::string role, std::string instance);

void write(Level level, std::string_view event, std::initializer_list<Field> fields);
inline void debug(std::string_view event, std::initializer_list<Field> fields = {}) { write(Level::debug, event, fields); }
inline void info(std::string_view event, std::initializer_list<Field> fields = {}) { write(Level::info, event, fields); }
inline void warn(std::string_view event, std::initializer_list<Field> fields = {}) { write(Level::warn, event, fields); }
inline void error(std::string_view event, std::initializer_list<Field> fields = {}) { write(Level::error, event, fields); }

// At most one line per (event, key) and second; says how many were left out. `key`: a user id, an address.
void limited(Level level, std::string_view event, std::string_view key, std::initializer_list<Field> fields);

// Lines written by this thread while it lives bear this trace; scopes nest. `traceparent` that does not parse adds nothing.
class Trace {
 public:
  explicit Trace(std::string_view traceparent);
  ~Trace();
  Trace(const Trace&) = delete;
  Trace& operator=(const Trace&) = delete;

 private:
  std::string outer_;
};

// Where lines go (a file descriptor, 2 unless a test says otherwise), and how many were dropped so far.
void redirect(int fd);
std::uint64_t dropped();

std::optional<Level> parse_level(std::string_view text);  // "debug" "info" "warn" "error"

}  // namespace parley::runtime::log
