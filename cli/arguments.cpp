#include "cli/arguments.h"

#include <charconv>

#include "cli/profile.h"

namespace parley::cli {

const char kUsage[] = R"(Usage: parley [--as NAME] [--json] COMMAND ...

  register NAME [DISPLAY NAME]   make an account and log in (asks for a password)
  login NAME                     log in
  whoami                         who is logged in
  send TO TEXT...                send a message and wait until it is durable; TEXT '-' sends each line of standard input
  listen [--count=N]             print what arrives, first what was missed; until interrupted, or N events
  history WITH [--limit=N] [--before=SEQ] [--after=SEQ]
  conversations [--limit=N]      newest activity first
  group create TITLE NAME...     make a group

TO and WITH: a user's name, or the id of a conversation.
  --server=URL      server to register or log in at (default http://127.0.0.1:8080)
  --as NAME         profile to use, so that one machine can be several users (default: default); kept in ~/.config/parley
  --json            print protocol frames as JSON, one a line
  --password=WORD   everybody on this machine can read it; better PARLEY_PASSWORD (for scripts), or nothing: it is asked for
  --timeout=S       send: give up after S seconds (default 60)

Exit codes: 0 done, 1 refused by the server, 64 wrong usage, 69 no server or no answer, 77 not logged in.
)";

namespace {

template <class T>
T number(const std::string& name, const std::string& text) {
  T value{};
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) throw Failure(kExitUsage, name + " takes a whole number, not '" + text + "'");
  return value;
}

}  // namespace

Arguments Arguments::parse(const std::vector<std::string>& arguments) {
  Arguments result;
  bool options = true;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const auto& argument = arguments[i];
    if (!options || !argument.starts_with("--")) {
      result.words.push_back(argument);
      continue;
    }
    if (argument == "--") {
      options = false;
      continue;
    }
    if (argument == "--json") {
      result.json = true;
      continue;
    }
    if (argument == "--help" || argument == "--version") {
      result.words = {argument.substr(2)};
      return result;
    }
    // --name=value or --name value
    auto equals = argument.find('=');
    auto name = argument.substr(0, equals);
    std::string value;
    if (equals != std::string::npos)
      value = argument.substr(equals + 1);
    else if (i + 1 < arguments.size())
      value = arguments[++i];
    else
      throw Failure(kExitUsage, name + " takes a value");
    if (name == "--server") {
      result.server = value;
      result.server_given = true;
    } else if (name == "--as")
      result.profile = value;
    else if (name == "--password")
      result.password = value;
    else if (name == "--limit")
      result.limit = number<std::uint32_t>(name, value);
    else if (name == "--before")
      result.before = number<std::uint64_t>(name, value);
    else if (name == "--after")
      result.after = number<std::uint64_t>(name, value);
    else if (name == "--timeout")
      result.timeout_s = number<std::uint32_t>(name, value);
    else if (name == "--count")
      result.count = number<std::uint64_t>(name, value);
    else
      throw Failure(kExitUsage, "there is no option " + name + " ('parley --help' lists them)");
  }
  if (result.words.empty()) throw Failure(kExitUsage, "which command? ('parley --help' lists them)");
  return result;
}

}  // namespace parley::cli
