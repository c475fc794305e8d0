// The server over loopback, with Beast's WebSocket client at the other end and a scripted Core behind it.
#include "gateway/server/server.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <cstdio>
#include <filesystem>
#include <future>
#include <thread>

#include "gateway/server/testing/client.h"
#include "gateway/server/testing/scripted_core.h"

namespace parley::gateway {
namespace {

using testing::HttpAnswer;
using testing::WebSocketClient;

// One shard on a thread of its own; `on` runs something there and waits.
class Shard {
 public:
  explicit Shard(ServerSettings settings = {}, const TlsContext* tls = nullptr) : metrics("gateway", "test") {
    settings.port = 0;
    server = std::make_unique<Server>(io, settings, tls, clock, ServerMetrics(metrics), [this](http::Request request, http::Respond respond) {
      if (rest) return rest(std::move(request), std::move(respond));
      respond({.status = 200, .content_type = "text/plain", .body = request.method + " " + request.target + " " + request.body, .headers = {}});
    });
    core = testing::make_scripted_core(*server);
    server->start(*core);
    tick();
    thread = std::thread([this] { io.run(); });
  }
  ~Shard() {
    io.stop();
    thread.join();
    core.reset();
  }
  template <class F>
  auto on(F f) {
    std::packaged_task<decltype(f())()> task(std::move(f));
    auto result = task.get_future();
    boost::asio::post(io, [&task] { task(); });
    return result.get();
  }
  std::vector<std::string> log() {
    return on([] { return testing::script().log; });
  }
  // Waits until the log ends with this line.
  bool logged(const std::string& line) {
    return eventually([&] {
      auto& lines = testing::script().log;
      return std::find(lines.begin(), lines.end(), line) != lines.end();
    });
  }
  bool eventually(const std::function<bool()>& condition) {
    auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (std::chrono::steady_clock::now() < limit) {
      if (on(condition)) return true;
      std::this_thread::yield();
    }
    return false;
  }
  double metric(const std::string& name) {
    auto text = metrics.exposition();
    auto at = text.find("\n" + name + " ");
    return at == text.npos ? -1 : std::stod(text.substr(at + name.size() + 2));
  }

  runtime::SystemClock clock;
  boost::asio::io_context io{1};
  runtime::Metrics metrics;
  Server::Handler rest;
  std::unique_ptr<Server> server;
  std::unique_ptr<Core> core;

