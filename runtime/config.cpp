#include "runtime/config.h"

#include <fmt/format.h>
#include <unistd.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <iostream>
#include <iterator>
#include <stdexcept>

extern char** environ;

namespace parley::runtime {
namespace {

constexpr std::string_view kFileSuffix = "_file";

// gateway.heartbeat_ms -> PARLEY_GATEWAY_HEARTBEAT_MS
std::string environment_name(std::string_view key) {
  std::string name = "PARLEY_";
  for (char c : key) name += c == '.' ? '_' : static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
  return name;
}

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      std::size_t above = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1])});
      diagonal = above;
    }
  }
  return row[b.size()];
}

std::vector<std::string> split_commas(std::string_view text) {
  std::vector<std::string> words;
  while (!text.empty()) {
    auto comma = text.find(',');
    auto word = text.substr(0, comma);
    while (word.starts_with(' ')) word.remove_prefix(1);
    while (word.ends_with(' ')) word.remove_suffix(1);
    if (!word.empty()) words.emplace_back(word);
    if (comma == std::string_view::npos) break;
    text.remove_prefix(comma + 1);
  }
  return words;
}

// A string as JSON, which is also a double-quoted YAML scalar.
std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\')
      (out += '\\') += c;
    else if (static_cast<unsigned char>(c) < 0x20)
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    else
      out += c;
  }
  return out += '"';
}

}  // namespace

void Config::flag(std::string key, bool& field, std::string prose) {
  declare({.key = std::move(key),
           .type = Type::flag,
           .prose = std::move(prose),
           .value = field,
           .standard = field,
           .choices = {},
           .apply = [&field](const Value& v) { field = std::get<bool>(v); }});
}

void Config::text(std::string key, std::string& field, std::string prose, std::vector<std::string> choices) {
  declare({.key = std::move(key),
           .type = Type::text,
           .prose = std::move(prose),
           .value = field,
           .standard = field,
           .choices = std::move(choices),
           .apply = [&field](const Value& v) { field = std::get<std::string>(v); }});
}

void Config::list(std::string key, std::vector<std::string>& field, std::string prose) {
  declare({.key = std::move(key),
           .type = Type::list,
           .prose = std::move(prose),
           .value = field,
           .standard = field,
           .choices = {},
           .apply = [&field](const Value& v) { field = std::get<std::vector<std::string>>(v); }});
}

void Config::secret(std::string key, std::string& field, std::string prose) {
  std::string file_key = key + std::string(kFileSuffix);
  std::string file_prose = fmt::format("File that holds {}.", key);
  declare({.key = std::move(key),
           .type = Type::secret,
           .prose = std::move(prose),
           .value = field,
           .standard = field,
           .choices = {},
           .apply = [&field](const Value& v) { field = std::get<std::string>(v); }});
  declare({.key = std::move(file_key), .type = Type::secret_file, .prose = std::move(file_prose), .value = "", .standard = "", .choices = {}, .apply = {}});
}

void Config::require(std::string key, std::function<std::optional<std::string>()> check) { requirements_.emplace_back(std::move(key), std::move(check)); }

void Config::declare_number(std::string key, std::uint64_t standard, std::uint64_t min, std::uint64_t max, std::string prose,
                            std::function<void(std::uint64_t)> apply) {
  declare({.key = std::move(key),
           .type = Type::number,
           .prose = std::move(prose),
           .value = standard,
           .standard = standard,
           .min = min,
           .max = max,
           .choices = {},
           .apply = [apply = std::move(apply)](const Value& v) { apply(std::get<std::uint64_t>(v)); }});
}

void Config::declare(Setting setting) {
  // Two keys that meet in one environment variable could not be told apart.
  for (const auto& other : settings_)
    if (environment_name(other.key) == environment_name(setting.key)) throw std::logic_error("declared twice: " + setting.key);
  // Sections stay together, whoever declares into them.
  auto last = std::find_if(settings_.rbegin(), settings_.rend(), [&](const Setting& other) { return other.section() == setting.section(); });
  settings_.insert(last == settings_.rend() ? settings_.end() : last.base(), std::move(setting));
}

Config::Setting* Config::find(std::string_view key) {
  auto found = std::ranges::find(settings_, key, &Setting::key);
  return found == settings_.end() ? nullptr : &*found;
}

