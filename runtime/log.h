// Logs: one JSON object a line on stderr, written by whichever thread logs. Never bodies, tokens or passwords.
//
//   log::info("persister.batch", {{"partition", 3}, {"rows", 512}});
//
// `event` is a stable dotted name (component.what); fields follow as they are given. trace_id and span_id are added by
// `log::Trace` scopes. What strangers can cause goes through `log::limited` (at most one line per key and second).
#pragma once

#include <cstdint>
#include <initializer_list>
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

}  // namespace parley::runtime::log
