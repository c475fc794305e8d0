#include "gateway/link/router_list.h"

#include <algorithm>
#include <fstream>
#include <stdexcept>

#include "runtime/log.h"

namespace parley::gateway {

namespace log = runtime::log;

namespace {

std::string trimmed(const std::string& text) {
  auto first = text.find_first_not_of(" \t\r");
  return first == text.npos ? std::string() : text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

bool is_address(const std::string& name) {
  auto colon = name.rfind(':');
  return colon != name.npos && colon > 0 && colon + 1 < name.size() && name.find_first_not_of("0123456789", colon + 1) == name.npos;
}

}  // namespace

RouterList::RouterList(boost::asio::io_context& io, const std::string& source, std::uint32_t reread_ms, Changed changed)
    : kind_(Kind::fixed), reread_ms_(reread_ms), changed_(std::move(changed)), timer_(io), resolver_(io) {
  if (source.starts_with("file:")) {
    kind_ = Kind::file;
    path_ = source.substr(5);
    if (path_.empty()) throw std::invalid_argument("routers: file: without a path");
  } else if (source.starts_with("dns:")) {
    kind_ = Kind::dns;
    auto address = source.substr(4);
    if (!is_address(address)) throw std::invalid_argument("routers: dns: wants name:port, not '" + address + "'");
    host_ = address.substr(0, address.rfind(':'));
    port_ = address.substr(address.rfind(':') + 1);
  } else {
    for (std::size_t at = 0; at <= source.size();) {
      auto comma = std::min(source.find(',', at), source.size());
      auto name = trimmed(source.substr(at, comma - at));
      at = comma + 1;
      if (name.empty()) continue;
      if (!is_address(name)) throw std::invalid_argument("routers: '" + name + "' is not host:port");
      fixed_.push_back(name);
    }
    if (fixed_.empty()) throw std::invalid_argument("routers: nobody is named");
  }
}

RouterList::~RouterList() = default;

void RouterList::start() { read(); }

void RouterList::read() {
  switch (kind_) {
    case Kind::fixed:
      return told(fixed_);
    case Kind::dns:
      resolve();
      break;
    case Kind::file:
      read_file();
      break;
  }
  timer_.expires_after(std::chrono::milliseconds(reread_ms_));
  timer_.async_wait([this, alive = std::weak_ptr(alive_)](boost::system::error_code stopped) {
    if (!stopped && !alive.expired()) read();
  });
}

// A few lines on a local disk (a mounted ConfigMap): no blocking worth a thread.
void RouterList::read_file() {
  std::ifstream file(path_);
  if (!file) return log::limited(log::Level::warn, "gateway.routers_unreadable", path_, {{"path", path_}});  // the last list stands
  std::vector<std::string> named;
  for (std::string line; std::getline(file, line);) {
    line = trimmed(line.substr(0, line.find('#')));
    if (is_address(line)) named.push_back(line);
  }
  // Read while it is being written, most likely: without routers nobody is served, and so an empty list cannot be meant.
  if (named.empty()) return log::limited(log::Level::warn, "gateway.routers_empty", path_, {{"path", path_}});
  told(std::move(named));
}

void RouterList::resolve() {
  using boost::asio::ip::tcp;
  resolver_.async_resolve(host_, port_, [this, alive = std::weak_ptr(alive_)](boost::system::error_code failed, const tcp::resolver::results_type& found) {
    if (alive.expired()) return;
    if (failed) return log::limited(log::Level::warn, "gateway.routers_unresolved", host_, {{"name", host_}, {"error", failed.message()}});
    std::vector<std::string> named;
    for (auto& entry : found) {
      auto address = entry.endpoint().address();
      named.push_back((address.is_v6() ? "[" + address.to_string() + "]" : address.to_string()) + ":" + port_);
    }
    told(std::move(named));
  });
}

void RouterList::told(std::vector<std::string> named) {
  std::sort(named.begin(), named.end());
  named.erase(std::unique(named.begin(), named.end()), named.end());
  auto next = merge(names_, named);
  if (next == names_) return;
  names_ = std::move(next);
  changed_(names_);
}

std::vector<std::string> RouterList::merge(std::vector<std::string> present, const std::vector<std::string>& named) {
  auto holds = [](const std::vector<std::string>& list, const std::string& name) { return std::find(list.begin(), list.end(), name) != list.end(); };
  for (auto& name : named) {
    if (holds(present, name)) continue;
    auto left = std::find_if(present.begin(), present.end(), [&](auto& old) { return !holds(named, old); });
    if (left == present.end()) {
      present.push_back(name);
    } else {
      *left = name;
    }
  }
  while (!present.empty() && !holds(named, present.back())) present.pop_back();
  return present;
}

}  // namespace parley::gateway