std::string Config::nearest(std::string_view key) const {
  const std::string* best = nullptr;
  std::size_t distance = std::string::npos;
  for (const auto& setting : settings_) {
    std::size_t d = edit_distance(key, setting.key);
    if (d < distance) {
      distance = d;
      best = &setting.key;
    }
  }
  return best ? fmt::format("; did you mean {}?", *best) : "";
}

void Config::problem(Problem::Kind kind, std::string path, std::string message) { problems_.push_back({kind, std::move(path), std::move(message)}); }

void Config::set(const std::string& key, const std::vector<std::string>& words, bool is_sequence, Source source, const std::string& origin) {
  Setting* setting = find(key);
  if (!setting) return problem(Problem::Kind::unknown_key, key, fmt::format("no such setting ({}){}", origin, nearest(key)));
  if (setting->type == Type::secret && source == Source::flag)
    return problem(
        Problem::Kind::refused, key,
        fmt::format("a secret may not stand in a flag, where every user of the machine can read it: use --{}_file or {}", key, environment_name(key)));
  if (is_sequence != (setting->type == Type::list))
    return problem(Problem::Kind::bad_value, key, fmt::format("{} ({})", is_sequence ? "takes one value, not a sequence" : "takes a sequence", origin));
  const std::string& word = words.empty() ? std::string() : words.front();
  switch (setting->type) {
    case Type::number: {
      std::uint64_t number = 0;
      auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), number);
      if (word.empty() || error != std::errc() || end != word.data() + word.size())
        return problem(Problem::Kind::bad_value, key, fmt::format("{} is not a whole number ({})", quoted(word), origin));
      if (number < setting->min || number > setting->max)
        return problem(Problem::Kind::out_of_bounds, key, fmt::format("{} is not between {} and {} ({})", number, setting->min, setting->max, origin));
      setting->value = number;
      break;
    }
    case Type::flag:
      if (word != "true" && word != "false")
        return problem(Problem::Kind::bad_value, key, fmt::format("{} is neither true nor false ({})", quoted(word), origin));
      setting->value = word == "true";
      break;
    case Type::text:
      if (!setting->choices.empty() && std::ranges::find(setting->choices, word) == setting->choices.end())
        return problem(Problem::Kind::bad_value, key, fmt::format("{} is not one of: {} ({})", quoted(word), fmt::join(setting->choices, ", "), origin));
      setting->value = word;
      break;
    case Type::list:
      setting->value = words;
      break;
    case Type::secret:
    case Type::secret_file: {
      // A secret and its file are two ways to say one thing: the later source wins, one source may not say both.
      bool is_file = setting->type == Type::secret_file;
      Setting* twin = find(is_file ? key.substr(0, key.size() - kFileSuffix.size()) : key + std::string(kFileSuffix));
      if (twin->source == source) return problem(Problem::Kind::duplicate_key, key, fmt::format("set beside {} ({}): keep one", twin->key, origin));
      twin->value = std::string();
      twin->source = Source::standard;
      setting->value = word;
      break;
    }
  }
  setting->source = source;
}

void Config::read_file(const std::string& path) {
  YAML::Node root;
  try {
    root = YAML::LoadFile(path);
  } catch (const YAML::BadFile&) {
    return problem(Problem::Kind::unreadable, path, "cannot be read");
  } catch (const YAML::Exception& error) {
    return problem(Problem::Kind::malformed, path, error.what());
  }
  if (!root || root.IsNull()) return;
  if (!root.IsMap()) return problem(Problem::Kind::malformed, path, "must be a mapping of sections");

  auto where = [&](const YAML::Node& node) { return fmt::format("{} line {}", path, node.Mark().line + 1); };
  std::map<std::string, int> seen;  // yaml-cpp keeps repeated keys silently
  auto visit = [&](auto& self, const YAML::Node& node, const std::string& prefix) -> void {
    for (const auto& item : node) {
      if (!item.first.IsScalar()) {
        problem(Problem::Kind::malformed, prefix, fmt::format("a key must be a word ({})", where(item.first)));
        continue;
      }
      std::string key = prefix.empty() ? item.first.Scalar() : prefix + "." + item.first.Scalar();
      if (seen[key]++ > 0) {
        problem(Problem::Kind::duplicate_key, key, fmt::format("stands there twice ({})", where(item.first)));
      } else if (item.second.IsMap()) {
        if (find(key))
          problem(Problem::Kind::bad_value, key, fmt::format("takes a value, not a section ({})", where(item.second)));
        else
          self(self, item.second, key);
      } else if (item.second.IsSequence()) {
        std::vector<std::string> words;
        bool plain = true;
        for (const auto& word : item.second) {
          if (word.IsScalar())
            words.push_back(word.Scalar());
          else
            plain = false;
        }
        if (plain)
          set(key, words, true, Source::file, where(item.second));
        else
          problem(Problem::Kind::bad_value, key, fmt::format("takes a sequence of words ({})", where(item.second)));
      } else {
        set(key, {item.second.IsNull() ? std::string() : item.second.Scalar()}, false, Source::file, where(item.first));
      }
    }
  };
  visit(visit, root, "");
}

