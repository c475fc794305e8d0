// parley-bench: puts one load on running gateways and prints what it found as one JSON object (bench/run starts everything and makes the table).
#include <fmt/format.h>
#include <sys/resource.h>

#include <charconv>
#include <fstream>
#include <iostream>
#include <map>
#include <stdexcept>

#include "bench/load.h"

namespace {

using parley::bench::Credentials;
using parley::bench::Endpoint;
using parley::bench::Histogram;
using parley::bench::Options;
using parley::bench::Report;

constexpr std::string_view kUsage =
    "parley-bench idle|durable|fanout --urls=127.0.0.1:8080,127.0.0.1:8081 --users=FILE [options]\n"
    "  --users=FILE      one user a line: id, space, access token\n"
    "  --connections=N   idle: how many\n"
    "  --pairs=N         durable: pairs of users writing to each other (100)\n"
    "  --window=N        durable, closed loop: messages under way per pair (1)\n"
    "  --rate=R          messages a second, Poisson arrivals (durable) or evenly (fanout); 0: closed loop (0)\n"
    "  --members=N       fanout: members of the group, all connected (1000)\n"
    "  --text=N          bytes of text (200)    --warmup=S (2)    --seconds=S (10)\n";

double number(const std::string& key, const std::string& text) {
  double value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value < 0) throw std::runtime_error(fmt::format("--{}={}: not a number", key, text));
  return value;
}

std::vector<Endpoint> endpoints(const std::string& urls) {
  std::vector<Endpoint> all;
  for (std::size_t at = 0; at < urls.size();) {
    const std::size_t end = std::min(urls.find(',', at), urls.size());
    const std::string url = urls.substr(at, end - at);
    const std::size_t colon = url.rfind(':');
    if (colon == std::string::npos) throw std::runtime_error(fmt::format("'{}' is not address:port", url));
    all.push_back({{boost::asio::ip::make_address(url.substr(0, colon)), static_cast<std::uint16_t>(number("urls", url.substr(colon + 1)))}, url});
    at = end + 1;
  }
  return all;
}

std::vector<Credentials> read_users(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error(fmt::format("cannot read {}", path));
  std::vector<Credentials> users;
  for (Credentials c; file >> c.user >> c.token;) users.push_back(std::move(c));
  return users;
}

Options parse(int argc, char** argv) {
  Options options;
  if (argc < 2) throw std::runtime_error("which load?");
  options.mode = argv[1];
  if (options.mode != "idle" && options.mode != "durable" && options.mode != "fanout")
    throw std::runtime_error(fmt::format("there is no load '{}'", options.mode));
  std::map<std::string, std::string> given;
  for (int i = 2; i < argc; ++i) {
    const std::string argument = argv[i];
    const std::size_t equals = argument.find('=');
    if (!argument.starts_with("--") || equals == std::string::npos) throw std::runtime_error(fmt::format("'{}' is not --key=value", argument));
    given[argument.substr(2, equals - 2)] = argument.substr(equals + 1);
  }
  for (const auto& [key, value] : given) {
    if (key == "urls")
      options.endpoints = endpoints(value);
    else if (key == "users")
      options.users = read_users(value);
    else if (key == "connections")
      options.connections = static_cast<std::uint32_t>(number(key, value));
    else if (key == "pairs")
      options.pairs = static_cast<std::uint32_t>(number(key, value));
    else if (key == "window")
      options.window = static_cast<std::uint32_t>(number(key, value));
    else if (key == "members")
      options.members = static_cast<std::uint32_t>(number(key, value));
    else if (key == "text")
      options.text_bytes = static_cast<std::uint32_t>(number(key, value));
    else if (key == "rate")
      options.rate = number(key, value);
    else if (key == "warmup")
      options.warmup_s = number(key, value);
    else if (key == "seconds")
      options.seconds = number(key, value);
    else
      throw std::runtime_error(fmt::format("there is no option --{}", key));
  }
  if (options.endpoints.empty() || options.users.empty()) throw std::runtime_error("--urls and --users are needed");
  return options;
}

std::string json(const Histogram& h) {
  return fmt::format(R"({{"count":{},"mean":{:.0f},"p50":{},"p90":{},"p99":{},"p999":{},"max":{}}})", h.count(), h.mean(), h.quantile(0.5), h.quantile(0.9),
                     h.quantile(0.99), h.quantile(0.999), h.max());
}

std::string json(const Options& options, const Report& r) {
  std::string failures;
  for (const auto& failure : r.failures) {
    std::string safe;
    for (char c : failure) safe += c == '"' || c == '\\' || static_cast<unsigned char>(c) < 0x20 ? '\'' : c;
    failures += fmt::format("{}\"{}\"", failures.empty() ? "" : ",", safe);
  }
  return fmt::format(
      R"({{"mode":"{}","window_s":{:.3f},"sent":{},"acked":{},"delivered":{},"nacked":{},"undelivered":{},"per_second":{:.1f},"delivery_us":{},"last_us":{},"ack_us":{},)"
      R"("client_cpu_share":{:.3f},"client_late_ms":{:.3f},"failures":[{}]}})",
      options.mode, r.window_s, r.sent, r.acked, r.delivered, r.nacked, r.undelivered, r.window_s > 0 ? static_cast<double>(r.delivered) / r.window_s : 0,
      json(r.delivery), json(r.last), json(r.ack), r.cpu_share, r.late_ms, failures);
}

}  // namespace

int main(int argc, char** argv) {
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  try {
    const Options options = parse(argc, argv);
    const Report report = parley::bench::run(options);
    fmt::print("{}\n", json(options, report));
    return report.failures.empty() && report.undelivered == 0 ? 0 : 1;
  } catch (const std::exception& error) {
    fmt::print(stderr, "parley-bench: {}\n{}", error.what(), kUsage);
    return 64;
  }
}
