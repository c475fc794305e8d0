#include "gateway/server/server.h"

#include <sys/socket.h>

#include <boost/asio/post.hpp>
#include <cerrno>

#include "gateway/server/server_connection.h"
#include "runtime/log.h"

namespace parley::gateway {

namespace asio = boost::asio;
namespace log = runtime::log;
using asio::ip::tcp;

namespace {

constexpr std::size_t kReadBufferBytes = 64 * 1024;
constexpr int kReadsPerTurn = 8;  // then others have their turn

std::string address_of(const Tcp& socket) {
  boost::system::error_code ec;
  auto endpoint = socket.remote_endpoint(ec);
  return ec ? std::string() : endpoint.address().to_string();
}

}  // namespace

ServerMetrics::ServerMetrics(runtime::Metrics& m)
    : connections(m.gauge("parley_gateway_connections", "Open connections, HTTP and WebSocket.")),
      websockets(m.gauge("parley_gateway_websockets", "Open WebSockets.")),
      accepted(m.counter("parley_gateway_accepted_total", "Connections accepted.")),
      refused_cap(m.counter("parley_gateway_refused_total", "Connections and handshakes refused.", {{"reason", "connections"}})),
      refused_ip(m.counter("parley_gateway_refused_total", "Connections and handshakes refused.", {{"reason", "connections_per_ip"}})),
      refused_rate(m.counter("parley_gateway_refused_total", "Connections and handshakes refused.", {{"reason", "connect_rate"}})),
      http_timeouts(m.counter("parley_gateway_http_timeouts_total", "HTTP connections closed because a request did not arrive in time.")),
      accept(m.stage(runtime::Stage::accept)),
      frames_in(m.counter("parley_gateway_frames_received_total", "Client frames received.")),
      frames_out(m.counter("parley_gateway_frames_sent_total", "Frames queued to clients.")),
      bytes_in(m.counter("parley_gateway_received_bytes_total", "Bytes read from clients.")),
      bytes_out(m.counter("parley_gateway_sent_bytes_total", "Bytes written to clients.")),
      malformed(m.counter("parley_gateway_malformed_total", "Client input that was no valid frame or request.")),
      shed(m.counter("parley_gateway_shed_total", "Ephemeral frames shed because an outbox was full.")),
      slow_consumers(m.counter("parley_gateway_slow_consumers_total", "Connections closed because their outbox was full.")) {}

Server::Server(asio::io_context& io, ServerSettings settings, const TlsContext* tls, const runtime::Clock& clock, ServerMetrics metrics, Handler rest)
    : io_(io),
      settings_(std::move(settings)),
      tls_(tls ? tls->get() : nullptr),
      clock_(clock),
      metrics_(metrics),
      rest_(std::move(rest)),
      acceptor_(io.get_executor()),
      retry_(io.get_executor()),
      connects_(settings_.connect_rate),
      read_buffer_(kReadBufferBytes) {
  tcp::endpoint endpoint(asio::ip::make_address(settings_.host), settings_.port);
  acceptor_.open(endpoint.protocol());
  acceptor_.set_option(tcp::acceptor::reuse_address(true));
  // One acceptor per shard on the same port: the kernel spreads connections.
  int on = 1;
  if (::setsockopt(acceptor_.native_handle(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0) {
    throw boost::system::system_error(errno, boost::system::system_category(), "SO_REUSEPORT");
  }
  boost::system::error_code error;
  acceptor_.bind(endpoint, error);
  if (error) throw boost::system::system_error(error, "gateway.port " + std::to_string(endpoint.port()) + " of " + endpoint.address().to_string());
  acceptor_.listen(4096);
  port_ = acceptor_.local_endpoint().port();
}

Server::~Server() = default;

void Server::start(Core& core) {
  core_ = &core;
  accept();
}

void Server::stop_accepting() {
  accepting_ = false;
  boost::system::error_code ignored;
  acceptor_.close(ignored);
  retry_.cancel();
  for (auto& slot : slots_) {
    if (slot && slot->phase == Connection::Phase::http && !slot->http->busy) set_deadline(*slot, Deadline::close);
  }
}

void Server::accept() {
  acceptor_.async_accept(io_.get_executor(), [this](boost::system::error_code ec, Tcp socket) {
    if (!accepting_ || ec == asio::error::operation_aborted) return;
    if (!ec) {
      accepted(std::move(socket));
      return accept();
    }
    // Out of file descriptors, or the peer left the backlog: in either case the next may do.
    log::limited(log::Level::warn, "gateway.accept", "accept", {{"error", ec.message()}});
    retry_.expires_after(std::chrono::milliseconds(100));
    retry_.async_wait([this](boost::system::error_code stopped) {
      if (!stopped && accepting_) accept();
    });
  });
}

void Server::accepted(Tcp socket) {
  if (settings_.max_connections && open_ >= settings_.max_connections) return metrics_.refused_cap.add();
  std::string address = address_of(socket);
  if (settings_.max_connections_per_ip) {
    auto& count = per_ip_[address];
    if (count >= settings_.max_connections_per_ip) return metrics_.refused_ip.add();
    ++count;
  }
  metrics_.accepted.add();
  std::uint32_t slot;
  if (free_.empty()) {
    slot = static_cast<std::uint32_t>(slots_.size());
    slots_.emplace_back();
    uses_.push_back(0);
  } else {
    slot = free_.back();
    free_.pop_back();
  }
  ConnectionId id{static_cast<std::uint64_t>(++uses_[slot]) << 32 | slot};
  slots_[slot] = std::make_unique<Connection>(id, Socket(std::move(socket), tls_), std::move(address));
  ++open_;
  metrics_.connections.add(1);
  auto& connection = *slots_[slot];
  connection.http = std::make_unique<HttpPhase>(settings_.max_body_bytes);
  set_deadline(connection, Deadline::http);
  wait_readable(connection);
}

Server::Connection* Server::find(ConnectionId id) {
  auto slot = static_cast<std::uint32_t>(id.value);
  if (slot >= slots_.size() || !slots_[slot] || slots_[slot]->id != id) return nullptr;
  return slots_[slot].get();
}

void Server::remove(Connection& connection) {
  auto slot = static_cast<std::uint32_t>(connection.id.value);
  if (settings_.max_connections_per_ip) {
    auto count = per_ip_.find(connection.address);
    if (count != per_ip_.end() && --count->second == 0) per_ip_.erase(count);
  }
  if (connection.is_websocket) {
    --websockets_;
    metrics_.websockets.add(-1);
  }
  slots_[slot].reset();  // its waits end as aborted, and find nobody
  free_.push_back(slot);
  --open_;
  metrics_.connections.add(-1);
}

void Server::drop(Connection& connection) {
  auto id = connection.id;
  bool tell = connection.core_knows;
  remove(connection);
  if (tell) core_->on_closed(id);
}

void Server::wait_readable(Connection& connection) {
  if (connection.reading) return;
  connection.reading = true;
  auto readable = [this, id = connection.id] {
    if (auto* still = find(id)) {
      still->reading = false;
      on_readable(id);
    }
  };
  // What TLS has already taken from the socket does not make the socket readable.
  if (connection.socket.pending()) return asio::post(io_, readable);
  connection.socket.tcp().async_wait(tcp::socket::wait_read, [readable](boost::system::error_code ec) {
    if (ec != asio::error::operation_aborted) readable();
  });
}

void Server::wait_writable(Connection& connection) {
  if (connection.writing) return;
  connection.writing = true;
  connection.socket.tcp().async_wait(tcp::socket::wait_write, [this, id = connection.id](boost::system::error_code ec) {
    if (ec != asio::error::operation_aborted) on_writable(id);
  });
}

void Server::on_readable(ConnectionId id) {
  for (int turn = 0; turn < kReadsPerTurn; ++turn) {
    auto* connection = find(id);
    if (!connection) return;
    if (connection->http && connection->http->busy) return;  // http_next reads on
    auto result = connection->socket.read(read_buffer_);
    switch (result.state) {
      case Socket::State::wants_read:
        return wait_readable(*connection);
      case Socket::State::wants_write:
        return wait_writable(*connection);
      case Socket::State::closed:
        return drop(*connection);
      case Socket::State::done:
        break;
    }
    metrics_.bytes_in.add(static_cast<double>(result.bytes));
    auto bytes = std::span(read_buffer_).first(result.bytes);
    switch (connection->phase) {
      case Connection::Phase::http:
        http_input(*connection, {bytes.data(), bytes.size()});
        break;
      case Connection::Phase::websocket:
        websocket_input(*connection, bytes);
        break;
      case Connection::Phase::closing:
        break;  // too late
    }
    // A short read has emptied the socket; TLS may hold more where the socket shows none.
    connection = find(id);
    if (!connection) return;
    if (result.bytes < read_buffer_.size() && !connection->socket.tls()) break;
  }
  auto* connection = find(id);
  if (connection && !(connection->http && connection->http->busy)) wait_readable(*connection);
}

void Server::on_writable(ConnectionId id) {
  auto* connection = find(id);
  if (!connection) return;
  connection->writing = false;
  if (connection->phase == Connection::Phase::http) {
    // Nothing to write: it is TLS that waited, and reads on below.
    if (!connection->http->out.empty()) http_write(*connection);
  } else {
    flush(*connection);
  }
  // TLS may have waited for this to read on (its handshake does).
  connection = find(id);
  if (connection && connection->socket.tls() && !connection->reading) on_readable(id);
}

void Server::set_deadline(Connection& connection, Deadline kind) {
  auto& queue = kind == Deadline::http ? http_due_ : kind == Deadline::answer ? answer_due_ : close_due_;
  auto after = kind == Deadline::http ? settings_.http_timeout_ms : kind == Deadline::answer ? settings_.answer_timeout_ms : settings_.close_timeout_ms;
  connection.deadline = {clock_.steady().value + after};
  queue.push_back({connection.deadline, connection.id});
}

void Server::expire(std::deque<Due>& queue, chat::TimeMs now) {
  while (!queue.empty() && queue.front().at <= now) {
    auto due = queue.front();
    queue.pop_front();
    auto* connection = find(due.connection);
    if (!connection || connection->deadline != due.at) continue;  // met, and perhaps set anew
    if (connection->phase == Connection::Phase::http) metrics_.http_timeouts.add();
    drop(*connection);
  }
}

void Server::on_tick() {
  auto now = clock_.steady();
  for (auto* queue : {&http_due_, &answer_due_, &close_due_}) expire(*queue, now);
}

}  // namespace parley::gateway