void Config::read_secrets() {
  for (auto& file : settings_) {
    if (file.type != Type::secret_file || file.source == Source::standard) continue;
    const auto& path = std::get<std::string>(file.value);
    std::ifstream stream(path, std::ios::binary);
    std::string content((std::istreambuf_iterator<char>(stream)), std::istreambuf_iterator<char>());
    if (!stream) {
      problem(Problem::Kind::unreadable, file.key, fmt::format("{} cannot be read", path));
      continue;
    }
    if (content.ends_with('\n')) content.pop_back();
    Setting* secret = find(file.key.substr(0, file.key.size() - kFileSuffix.size()));
    secret->value = content;
  }
}

std::expected<Config::Action, std::vector<Problem>> Config::read(const std::vector<std::string>& arguments, const Environment& environment) {
  problems_.clear();
  Action action = Action::run;
  std::optional<std::string> file;
  std::vector<std::pair<std::string, std::string>> flags;
  for (const auto& argument : arguments) {
    auto equals = argument.find('=');
    std::string name = argument.substr(0, equals);
    if (argument == "--help" || argument == "-h")
      action = Action::help;
    else if (argument == "--help=markdown")
      action = Action::help_markdown;
    else if (argument == "--version")
      action = Action::version;
    else if (argument == "--print-config")
      action = Action::print;
    else if (argument == "--check-config")
      action = Action::check;
    else if (name == "--config" && equals != std::string::npos)
      file = argument.substr(equals + 1);
    else if (name.starts_with("--") && equals != std::string::npos)
      flags.emplace_back(name.substr(2), argument.substr(equals + 1));
    else
      problem(Problem::Kind::unknown_key, argument,
              "not understood: flags are --section.name=value, --config=FILE, --print-config, --check-config, --version, --help");
  }
  if (problems_.empty() && (action == Action::help || action == Action::help_markdown || action == Action::version)) return action;

  if (file) read_file(*file);
  auto set_text = [this](const std::string& key, const std::string& value, Source source, const std::string& origin) {
    const Setting* setting = find(key);
    if (setting && setting->type == Type::list)
      set(key, split_commas(value), true, source, origin);
    else
      set(key, {value}, false, source, origin);
  };
  for (const auto& setting : settings_) {
    // Only declared names are looked up: the environment belongs to others as well.
    auto name = environment_name(setting.key);
    if (auto found = environment.find(name); found != environment.end()) set_text(setting.key, found->second, Source::environment, name);
  }
  std::map<std::string, int> seen;
  for (const auto& [key, value] : flags) {
    if (seen[key]++ > 0)
      problem(Problem::Kind::duplicate_key, key, "the flag stands there twice");
    else
      set_text(key, value, Source::flag, "--" + key);
  }
  read_secrets();
  if (problems_.empty()) {
    for (auto& setting : settings_)
      if (setting.apply) setting.apply(setting.value);
    for (auto& [key, check] : requirements_)
      if (auto wrong = check()) problem(Problem::Kind::bad_value, key, *wrong);
  }
  if (!problems_.empty()) return std::unexpected(problems_);
  return action;
}

