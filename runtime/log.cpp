#include "runtime/log.h"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <climits>
#include <ctime>
#include <functional>
#include <mutex>
#include <utility>

#include "runtime/trace.h"

namespace parley::runtime::log {
namespace {

constexpr std::size_t kLineBytes = PIPE_BUF;

struct Output {
  std::mutex mutex;  // one line at a time: of two that saw room in the pipe the second could block
  std::atomic<Level> least = Level::info;
  std::string common;  // fields of every line, set before threads exist
  std::atomic<int> fd = STDERR_FILENO;
  std::atomic<std::uint64_t> dropped = 0;
  std::uint64_t told = 0;  // of `dropped`
};

Output& output() {
  static Output* output = new Output;  // never destroyed: the last lines of a process are written late
  return *output;
}

// The trace fields of this thread, ready to be copied into a line.
std::string& trace_fields() {
  thread_local std::string fields;
  return fields;
}

void append_text(std::string& out, std::string_view text) {
  out += '"';
  for (char c : text) {
    auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\')
      (out += '\\') += c;
    else if (byte < 0x20 || byte == 0x7f)
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", byte);
    else
      out += c;
  }
  out += '"';
}

void append_value(std::string& out, const Field& field) {
  std::visit(
      [&](const auto& v) {
        using T = std::decay_t<decltype(v)>;
        if constexpr (std::is_same_v<T, std::string>)
          append_text(out, v);
        else if constexpr (std::is_same_v<T, bool>)
          out += v ? "true" : "false";
        else if constexpr (std::is_same_v<T, double>)
          out += v - v == 0 ? fmt::format("{}", v) : "null";  // JSON has neither infinity nor NaN
        else
          fmt::format_to(std::back_inserter(out), "{}", v);
      },
      field.value);
}

std::string time_text() {
  auto now = std::chrono::time_point_cast<std::chrono::milliseconds>(std::chrono::system_clock::now());
  std::time_t seconds = std::chrono::system_clock::to_time_t(now);
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec,
                     now.time_since_epoch().count() % 1000);
}

std::string_view name(Level level) {
  static constexpr std::string_view kNames[] = {"debug", "info", "warn", "error"};
  return kNames[static_cast<int>(level)];
}

void put(std::string_view line) {
  auto& out = output();
  pollfd ready{.fd = out.fd, .events = POLLOUT, .revents = 0};
  if (poll(&ready, 1, 0) != 1 || !(ready.revents & POLLOUT) || ::write(out.fd, line.data(), line.size()) != static_cast<ssize_t>(line.size())) ++out.dropped;
}

void write_line(Level level, std::string_view event, std::initializer_list<Field> fields, std::uint64_t left_out) {
  auto& out = output();
  std::string line;
  line.reserve(256);
  line += "{\"time\":\"";
  line += time_text();
  line += "\",\"level\":\"";
  line += name(level);
  line += "\",\"event\":";
  append_text(line, event);
  line += out.common;
  line += trace_fields();
  if (left_out > 0) fmt::format_to(std::back_inserter(line), ",\"left_out\":{}", left_out);
  bool cut = false;
  for (const auto& field : fields) {
    std::string text = ",";
    append_text(text, field.key);
    text += ':';
    append_value(text, field);
    // Whole fields or none: a line stays JSON. The reserve is for what may follow.
    if (line.size() + text.size() + 64 > kLineBytes)
      cut = true;
    else
      line += text;
  }
  if (cut) line += ",\"cut\":true";

  std::lock_guard lock(out.mutex);
  if (std::uint64_t dropped = out.dropped; dropped > out.told) {
    fmt::format_to(std::back_inserter(line), ",\"dropped\":{}", dropped - out.told);
    line += "}\n";
    put(line);
    if (out.dropped == dropped) out.told = dropped;
    return;
  }
  line += "}\n";
  put(line);
}

}  // namespace

void configure(Level least, std::string role, std::string instance) {
  auto& out = output();
  std::string common = ",\"role\":";
  append_text(common, role);
  common += ",\"instance\":";
  append_text(common, instance);
  std::lock_guard lock(out.mutex);
  out.common = common;
  out.least = least;
}

void write(Level level, std::string_view event, std::initializer_list<Field> fields) {
  if (level < output().least) return;
  write_line(level, event, fields, 0);
}

void limited(Level level, std::string_view event, std::string_view key, std::initializer_list<Field> fields) {
  if (level < output().least) return;
  // A fixed table: who makes up new keys shares slots with others and so is limited too, to one line per slot and second.
  struct Slot {
    std::int64_t second = -1;
    std::uint64_t left_out = 0;
  };
  static std::mutex mutex;
  static std::array<Slot, 256> slots;
  auto hash = std::hash<std::string_view>{}(event) * 31 + std::hash<std::string_view>{}(key);
  auto second = std::chrono::duration_cast<std::chrono::seconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
  std::uint64_t left_out;
  {
    std::lock_guard lock(mutex);
    Slot& slot = slots[hash % slots.size()];
    if (slot.second == second) {
      ++slot.left_out;
      return;
    }
    left_out = std::exchange(slot.left_out, 0);
    slot.second = second;
  }
  write_line(level, event, fields, left_out);
}

Trace::Trace(std::string_view traceparent) : outer_(trace_fields()) {
  if (auto context = parse_traceparent(traceparent))
    trace_fields() = fmt::format(",\"trace_id\":\"{}\",\"span_id\":\"{}\"", context->trace_id_text(), context->span_id_text());
}

Trace::~Trace() { trace_fields() = std::move(outer_); }

void redirect(int fd) { output().fd = fd; }

std::uint64_t dropped() { return output().dropped; }

std::optional<Level> parse_level(std::string_view text) {
  for (auto level : {Level::debug, Level::info, Level::warn, Level::error})
    if (text == name(level)) return level;
  return std::nullopt;
}

}  // namespace parley::runtime::log
