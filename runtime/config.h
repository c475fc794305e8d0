// Settings: each declared once, next to the struct it fills, and read from four sources of which the later wins:
//
//   default in the struct  <  YAML file (--config=FILE)  <  environment PARLEY_GATEWAY_HEARTBEAT_MS  <  flag --gateway.heartbeat_ms=25000
//
//   int main(int argc, char** argv) {
//     gateway::Settings settings;
//     runtime::Config config("parley-gateway", "Accepts clients and speaks for them.");
//     gateway::declare(config, settings);   // config.number("gateway.heartbeat_ms", settings.heartbeat_ms, 1'000, 600'000, "...");
//     if (auto exit = config.start(argc, argv)) return *exit;
//
// A key that nobody declared stops the start with its path and the nearest known key; so do values out of bounds. All
// problems are told at once. Used on the main thread before any other thread exists; nothing is read again later.
#pragma once

#include <concepts>
#include <cstdint>
#include <expected>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace parley::runtime {

// Of sysexits.h.
inline constexpr int kExitUsage = 64;   // EX_USAGE: the settings are wrong in themselves
inline constexpr int kExitConfig = 78;  // EX_CONFIG: what they point at is not what it must be; starting again does not help

struct Problem {
  enum class Kind : std::uint8_t { unknown_key, duplicate_key, bad_value, out_of_bounds, unreadable, malformed, refused };
  Kind kind;
  std::string path;     // the setting, or the file
  std::string message;  // what is wrong with it, where it came from, and what would be right
};

class Config {
 public:
  using Environment = std::map<std::string, std::string>;

  Config(std::string program, std::string summary) : program_(std::move(program)), summary_(std::move(summary)) {}

  // ---- declarations: `section.name`, lower case; `field` holds the default and must outlive the Config. The unit is
  // the end of the name: _ms, _bytes, _per_second.
  template <std::unsigned_integral T>
    requires(!std::same_as<T, bool>)
  void number(std::string key, T& field, std::type_identity_t<T> min, std::type_identity_t<T> max, std::string prose) {
    declare_number(std::move(key), field, min, max, std::move(prose), [&field](std::uint64_t v) { field = static_cast<T>(v); });
  }
  void flag(std::string key, bool& field, std::string prose);
  // `choices`: if any, nothing else is accepted.
  void text(std::string key, std::string& field, std::string prose, std::vector<std::string> choices = {});
  // In YAML a sequence, in environment and flags separated by commas.
  void list(std::string key, std::vector<std::string>& field, std::string prose);
  // Never printed. Also declares `<key>_file`, whose content (less a final newline) is the value. Refused as a flag: everybody on the machine can read those.
  void secret(std::string key, std::string& field, std::string prose);
  // What must hold between settings once all are read; the answer is what is wrong, nothing if all is well.
  void require(std::string key, std::function<std::optional<std::string>()> check);

  // ---- reading
  enum class Action : std::uint8_t { run, help, help_markdown, version, print, check };
  std::expected<Action, std::vector<Problem>> read(const std::vector<std::string>& arguments, const Environment& environment);

  // `read` with the process's own arguments and environment; does what --help and the like ask for. An exit code, or nothing: go on.
  std::optional<int> start(int argc, char** argv);

  // ---- telling
  std::string help() const;
  std::string help_markdown() const;  // the table in docs/operate.md
  std::string yaml() const;           // the values in force, secrets redacted, each with its source
  std::string json() const;           // the same for the admin port's /config
  const std::string& program() const { return program_; }

 private:
  enum class Source : std::uint8_t { standard, file, environment, flag };
  using Value = std::variant<std::uint64_t, bool, std::string, std::vector<std::string>>;
  enum class Type : std::uint8_t { number, flag, text, list, secret, secret_file };

  struct Setting {
    std::string key;
    Type type;
    std::string prose;
    Value value;
    Value standard;
    std::uint64_t min = 0, max = 0;
    std::vector<std::string> choices;
    std::function<void(const Value&)> apply;
    Source source = Source::standard;

    std::string section() const { return key.substr(0, key.rfind('.')); }
    std::string name() const { return key.substr(key.rfind('.') + 1); }
  };

  void declare_number(std::string key, std::uint64_t standard, std::uint64_t min, std::uint64_t max, std::string prose,
                      std::function<void(std::uint64_t)> apply);
  void declare(Setting setting);
  Setting* find(std::string_view key);
  std::string nearest(std::string_view key) const;
  void read_file(const std::string& path);
  void set(const std::string& key, const std::vector<std::string>& words, bool is_sequence, Source source, const std::string& origin);
  void read_secrets();
  static std::string in_force(const Setting& setting);
  static std::string standard_text(const Setting& setting);
  static std::string bounds_text(const Setting& setting);
  void problem(Problem::Kind kind, std::string path, std::string message);

  std::string program_;
  std::string summary_;
  std::vector<Setting> settings_;  // in order of declaration; a handful of dozens, searched linearly
  std::vector<std::pair<std::string, std::function<std::optional<std::string>()>>> requirements_;
  std::vector<Problem> problems_;
};

// The name and commit this binary was built from ("0.1.0+65af87b").
std::string_view version();

}  // namespace parley::runtime