std::optional<int> Config::start(int argc, char** argv) {
  Environment environment;
  for (char** entry = environ; *entry; ++entry) {
    std::string_view text = *entry;
    if (auto equals = text.find('='); text.starts_with("PARLEY_") && equals != std::string_view::npos)
      environment.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  auto action = read({argv + 1, argv + argc}, environment);
  if (!action) {
    for (const auto& p : action.error()) std::cerr << program_ << ": " << p.path << ": " << p.message << '\n';
    return kExitUsage;
  }
  switch (*action) {
    case Action::run:
      return std::nullopt;
    case Action::help:
      std::cout << help();
      break;
    case Action::help_markdown:
      std::cout << help_markdown();
      break;
    case Action::version:
      std::cout << program_ << ' ' << version() << '\n';
      break;
    case Action::print:
      std::cout << yaml();
      break;
    case Action::check:
      std::cout << program_ << ": configuration is valid\n";
      break;
  }
  return std::cout.flush() ? 0 : 1;
}

std::string Config::standard_text(const Setting& setting) {
  if (setting.type == Type::secret) return "";
  if (const auto* n = std::get_if<std::uint64_t>(&setting.standard)) return std::to_string(*n);
  if (const auto* b = std::get_if<bool>(&setting.standard)) return *b ? "true" : "false";
  if (const auto* t = std::get_if<std::string>(&setting.standard)) return *t;
  return fmt::format("{}", fmt::join(std::get<std::vector<std::string>>(setting.standard), ","));
}

std::string Config::bounds_text(const Setting& setting) {
  if (!setting.choices.empty()) return fmt::format("{}", fmt::join(setting.choices, " or "));
  if (setting.type == Type::list) return "list";
  if (setting.type == Type::secret) return "secret";
  if (setting.type != Type::number) return "";
  return setting.max >= UINT32_MAX ? fmt::format("at least {}", setting.min) : fmt::format("{} to {}", setting.min, setting.max);
}

std::string Config::help() const {
  std::string out = fmt::format("{} {}\n{}\n\nUsage: {} [--config=FILE] [--section.name=value ...]\n\n", program_, version(), summary_, program_);
  out += "Sources, the later wins: default, YAML file, environment, flag.\n--print-config, --check-config, --version, --help do that and end.\n\nSettings:\n";
  for (const auto& s : settings_) {
    out += fmt::format("  --{}\n      {}\n", s.key, s.prose);
    auto standard = standard_text(s), bounds = bounds_text(s);
    if (!standard.empty()) out += fmt::format("      default: {}\n", standard);
    if (!bounds.empty()) out += fmt::format("      bounds: {}\n", bounds);
    out += fmt::format("      environment: {}\n", environment_name(s.key));
  }
  return out;
}

std::string Config::help_markdown() const {
  std::string out = "| setting | default | bounds | meaning |\n|---|---|---|---|\n";
  for (const auto& s : settings_) {
    if (s.type == Type::secret_file) continue;  // said once, in the text above the table
    auto standard = standard_text(s);
    if (!standard.empty()) standard = fmt::format("`{}`", standard);
    out += fmt::format("| `{}` | {} | {} | {} |\n", s.key, standard, bounds_text(s), s.prose);
  }
  return out;
}

// As JSON, which YAML reads too.
std::string Config::in_force(const Setting& setting) {
  if (setting.type == Type::secret) return std::get<std::string>(setting.value).empty() ? quoted("") : quoted("(redacted)");
  if (const auto* n = std::get_if<std::uint64_t>(&setting.value)) return std::to_string(*n);
  if (const auto* b = std::get_if<bool>(&setting.value)) return *b ? "true" : "false";
  if (const auto* t = std::get_if<std::string>(&setting.value)) return quoted(*t);
  std::vector<std::string> words;
  for (const auto& word : std::get<std::vector<std::string>>(setting.value)) words.push_back(quoted(word));
  return fmt::format("[{}]", fmt::join(words, ","));
}

std::string Config::yaml() const {
  static constexpr std::string_view kSource[] = {"default", "file", "environment", "flag"};
  std::string out, section;
  for (const auto& s : settings_) {
    if (s.section() != section) out += fmt::format("{}:\n", section = s.section());
    out += fmt::format("  {}: {}  # {}\n", s.name(), in_force(s), kSource[static_cast<int>(s.source)]);
  }
  return out;
}

std::string Config::json() const {
  std::string out, section;
  for (const auto& s : settings_) {
    if (s.section() == section)
      out += ',';
    else
      out += fmt::format("{}{}:{{", section.empty() ? "" : "},", quoted(section = s.section()));
    out += fmt::format("{}:{}", quoted(s.name()), in_force(s));
  }
  return fmt::format("{{{}{}", out, section.empty() ? "}" : "}}");
}

}  // namespace parley::runtime
