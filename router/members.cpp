#include "router/members.h"

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/asio/connect.hpp>
#include <fstream>
#include <set>
#include <stdexcept>

#include "runtime/log.h"

namespace parley::router {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;
namespace log = runtime::log;

std::expected<std::pair<std::string, std::string>, std::string> split_address(const std::string& address) {
  std::size_t colon = address.rfind(':');
  if (colon == std::string::npos || colon == 0 || colon + 1 == address.size()) return std::unexpected("not host:port: '" + address + "'");
  std::string host = address.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  return std::pair{std::move(host), address.substr(colon + 1)};
}

namespace {
std::string trimmed(std::string text) {
  auto blank = [](char c) { return c == ' ' || c == '\t' || c == '\r'; };
  while (!text.empty() && blank(text.back())) text.pop_back();
  while (!text.empty() && blank(text.front())) text.erase(text.begin());
  return text;
}
}  // namespace

std::expected<MemberSource, std::string> parse_source(const std::string& source) {
  MemberSource parsed{};
  if (source.starts_with("file:")) {
    parsed.kind = MemberSource::Kind::file;
    parsed.path = source.substr(5);
    if (parsed.path.empty()) return std::unexpected("file: without a path");
    return parsed;
  }
  if (source.starts_with("dns:")) {
    auto address = split_address(source.substr(4));
    if (!address) return std::unexpected(address.error());
    parsed.kind = MemberSource::Kind::dns;
    std::tie(parsed.host, parsed.port) = *address;
    return parsed;
  }
  parsed.kind = MemberSource::Kind::fixed;
  for (std::size_t at = 0; at <= source.size();) {
    std::size_t comma = std::min(source.find(',', at), source.size());
    std::string name = trimmed(source.substr(at, comma - at));
    at = comma + 1;
    if (name.empty()) continue;
    if (auto address = split_address(name); !address) return std::unexpected(address.error());
    parsed.fixed.push_back(std::move(name));
  }
  return parsed;
}

// One other member: probed again and again until destroyed.
class Members::Peer : public std::enable_shared_from_this<Peer> {
 public:
  enum class State : std::uint8_t { unknown, up, down };

  Peer(Members& members, std::string name) : members_(members), name_(std::move(name)), resolver_(members.io_), socket_(members.io_), timer_(members.io_) {
    auto address = split_address(name_);
    if (address) std::tie(host_, port_) = *address;
    heard_ = members_.clock_.steady();
  }

  State state() const { return state_; }

 private:
  // Runs `then` only if this peer still exists and the probe it belongs to is the present one.
  template <class Then>
  auto guarded(std::uint64_t number, Then then) {
    return [weak = weak_from_this(), this, number, then = std::move(then)](error_code failed, auto&&... results) {
      auto alive = weak.lock();
      if (alive && number == probe_) then(failed, results...);
    };
  }

 public:
  void probe() {
    const std::uint64_t number = ++probe_;
    socket_ = tcp::socket(members_.io_);
    // Numeric addresses need no thread of the resolver's.
    error_code ec;
    if (auto numeric = asio::ip::make_address(host_, ec); !ec) {
      connect(number, tcp::endpoint(numeric, static_cast<unsigned short>(std::atoi(port_.c_str()))));
    } else {
      resolver_.async_resolve(host_, port_, guarded(number, [this, number](error_code failed, const tcp::resolver::results_type& found) {
                                if (failed || found.empty()) return;  // the timer tells
                                connect(number, found.begin()->endpoint());
                              }));
    }
    // A timer that rings late tells that this process stood still: the peer is probed anew before he is judged.
    const std::uint64_t late = members_.clock_.steady().value + 2 * members_.settings_.probe_ms;
    timer_.expires_after(std::chrono::milliseconds(members_.settings_.probe_ms));
    timer_.async_wait([this, weak = weak_from_this(), late](error_code failed) {
      if (failed || weak.expired()) return;
      if (members_.clock_.steady().value < late || ++late_ > kMostLate) judge();
      if (!weak.expired()) probe();
    });
  }

  void stop() {
    ++probe_;
    error_code ignored;
    socket_.close(ignored);
    resolver_.cancel();
    timer_.cancel();
  }

 private:
  void connect(std::uint64_t number, const tcp::endpoint& to) {
    socket_.async_connect(to, guarded(number, [this, number](error_code failed) {
                            if (failed) return;
                            socket_.async_read_some(asio::buffer(greeting_), guarded(number, [this](error_code refused, std::size_t) {
                                                      if (refused) return;
                                                      error_code ignored;
                                                      socket_.close(ignored);
                                                      heard_ = members_.clock_.steady();
                                                      set(State::up);
                                                    }));
                          }));
  }

