#include "gateway/service.h"

#include <openssl/rand.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <chrono>
#include <cstdlib>
#include <limits>
#include <random>

#include "runtime/config.h"
#include "runtime/log.h"

namespace parley::gateway {

namespace log = runtime::log;

namespace {

constexpr auto kTick = std::chrono::milliseconds(50);
constexpr std::uint64_t kMetricsMs = 1'000;
constexpr std::uint64_t kReservedDescriptors = 128, kThreadDescriptors = 64;  // listener, PostgreSQL, log, routers, admin port
constexpr std::uint64_t kAfterDeadlineMs = 5'000;                             // for the last closes and the log's last answers

std::uint64_t random_number() {
  std::random_device device;
  return (static_cast<std::uint64_t>(device()) << 32 | device()) | 1;
}

Settings for_core(Settings settings, const ServerSettings& server) {
  settings.max_connections = server.max_connections ? server.max_connections : std::numeric_limits<std::uint32_t>::max();
  if (RAND_bytes(settings.salt_key.data(), static_cast<int>(settings.salt_key.size())) != 1) std::abort();
  return settings;
}

ServerSettings with_limits(ServerSettings server, const Settings& core, const http::RestSettings& rest) {
  server.frame_bytes = core.limits.frame_bytes;
  server.allowed_origins = rest.allowed_origins;
  return server;
}

double seconds_since(std::chrono::steady_clock::time_point begin) { return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count(); }

}  // namespace

void declare_routers(runtime::Config& config, ServiceSettings& s) {
  config.text("gateway.routers", s.routers, "The routers: host:port,host:port or dns:name:port (a headless service) or file:/path.");
  config.number("gateway.routers_reread_ms", s.routers_reread_ms, 100, 600'000, "How often a router list from DNS or a file is read again.");
}

void declare(runtime::Config& config, ServiceSettings& s) {
  config.text("gateway.host", s.server.host, "Address clients connect to.");
  config.number("gateway.port", s.server.port, 0, 65'535, "Port for WebSocket and REST; 0: any free one.");
  config.text("gateway.tls_certificate", s.tls_certificate, "Certificate chain (PEM file); empty: no TLS.");
  config.text("gateway.tls_key", s.tls_key, "Private key of the certificate (PEM file).");
  config.require("gateway.tls_key", [&s]() -> std::optional<std::string> {
    if (s.tls_certificate.empty() == s.tls_key.empty()) return std::nullopt;
    return "certificate and key go together";
  });
  config.list("gateway.allowed_origins", s.rest.allowed_origins, "Origins of web pages besides our own that may connect, exactly as browsers send them.");
  config.number("gateway.heartbeat_ms", s.core.heartbeat_ms, 100, 600'000, "Silence after which a ping is sent; 2.2 times that without a sign of life closes.");
  config.number("gateway.hello_timeout_ms", s.core.hello_timeout_ms, 100, 60'000, "Time a new WebSocket has for its hello.");
  config.number("gateway.read_timeout_ms", s.core.read_timeout_ms, 100, 60'000, "Longest wait for a fresh snapshot before a read is answered unavailable.");
  config.number("gateway.produce_answer_ms", s.core.produce_answer_ms, 100, 60'000, "A send that the log did not take by then gets a temporary nack.");
  config.number("gateway.outcome_answer_ms", s.core.outcome_answer_ms, 100, 60'000, "A send whose outcome no router told by then gets a temporary nack.");
  config.number("gateway.replay_window", s.core.replay_window, 1, 10'000, "Replayed events that may be unacknowledged at a time.");
  config.number("gateway.buffered_frames_bytes", s.core.buffered_frames_bytes, 4'096, 1u << 30,
                "Live frames held while a session resumes; beyond: slowConsumer.");
  config.number("gateway.outbox_bytes", s.server.outbox_bytes, 4'096, 1u << 30, "What waits to be sent on one connection; beyond: slowConsumer.");
  config.number("gateway.max_connections", s.server.max_connections, 0, 10'000'000,
                "Connections at a time, each thread; lowered to what file descriptors allow; 0: as many as they allow.");
  config.number("gateway.max_connections_per_ip", s.server.max_connections_per_ip, 0, 10'000'000,
                "Connections of one address at a time, each thread; 0: no limit.");
  config.number("gateway.connects_per_minute", s.server.connect_rate.per_minute, 0, 10'000'000, "WebSockets one address may open, each thread; 0: no limit.");
  config.number("gateway.connects_burst", s.server.connect_rate.burst, 0, 10'000'000, "How many of them at once.");
  config.number("gateway.http_timeout_ms", s.server.http_timeout_ms, 100, 600'000, "Time for an HTTP request to arrive whole, and for the next one to begin.");
  config.number("gateway.max_body_bytes", s.server.max_body_bytes, 1'024, 64 << 20, "Longest body of an HTTP request.");
  config.number("gateway.up_bytes", s.link.up_bytes, 1 << 16, 1u << 30,
                "What waits for one router before its stream is broken and opened anew; at least 256 for each of max_connections.");
  config.number("gateway.drain_window_ms", s.drain_window_ms, 0, 600'000, "Within this time clients are asked to go when the process ends.");
  config.number("gateway.drain_deadline_ms", s.drain_deadline_ms, 100, 3'600'000, "After this time those still here are closed.");
  config.number("gateway.recall_window_ms", s.core.fold_limits.recall_window_ms, 0, 0xFFFFFFFFull, "How long a sender may recall a message.");
  config.number("gateway.edit_window_ms", s.core.fold_limits.edit_window_ms, 0, 0xFFFFFFFFull, "How long a sender may edit a message.");
  config.number("gateway.group_size", s.core.fold_limits.group_size, 2, 10'000'000, "Members of a group.");
  config.secret("auth.jwt_secret", s.jwt_secret, "Signs access tokens (HS256); the same on all gateways, at least 32 bytes.");
  config.require("auth.jwt_secret", [&s]() -> std::optional<std::string> {
    if (s.jwt_secret.size() >= JwtTokens::kLeastSecretBytes) return std::nullopt;
    return "at least 32 bytes are needed";
  });
  config.number("auth.access_token_ms", s.rest.access_token_ms, 1'000, 24 * 3600 * 1000, "Life of an access token.");
  config.number("auth.refresh_token_ms", s.rest.refresh_token_ms, 60'000, 0xFFFFFFFFFFull, "Life of a refresh token; each use gives a new one.");
  config.number("auth.registers_per_minute", s.rest.register_rate.per_minute, 0, 1'000'000, "Registrations of one address, each thread; 0: no limit.");
  config.number("auth.registers_burst", s.rest.register_rate.burst, 0, 1'000'000, "How many of them at once.");
  config.number("auth.logins_per_minute", s.rest.login_rate.per_minute, 0, 1'000'000, "Logins and refreshes of one address, each thread; 0: no limit.");
  config.number("auth.logins_burst", s.rest.login_rate.burst, 0, 1'000'000, "How many of them at once.");
  config.number("auth.login_failures_per_minute", s.rest.failure_rate.per_minute, 0, 1'000'000,
                "Wrong passwords for one username, each thread; beyond, nobody logs in by that name for a moment; 0: no limit.");
  config.number("auth.login_failures_burst", s.rest.failure_rate.burst, 0, 1'000'000, "How many of them at once.");
  config.number("auth.hash_threads", s.passwords.threads, 1, 64, "Threads that hash passwords, for each thread that serves.");
  config.number("auth.hash_waiting", s.passwords.waiting, 1, 100'000, "Passwords waiting to be hashed; beyond: 503.");
  config.number("auth.argon2_memory_kib", s.passwords.memory_kib, 64, 4 << 20, "Memory of argon2id for one password.");
  config.number("auth.argon2_passes", s.passwords.passes, 1, 100, "Passes of argon2id over that memory.");
}

void fit_connections(ServiceSettings& settings, std::uint32_t threads, std::uint64_t descriptors) {
  const auto reserve = std::min(kReservedDescriptors + threads * kThreadDescriptors, descriptors / 2);
  const auto most = std::max<std::uint64_t>(1, (descriptors - reserve) / threads);
  auto& wanted = settings.server.max_connections;
  if (wanted != 0 && wanted <= most) return;
  if (wanted != 0) {
    log::warn("gateway.max_connections", {{"wanted", wanted},
                                          {"threads", threads},
                                          {"lowered_to", most},
                                          {"cause", "this process may have " + std::to_string(descriptors) + " file descriptors"},
                                          {"remedy", "raise its hard limit (ulimit -Hn, LimitNOFILE=) or lower gateway.max_connections"}});
  }
  wanted = static_cast<std::uint32_t>(std::min<std::uint64_t>(most, std::numeric_limits<std::uint32_t>::max()));
}

LinkSettings with_room(LinkSettings link, std::uint32_t max_connections) {
  constexpr std::uint64_t kRegistrationBytes = 256;  // user, device (64), platform (32), connection, twice the user: once to fan out, once at his home
  constexpr std::uint64_t kMost = 1u << 30;
  const auto all = std::min(max_connections * kRegistrationBytes, kMost);
  link.up_bytes = std::max(link.up_bytes, static_cast<std::uint32_t>(all));
  return link;
}

class Service::TimedProducer final : public eventlog::Producer {
 public:
  TimedProducer(std::unique_ptr<eventlog::Producer> inner, runtime::Histogram stage) : inner_(std::move(inner)), stage_(stage) {}

  std::expected<void, eventlog::Error> produce(chat::Partition partition, std::string_view key, std::string_view value, std::string_view traceparent,
                                               std::move_only_function<void(std::expected<chat::Offset, eventlog::Error>)> done) override {
    auto timed = [stage = stage_, begin = std::chrono::steady_clock::now(),
                  done = std::move(done)](std::expected<chat::Offset, eventlog::Error> outcome) mutable {
      if (outcome) stage.observe(seconds_since(begin));
      done(std::move(outcome));
    };
    return inner_->produce(partition, key, value, traceparent, std::move(timed));
  }
  void purge(chat::Partition partition) override { inner_->purge(partition); }
  void flush(std::move_only_function<void()> done) override { inner_->flush(std::move(done)); }

 private:
  std::unique_ptr<eventlog::Producer> inner_;
  runtime::Histogram stage_;
};

Service::Service(const ServiceSettings& settings, Ports ports, std::string name, eventlog::Topic topic, std::vector<chat::Offset> ends)
    : settings_(settings),
      ports_(std::move(ports)),
      name_(std::move(name)),
      tokens_(settings_.jwt_secret),
      passwords_(ports_.io, settings_.passwords),
      rest_(settings_.rest, {ports_.clock, ports_.reader, ports_.accounts, tokens_, passwords_}, random_number()),
      server_(ports_.io, with_limits(settings_.server, settings_.core, settings_.rest), ports_.tls, ports_.clock, ServerMetrics(ports_.metrics),
              [this](http::Request request, http::Respond respond) { rest_.handle(std::move(request), std::move(respond)); }),
      producer_(std::make_unique<TimedProducer>(ports_.log.producer(), ports_.metrics.stage(runtime::Stage::log))),
      link_(ports_.io, with_room(settings_.link, settings_.server.max_connections),
            {.on_open = [this](RouterId router) { core_->on_link_open(router); },
             .on_down =
                 [this](RouterId router, const link::Down& message) {
                   auto begin = std::chrono::steady_clock::now();
                   core_->on_link_down(router, message);
                   if (message.deliveries_size() == 0) return;
                   // The server's writes were posted before this.
                   boost::asio::post(ports_.io, [stage = deliver_, begin] { stage.observe(seconds_since(begin)); });
                 },
             .on_closed = [this](RouterId router) { core_->on_link_closed(router); }},
            ports_.connect),
      core_(std::make_unique<Core>(for_core(settings_.core, settings_.server),
                                   gateway::Ports{ports_.clock, ports_.log, *producer_, ports_.reader, ports_.accounts, server_, link_, tokens_},
                                   random_number(), topic, std::move(ends), name_)),
      partitions_(topic.partitions),
      reads_(ports_.clock, ports_.log, ports_.reader, partitions_, settings_.core.read_timeout_ms),
      routers_(ports_.io, settings_.routers, settings_.routers_reread_ms, [this](const std::vector<std::string>& names) { on_routers(names); }),
      deliver_(ports_.metrics.stage(runtime::Stage::deliver)),
      sessions_(ports_.metrics.gauge("parley_gateway_sessions", "Sessions that were welcomed.")),
      unanswered_(ports_.metrics.gauge("parley_gateway_unanswered", "Operations that wait for their outcome.")),
      links_(ports_.metrics.gauge("parley_gateway_links", "Open streams to routers, over all threads.")),
      behind_(ports_.metrics.gauge("parley_gateway_behind_sessions", "Sessions that could not be replayed and will be asked to resume.")),
      silent_partitions_(ports_.metrics.gauge("parley_gateway_silent_partitions", "Partitions of which no router has spoken for 3 s, over all threads.")),
      reads_waiting_(ports_.metrics.gauge("parley_gateway_reads_waiting", "Reads that wait behind the barrier.")),
      ticker_(ports_.io) {
  ports_.health.declare("routers " + name_);
}

Service::~Service() {
  alive_.reset();
  ports_.accounts.on_login_ended([](chat::UserId, std::optional<chat::LoginId>, bool) {});
}

void Service::start() {
  ports_.accounts.on_login_ended([this, alive = std::weak_ptr(alive_)](chat::UserId user, std::optional<chat::LoginId> login, bool revoked) {
    if (alive.expired()) return;
    core_->on_login_ended(user, login, revoked);
    rest_.on_login_ended(login);
  });
  rest_.start(*core_, reads_, partitions_);
  server_.start(*core_);
  routers_.start();
  log::info("gateway.listening", {{"shard", name_}, {"host", settings_.server.host}, {"port", server_.port()}, {"tls", ports_.tls != nullptr}});
  tick();
}

void Service::on_routers(const std::vector<std::string>& names) {
  std::string list;
  for (auto& name : names) list += (list.empty() ? "" : " ") + name;
  log::info("gateway.routers", {{"shard", name_}, {"members", list}});
  link_.set_members(names);  // tells Core of the streams that end, by the old list
  core_->on_members(names);
}

void Service::tick() {
  core_->on_tick();
  server_.on_tick();
  reads_.on_tick();
  auto now = ports_.clock.steady().value;
  if (now >= next_metrics_ms_) {
    next_metrics_ms_ = now + kMetricsMs;
    tick_metrics();
  }
  if (drained_) tick_drain();
  ticker_.expires_after(kTick);
  ticker_.async_wait([this, alive = std::weak_ptr(alive_)](boost::system::error_code stopped) {
    if (!stopped && !alive.expired()) tick();
  });
}

// Gauges are the process's: each shard adds what has changed with it.
void Service::tick_metrics() {
  auto stats = core_->stats();
  auto moved = [](const runtime::Gauge& gauge, std::size_t before, std::size_t now) { gauge.add(static_cast<double>(now) - static_cast<double>(before)); };
  moved(sessions_, counted_.sessions, stats.sessions);
  moved(unanswered_, counted_.unanswered, stats.unanswered);
  moved(links_, counted_.links, stats.links);
  moved(behind_, counted_.behind, stats.behind);
  moved(silent_partitions_, counted_.silent_partitions, stats.silent_partitions);
  moved(reads_waiting_, counted_.reads_waiting, stats.reads_waiting + reads_.waiting());
  stats.reads_waiting += reads_.waiting();
  counted_ = stats;
  auto check = "routers " + name_;
  if (draining_) {
    ports_.health.not_ready(check, "draining");
  } else if (stats.links == 0) {
    ports_.health.not_ready(check, "no stream to any router");
  } else {
    ports_.health.ready(check);
  }
  if (!draining_ || drained_) ports_.health.beat(name_);
}

void Service::drain(std::function<void()> done) {
  log::info("gateway.drain", {{"shard", name_}, {"connections", server_.connections()}, {"window_ms", settings_.drain_window_ms}});
  draining_ = true;
  drained_ = std::move(done);
  ports_.health.not_ready("routers " + name_, "draining");
  server_.stop_accepting();
  give_up_ms_ = ports_.clock.steady().value + settings_.drain_deadline_ms + kAfterDeadlineMs;
  core_->drain(settings_.drain_window_ms, {ports_.clock.wall().value + settings_.drain_deadline_ms});
}

void Service::tick_drain() {
  bool empty = core_->drained() && server_.websockets() == 0;
  if (!empty && ports_.clock.steady().value < give_up_ms_) return;
  log::info("gateway.drained", {{"shard", name_}, {"left", server_.websockets()}});
  ports_.health.end_beat(name_);
  producer_->flush(std::exchange(drained_, {}));
}

}  // namespace parley::gateway
