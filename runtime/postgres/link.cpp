#include "runtime/postgres/link.h"

#include <libpq-fe.h>
#include <unistd.h>
#include <algorithm>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/post.hpp>
#include <stdexcept>

namespace parley::runtime::postgres {

namespace {

constexpr auto kConnectTimeout = std::chrono::milliseconds(3'000);
constexpr unsigned kFirstBackoffMs = 50, kLongestBackoffMs = 2'000;

std::string& keyword(Keywords& keywords, std::string_view name) {
  for (auto& [key, value] : keywords)
    if (key == name) return value;
  return keywords.emplace_back(name, "").second;
}

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> out{""};
  for (char c : text) {
    if (c == ',')
      out.emplace_back();
    else
      out.back() += c;
  }
  return out;
}

std::string join(const std::vector<std::string>& parts) {
  std::string out;
  for (std::size_t i = 0; i < parts.size(); ++i) out += (i == 0 ? "" : ",") + parts[i];
  return out;
}

bool needs_lookup(const std::string& host) {
  if (host.empty() || host[0] == '/' || host[0] == '@') return false;
  boost::system::error_code error;
  boost::asio::ip::make_address(host, error);
  return error.failed();
}

}  // namespace

Keywords connection_keywords(const std::string& dsn, const std::string& options) {
  char* message = nullptr;
  PQconninfoOption* parsed = PQconninfoParse(dsn.c_str(), &message);
  if (parsed == nullptr) {
    std::string text = message == nullptr ? "unreadable PostgreSQL connection string" : message;
    PQfreemem(message);
    throw std::invalid_argument(text);
  }
  Keywords keywords;
  for (PQconninfoOption* option = parsed; option->keyword != nullptr; ++option)
    if (option->val != nullptr) keywords.emplace_back(option->keyword, option->val);
  PQconninfoFree(parsed);
  auto unless_set = [&](std::string_view name, std::string_view value) {
    if (std::string& present = keyword(keywords, name); present.empty()) present = value;
  };
  unless_set("application_name", "parley");
  unless_set("connect_timeout", "3");
  unless_set("keepalives_idle", "5");
  unless_set("keepalives_interval", "2");
  unless_set("keepalives_count", "3");
  unless_set("tcp_user_timeout", "10000");
  keyword(keywords, "client_encoding") = "UTF8";
  std::string& all = keyword(keywords, "options");
  all += (all.empty() || options.empty() ? "" : " ") + options;
  return keywords;
}

Link::Link(boost::asio::io_context& io, Keywords keywords, LinkEvents& events)
    : io_(io), keywords_(std::move(keywords)), events_(events), timer_(io), resolver_(io), epoch_(std::make_shared<int>()), random_(std::random_device{}()) {
  hosts_ = split(keyword(keywords_, "host"));
  ports_ = split(keyword(keywords_, "port"));
  if (!keyword(keywords_, "hostaddr").empty()) hosts_.clear();  // nothing to look up
  boost::asio::post(io_, [this, epoch = std::weak_ptr(epoch_)] {
    if (!epoch.expired()) resolve(0);
  });
}

Link::~Link() = default;

void Link::Finish::operator()(pg_conn* connection) const { PQfinish(connection); }

// libpq looks names up itself, but blocks meanwhile: so it is given addresses.
void Link::resolve(std::size_t index) {
  if (index == 0) {
    try_hosts_.clear(), try_addresses_.clear(), try_ports_.clear();
    timer_.expires_after(kConnectTimeout);
    timer_.async_wait([this, epoch = std::weak_ptr(epoch_)](boost::system::error_code error) {
      if (!error && !epoch.expired() && !up_) drop({Errc::unavailable, "", "no connection in time"});
    });
  }
  for (; index < hosts_.size(); ++index) {
    const std::string& host = hosts_[index];
    const std::string& port = ports_[std::min(index, ports_.size() - 1)];
    if (!needs_lookup(host)) {
      try_hosts_.push_back(host), try_addresses_.emplace_back(), try_ports_.push_back(port);
      continue;
    }
    resolver_.async_resolve(host, port.empty() ? "5432" : port,
                            [this, index, epoch = std::weak_ptr(epoch_)](boost::system::error_code error, boost::asio::ip::tcp::resolver::results_type found) {
                              if (epoch.expired()) return;
                              if (!error)
                                for (const auto& entry : found) {
                                  try_hosts_.push_back(hosts_[index]);
                                  try_addresses_.push_back(entry.endpoint().address().to_string());
                                  try_ports_.push_back(std::to_string(entry.endpoint().port()));
                                }
                              resolve(index + 1);
                            });
    return;
  }
  if (try_hosts_.empty() && !hosts_.empty()) return drop({Errc::unavailable, "", "host name not found"});
  connect();
}

void Link::connect() {
  Keywords all = keywords_;
  if (!try_hosts_.empty()) {
    keyword(all, "host") = join(try_hosts_);
    if (std::ranges::any_of(try_addresses_, [](const std::string& address) { return !address.empty(); })) keyword(all, "hostaddr") = join(try_addresses_);
    keyword(all, "port") = join(try_ports_);
  }
  std::vector<const char*> names, values;
  for (const auto& [name, value] : all) {
    if (value.empty()) continue;
    names.push_back(name.c_str());
    values.push_back(value.c_str());
  }
  names.push_back(nullptr), values.push_back(nullptr);
  connection_.reset(PQconnectStartParams(names.data(), values.data(), 0));
  if (!connection_ || PQstatus(connection_.get()) == CONNECTION_BAD)
    return drop(error_of(nullptr, connection_ ? PQerrorMessage(connection_.get()) : "out of memory"));
  wait(true, &Link::poll_connect);
}

// Waits for the socket libpq uses at this moment: while connecting it may change it.
void Link::wait(bool write, void (Link::*then)()) {
  socket_.reset();
  int copy = ::dup(PQsocket(connection_.get()));
  if (copy < 0) return drop({Errc::unavailable, "", "no file descriptor left"});
  socket_.emplace(io_, copy);
  socket_->async_wait(write ? boost::asio::posix::stream_descriptor::wait_write : boost::asio::posix::stream_descriptor::wait_read,
                      [this, then, epoch = std::weak_ptr(epoch_)](boost::system::error_code error) {
                        if (!error && !epoch.expired()) (this->*then)();
                      });
}

void Link::poll_connect() {
  switch (PQconnectPoll(connection_.get())) {
    case PGRES_POLLING_READING:
      return wait(false, &Link::poll_connect);
    case PGRES_POLLING_WRITING:
      return wait(true, &Link::poll_connect);
    case PGRES_POLLING_OK:
      break;
    default:
      return drop(error_of(nullptr, PQerrorMessage(connection_.get())));
  }
  timer_.cancel();
  socket_.reset();
  int copy = ::dup(PQsocket(connection_.get()));
  if (copy < 0 || PQsetnonblocking(connection_.get(), 1) != 0) return drop({Errc::unavailable, "", "no file descriptor left"});
  socket_.emplace(io_, copy);
  PQsetNoticeProcessor(connection_.get(), [](void*, const char*) {}, nullptr);
  up_ = true;
  failures_ = 0;
  std::weak_ptr epoch = epoch_;
  events_.on_up();
  if (!epoch.expired()) readable();
}

void Link::readable() {
  if (reading_ || !up_) return;
  reading_ = true;
  socket_->async_wait(boost::asio::posix::stream_descriptor::wait_read, [this, epoch = std::weak_ptr(epoch_)](boost::system::error_code error) {
    if (error || epoch.expired()) return;
    reading_ = false;
    if (PQconsumeInput(connection_.get()) == 0) return drop(error_of(nullptr, PQerrorMessage(connection_.get())));
    events_.on_readable();
    if (epoch.expired()) return;
    flush();
    if (!epoch.expired()) readable();
  });
}

void Link::flush() {
  if (writing_ || !up_) return;
  int left = PQflush(connection_.get());
  if (left < 0) return drop(error_of(nullptr, PQerrorMessage(connection_.get())));
  if (left == 0) return;
  writing_ = true;
  socket_->async_wait(boost::asio::posix::stream_descriptor::wait_write, [this, epoch = std::weak_ptr(epoch_)](boost::system::error_code error) {
    if (error || epoch.expired()) return;
    writing_ = false;
    flush();
  });
}

void Link::fail(const Error& error) {
  if (up_) drop(error);
}

void Link::drop(const Error& error) {
  bool was_up = std::exchange(up_, false);
  epoch_ = std::make_shared<int>();
  reading_ = writing_ = false;
  resolver_.cancel();
  socket_.reset();
  connection_.reset();
  retry_later();
  if (was_up) events_.on_down(error);
}

void Link::retry_later() {
  unsigned longest = std::min(kLongestBackoffMs, kFirstBackoffMs << std::min(failures_++, 10u));
  timer_.expires_after(std::chrono::milliseconds(std::uniform_int_distribution<unsigned>(1, longest)(random_)));
  timer_.async_wait([this, epoch = std::weak_ptr(epoch_)](boost::system::error_code error) {
    if (!error && !epoch.expired()) resolve(0);
  });
}

}  // namespace parley::runtime::postgres