  void judge() {
    late_ = 0;
    if (members_.clock_.steady().value - heard_.value >= members_.settings_.gone_ms) set(State::down);
  }

  void set(State state) {
    if (std::exchange(state_, state) == state) return;
    log::info("router.member", {{"member", name_}, {"reachable", state == State::up}});
    members_.told();
  }

  static constexpr int kMostLate = 3;  // in a row: one who is always late must still see who is gone

  Members& members_;
  std::string name_, host_, port_;
  tcp::resolver resolver_;
  tcp::socket socket_;
  asio::steady_timer timer_;
  std::array<char, 64> greeting_;
  chat::TimeMs heard_;
  State state_ = State::unknown;
  std::uint64_t probe_ = 0;
  int late_ = 0;
};

Members::Members(asio::io_context& io, const runtime::Clock& clock, MemberSettings settings, Changed changed)
    : io_(io),
      clock_(clock),
      settings_(std::move(settings)),
      source_([this] {
        auto parsed = parse_source(settings_.source);
        if (!parsed) throw std::invalid_argument("router members: " + parsed.error());
        if (auto self = split_address(settings_.self); !self) throw std::invalid_argument("router self: " + self.error());
        return *parsed;
      }()),
      changed_(std::move(changed)),
      reread_(io),
      resolver_(io) {}

Members::~Members() {
  for (auto& [name, peer] : peers_) peer->stop();
}

void Members::start() { read(); }

void Members::read() {
  switch (source_.kind) {
    case MemberSource::Kind::fixed:
      return set(source_.fixed);
    case MemberSource::Kind::dns:
      resolve();
      break;
    case MemberSource::Kind::file:
      read_file();
      break;
  }
  reread_.expires_after(std::chrono::milliseconds(settings_.reread_ms));
  reread_.async_wait([this, alive = std::weak_ptr(alive_)](error_code failed) {
    if (!failed && !alive.expired()) read();
  });
}

// A few lines on a local disk (a mounted ConfigMap): no blocking worth a thread.
void Members::read_file() {
  std::ifstream file(source_.path);
  if (!file) {
    log::limited(log::Level::warn, "router.members_unreadable", source_.path, {{"path", source_.path}});
    return;  // the last list stands
  }
  std::vector<std::string> names;
  for (std::string line; std::getline(file, line);) {
    line = trimmed(line.substr(0, line.find('#')));
    if (!line.empty() && split_address(line)) names.push_back(line);
  }
  set(std::move(names));
}

void Members::resolve() {
  resolver_.async_resolve(source_.host, source_.port, [this, alive = std::weak_ptr(alive_)](error_code failed, const tcp::resolver::results_type& found) {
    if (alive.expired()) return;
    if (failed) {
      log::limited(log::Level::warn, "router.members_unresolved", source_.host, {{"name", source_.host}, {"error", failed.message()}});
      if (!listed_) set({});  // alone, as far as it can be known
      return;                 // else the last list stands
    }
    std::vector<std::string> names;
    for (const auto& entry : found) {
      auto address = entry.endpoint().address();
      std::string host = address.is_v6() ? "[" + address.to_string() + "]" : address.to_string();
      names.push_back(host + ":" + source_.port);
    }
    set(std::move(names));
  });
}

void Members::set(std::vector<std::string> names) {
  listed_ = true;
  std::set<std::string> wanted(names.begin(), names.end());
  wanted.erase(settings_.self);
  for (auto it = peers_.begin(); it != peers_.end();) {
    if (wanted.contains(it->first)) {
      ++it;
      continue;
    }
    it->second->stop();
    it = peers_.erase(it);
  }
  for (const std::string& name : wanted) {
    if (peers_.contains(name)) continue;
    auto peer = std::make_shared<Peer>(*this, name);
    peers_.emplace(name, peer);
    peer->probe();
  }
  told();
}

void Members::told() {
  std::vector<std::string> reachable{settings_.self};
  for (const auto& [name, peer] : peers_) {
    if (peer->state() == Peer::State::unknown && reachable_.empty()) return;  // the first view waits for everyone
    if (peer->state() == Peer::State::up) reachable.push_back(name);
  }
  std::ranges::sort(reachable);
  if (reachable == reachable_) return;
  reachable_ = std::move(reachable);
  changed_(reachable_);
}

}  // namespace parley::router