 private:
  void tick() {
    timer.expires_after(std::chrono::milliseconds(10));
    timer.async_wait([this](boost::system::error_code ec) {
      if (ec) return;
      server->on_tick();
      tick();
    });
  }
  boost::asio::steady_timer timer{io};
  std::thread thread;
};

OutgoingPtr ping_frame(std::string t, bool ephemeral = false) {
  client::Frame frame;
  frame.mutable_ping()->set_t(std::move(t));
  auto out = std::make_shared<Outgoing>(std::move(frame));
  out->ephemeral = ephemeral;
  return out;
}

// Answers ping with pong.
void echo() {
  testing::script().on_frame = [](ConnectionId id, client::Frame&& frame) {
    client::Frame answer;
    answer.set_req_id(frame.req_id());
    answer.mutable_pong()->set_t(frame.ping().t());
    testing::script().sockets->send(id, std::make_shared<Outgoing>(std::move(answer)));
  };
}

TEST(Server, BothSubprotocols) {
  Shard shard;
  shard.on([] { echo(); });
  WebSocketClient json(shard.server->port(), {.protocol = "unknown, parley.v1.json"});
  EXPECT_EQ(json.protocol(), "parley.v1.json");
  json.send_text(R"({"reqId":3,"ping":{"t":"hé"}})");
  EXPECT_EQ(json.read(), R"({"reqId":3,"pong":{"t":"hé"}})");

  WebSocketClient binary(shard.server->port(), {.protocol = "parley.v1.pb"});
  client::Frame frame;
  frame.set_req_id(9);
  frame.mutable_ping()->set_t(std::string(50'000, 'x'));
  binary.send_binary(frame.SerializeAsString());
  client::Frame answer;
  ASSERT_TRUE(answer.ParseFromString(binary.read().value()));
  EXPECT_EQ(answer.pong().t(), frame.ping().t());

  json.close(1000);
  EXPECT_EQ(json.close_code(), 1000);
  EXPECT_TRUE(shard.logged("closed 0"));
  binary.reset();
  EXPECT_TRUE(shard.logged("closed 1"));
  EXPECT_TRUE(shard.eventually([&] { return shard.server->connections() == 0; }));
  EXPECT_EQ(shard.metric("parley_gateway_connections"), 0);
  EXPECT_EQ(shard.metric("parley_gateway_websockets"), 0);
}

TEST(Server, FragmentsAndPings) {
  Shard shard;
  shard.on([] { echo(); });
  WebSocketClient client(shard.server->port());
  client.ping();
  client.send_text(R"({"reqId":1,"ping":{"t":"in many pieces"}})", 8);
  EXPECT_EQ(client.read(), R"({"reqId":1,"pong":{"t":"in many pieces"}})");
  EXPECT_GT(shard.on([] { return testing::script().alive; }), 0);
}

TEST(Server, WhatCoreSendsWhileItWorksGoesOutInOrder) {
  Shard shard;
  WebSocketClient client(shard.server->port());
  ASSERT_TRUE(shard.logged("open 0"));
  shard.on([&] {
    for (int i = 0; i < 500; ++i) shard.server->send(ConnectionId{1ull << 32}, ping_frame(std::to_string(i)));
  });
  for (int i = 0; i < 500; ++i) ASSERT_EQ(client.read(), R"({"ping":{"t":")" + std::to_string(i) + R"("}})");
}

TEST(Server, CloseSendsWhatIsQueuedThenTheCode) {
  Shard shard;
  WebSocketClient client(shard.server->port());
  ASSERT_TRUE(shard.logged("open 0"));
  shard.on([&] {
    shard.server->send(ConnectionId{1ull << 32}, ping_frame("last"));
    shard.server->close(ConnectionId{1ull << 32}, 4507, "superseded");
    shard.server->send(ConnectionId{1ull << 32}, ping_frame("too late"));
  });
  EXPECT_EQ(client.read(), R"({"ping":{"t":"last"}})");
  EXPECT_EQ(client.read(), std::nullopt);
  EXPECT_EQ(client.close_code(), 4507);
  EXPECT_EQ(client.close_reason(), "superseded");
  EXPECT_TRUE(shard.eventually([&] { return shard.server->connections() == 0; }));
  EXPECT_EQ(shard.log(), std::vector<std::string>{"open 0"});  // on_closed is not called for what Core closed
}

struct Bad {
  const char* name;
  std::function<void(WebSocketClient&)> act;
  int close;
};

TEST(Server, MalformedInput) {  // D1
  for (auto& bad : {Bad{"not json", [](auto& c) { c.send_text("nonsense"); }, 4500}, Bad{"array", [](auto& c) { c.send_text("[]"); }, 4500},
                    Bad{"binary on json", [](auto& c) { c.send_binary("{}"); }, 4500}, Bad{"bad utf-8", [](auto& c) { c.send_text("{\"a\":\"\xff\"}"); }, 4500},
                    Bad{"unmasked", [](auto& c) { c.raw(std::string("\x81\x02{}", 4)); }, 4500},
                    Bad{"reserved bit", [](auto& c) { c.raw(std::string("\xC1\x80\0\0\0\0", 6)); }, 4500},
                    Bad{"too large", [](auto& c) { c.send_text(std::string(65'537, ' ')); }, 4506},
                    Bad{"too large in fragments", [](auto& c) { c.send_text(std::string(65'537, ' '), 1000); }, 4506}}) {
    Shard shard;
    WebSocketClient client(shard.server->port());
    bad.act(client);
    auto error = client.read();
    ASSERT_TRUE(error && error->starts_with(R"({"error":{"code":)")) << bad.name;
    EXPECT_EQ(client.read(), std::nullopt) << bad.name;
    EXPECT_EQ(client.close_code(), bad.close) << bad.name;
    EXPECT_EQ(shard.metric("parley_gateway_malformed_total"), 1) << bad.name;
  }
}

TEST(Server, ExactlyTheLimitIsAccepted) {  // D6
  Shard shard;
  WebSocketClient client(shard.server->port());
  std::string text = R"({"ping":{}})";
  client.send_text(text + std::string(65'536 - text.size(), ' '));
  EXPECT_TRUE(shard.logged(R"(frame 0 {"ping":{}})"));
}

TEST(Server, InvalidFramesKeepTheSocket) {
  Shard shard;
  shard.on([] { echo(); });
  WebSocketClient client(shard.server->port());
  client.send_text(R"({"reqId":7,"send":{"clientMsgId":"c1","text":5}})");
  client.send_text(R"({"reqId":8,"ping":{"t":"still here"}})");
  EXPECT_EQ(client.read(), R"({"reqId":8,"pong":{"t":"still here"}})");
  EXPECT_EQ(shard.log().at(1), "invalid 0 7 c1");
}

TEST(Server, SlowConsumerIsClosedAndTheEphemeralShed) {
  Shard shard;
  WebSocketClient client(shard.server->port(), {.receive_buffer = 4096});
  ASSERT_TRUE(shard.logged("open 0"));
  // Nobody reads: first the kernel's buffers fill, then the outbox; typing is shed before anything else happens.
  auto push = [&](bool ephemeral) {
    return shard.on([&, ephemeral] {
      for (int i = 0; i < 10; ++i) shard.server->send(ConnectionId{1ull << 32}, ping_frame(std::string(10'000, 'x'), ephemeral));
      return testing::script().log.size();
    });
  };
  for (int i = 0; i < 200; ++i) ASSERT_EQ(push(true), 1u);
  EXPECT_GT(shard.metric("parley_gateway_shed_total"), 0);
  int rounds = 0;
  while (push(false) == 1 && ++rounds < 2000) {
  }
  ASSERT_TRUE(shard.logged("fail 0 4003"));
  EXPECT_EQ(shard.metric("parley_gateway_slow_consumers_total"), 1);
  // Once it reads, it gets what was queued, the error and the code.
  std::optional<std::string> last, message;
  while ((message = client.read())) last = message;
  EXPECT_EQ(last, R"({"error":{"code":"unavailable","message":"the outbox is full"}})");
  EXPECT_EQ(client.close_code(), 4003);
}

TEST(Server, AClosingPeerThatNeverReadsIsDropped) {
  Shard shard({.close_timeout_ms = 100});
  WebSocketClient client(shard.server->port(), {.receive_buffer = 4096});
  ASSERT_TRUE(shard.logged("open 0"));
  shard.on([&] {
    for (int i = 0; i < 90; ++i) shard.server->send(ConnectionId{1ull << 32}, ping_frame(std::string(10'000, 'x')));
    shard.server->close(ConnectionId{1ull << 32}, 4001, "goawayDeadline");
  });
  EXPECT_TRUE(shard.eventually([&] { return shard.server->connections() == 0; }));
}

TEST(Server, HandshakeRefusals) {
  Shard shard({.connect_rate = {.per_minute = 1, .burst = 2}});
  auto port = shard.server->port();
  auto refused = [&](WebSocketClient::Options options) -> std::string {
    try {
      WebSocketClient client(port, options);
      return "101";
    } catch (const std::runtime_error& e) {
      return e.what();
    }
  };
  EXPECT_EQ(refused({.protocol = ""}), "400");
  EXPECT_EQ(refused({.protocol = "chat"}), "400");
  EXPECT_EQ(refused({.origin = "https://evil.example"}), "403");
  EXPECT_EQ(refused({.origin = "http://127.0.0.1:" + std::to_string(port)}), "101");
  EXPECT_EQ(testing::http_request(port, "GET", "/v1/ws").status, 426u);
  EXPECT_EQ(refused({}), "101");
  EXPECT_EQ(refused({}), "429");  // D21: the address's bucket is empty; what was refused before cost nothing
}

TEST(Server, RestKeepsAliveAndPipelines) {
  Shard shard;
  auto port = shard.server->port();
  EXPECT_EQ(testing::http_request(port, "POST", "/v1/x?y=1", "body").body, "POST /v1/x?y=1 body");
  std::string many;
  for (int i = 0; i < 2000; ++i) many += "GET /" + std::to_string(i) + " HTTP/1.1\r\nHost: h\r\n\r\n";
  many += "GET /last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
  auto answers = testing::raw_exchange(port, many);
  std::size_t count = 0;
  for (std::size_t at = 0; (at = answers.find("HTTP/1.1 200 OK", at)) != answers.npos; ++at) ++count;
  EXPECT_EQ(count, 2001u);
  EXPECT_TRUE(answers.ends_with("GET /last "));
  EXPECT_TRUE(testing::raw_exchange(port, "nonsense\r\n\r\n").starts_with("HTTP/1.1 400 Bad Request\r\n"));
  auto head = testing::raw_exchange(port, "HEAD /h HTTP/1.0\r\n\r\n");
  EXPECT_TRUE(head.ends_with("\r\n\r\n")) << head;
  auto waits = testing::raw_exchange(port, "POST /c HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n", true);
  EXPECT_TRUE(waits.starts_with("HTTP/1.1 100 Continue\r\n\r\n"));
}

TEST(Server, AnswersMayComeLateOrNever) {
  Shard shard({.answer_timeout_ms = 100});
  http::Respond kept;
  shard.on([&] { shard.rest = [&](http::Request, http::Respond respond) { kept = std::move(respond); }; });
  EXPECT_EQ(testing::raw_exchange(shard.server->port(), "GET / HTTP/1.1\r\nHost: h\r\n\r\n"), "");
  shard.on([&] { kept({}); });  // the connection is gone: nothing happens
}

TEST(Server, SlowRequestsAreCutOff) {
  Shard shard({.http_timeout_ms = 100});
  EXPECT_EQ(testing::raw_exchange(shard.server->port(), "GET / HTTP/1.1\r\nHost:"), "");
  EXPECT_EQ(testing::raw_exchange(shard.server->port(), "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nabc"), "");
  EXPECT_EQ(testing::raw_exchange(shard.server->port(), ""), "");
  EXPECT_EQ(shard.metric("parley_gateway_http_timeouts_total"), 3);
  // A WebSocket has no such limit (its silence is Core's to judge).
  shard.on([] { echo(); });
  WebSocketClient client(shard.server->port());
  EXPECT_EQ(testing::raw_exchange(shard.server->port(), ""), "");
  client.send_text(R"({"ping":{}})");
  EXPECT_EQ(client.read(), R"({"pong":{}})");
}

TEST(Server, ConnectionCaps) {
  {
    Shard shard({.max_connections = 2});
    WebSocketClient a(shard.server->port()), b(shard.server->port());
    EXPECT_ANY_THROW(WebSocketClient c(shard.server->port()));
    b.close(1000);
    ASSERT_TRUE(shard.eventually([&] { return shard.server->connections() == 1; }));
    WebSocketClient d(shard.server->port());
  }
  Shard shard({.max_connections_per_ip = 1});
  {
    WebSocketClient a(shard.server->port());
    EXPECT_ANY_THROW(WebSocketClient b(shard.server->port()));
  }
  ASSERT_TRUE(shard.eventually([&] { return shard.server->connections() == 0; }));
  WebSocketClient c(shard.server->port());
}

TEST(Server, StopAcceptingLeavesWebSockets) {
  Shard shard;
  shard.on([] { echo(); });
  WebSocketClient client(shard.server->port());
  client.send_text(R"({"ping":{}})");
  EXPECT_EQ(client.read(), R"({"pong":{}})");
  shard.on([&] { shard.server->stop_accepting(); });
  EXPECT_ANY_THROW(WebSocketClient another(shard.server->port()));
  client.send_text(R"({"ping":{}})");
  EXPECT_EQ(client.read(), R"({"pong":{}})");
}

// ---- TLS -------------------------------------------------------------------------------------------------------------

struct Certificate {
  std::filesystem::path certificate, key;
  explicit Certificate(int copies = 1) {
    char directory[] = "/tmp/parley-tls-XXXXXX";
    std::filesystem::path at = ::mkdtemp(directory);
    certificate = at / "cert.pem";
    key = at / "key.pem";
    EVP_PKEY* pair = EVP_EC_gen("P-256");
    X509* x = X509_new();
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), 0);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_set_pubkey(x, pair);
    X509_sign(x, pair, EVP_sha256());
    auto write = [](const std::filesystem::path& path, auto f) {
      FILE* file = std::fopen(path.c_str(), "w");
      f(file);
      std::fclose(file);
    };
    write(certificate, [&](FILE* f) {
      for (int i = 0; i < copies; ++i) PEM_write_X509(f, x);
    });
    write(key, [&](FILE* f) { PEM_write_PrivateKey(f, pair, nullptr, nullptr, 0, nullptr, nullptr); });
    X509_free(x);
    EVP_PKEY_free(pair);
  }
  ~Certificate() { std::filesystem::remove_all(certificate.parent_path()); }
};

TEST(Server, Tls) {
  Certificate files;
  TlsContext tls(files.certificate, files.key);
  Shard shard({}, &tls);
  shard.on([] { echo(); });
  WebSocketClient client(shard.server->port(), {.tls = true});
  for (std::size_t size : {1, 100, 20'000, 60'000}) {
    std::string t(size, 't');
    client.send_text(R"({"ping":{"t":")" + t + R"("}})");
    EXPECT_EQ(client.read(), R"({"pong":{"t":")" + t + R"("}})");
  }
  // Many at once, more than the socket takes at a time.
  shard.on([&] {
    for (int i = 0; i < 100; ++i) shard.server->send(ConnectionId{1ull << 32}, ping_frame(std::to_string(i) + std::string(9'000, 'y')));
  });
  for (int i = 0; i < 100; ++i) ASSERT_EQ(client.read(), R"({"ping":{"t":")" + std::to_string(i) + std::string(9'000, 'y') + R"("}})");
  client.close(1000);
  EXPECT_EQ(client.close_code(), 1000);
  EXPECT_TRUE(shard.eventually([&] { return shard.server->connections() == 0; }));
  // Plain text on a TLS port is not answered in the clear.
  EXPECT_EQ(testing::raw_exchange(shard.server->port(), "GET / HTTP/1.1\r\n\r\n").find("HTTP"), std::string::npos);
}

// The certificates do not fit into the socket at once: the handshake waits until it is writable, not until the client speaks, who is waiting too.
TEST(Server, TlsHandshakeThatIsWrittenInPieces) {
  Certificate files(300);
  TlsContext tls(files.certificate, files.key);
  Shard shard({.http_timeout_ms = 3'000}, &tls);
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int few = 2'048, segment = 536;
  ASSERT_EQ(::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &few, sizeof few), 0);
  ASSERT_EQ(::setsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &segment, sizeof segment), 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(shard.server->port());
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  SSL_CTX* context = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_max_cert_list(context, 1 << 20);
  SSL* ssl = SSL_new(context);
  SSL_set_fd(ssl, fd);
  EXPECT_EQ(SSL_connect(ssl), 1);
  const std::string_view request = "GET /x HTTP/1.1\r\nHost: h\r\n\r\n";
  EXPECT_EQ(SSL_write(ssl, request.data(), static_cast<int>(request.size())), static_cast<int>(request.size()));
  std::array<char, 512> answer{};
  const int read = SSL_read(ssl, answer.data(), answer.size());
  EXPECT_TRUE(read > 0 && std::string_view(answer.data(), static_cast<std::size_t>(read)).starts_with("HTTP/1.1 200"));
  SSL_free(ssl);
  SSL_CTX_free(context);
  ::close(fd);
}

TEST(Server, TlsFilesMustFit) {
  Certificate a, b;
  EXPECT_THROW(TlsContext("/nonexistent", a.key), std::runtime_error);
  EXPECT_THROW(TlsContext(a.certificate, b.key), std::runtime_error);
}

}  // namespace
}  // namespace parley::gateway
