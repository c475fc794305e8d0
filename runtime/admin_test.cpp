#include "runtime/admin.h"

#include <gtest/gtest.h>

#include <atomic>
#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <boost/system/system_error.hpp>
#include <string>

namespace parley::runtime {
namespace {

namespace asio = boost::asio;
using tcp = asio::ip::tcp;

class AdminTest : public testing::Test {
 protected:
  tcp::socket connect() {
    tcp::socket socket(io_);
    socket.connect({asio::ip::make_address("127.0.0.1"), admin.port()});
    return socket;
  }

  // The whole answer to one request.
  std::string ask(std::string_view method, std::string_view path) {
    auto socket = connect();
    asio::write(socket, asio::buffer(std::string(method) + " " + std::string(path) + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
    std::string answer;
    boost::system::error_code error;
    asio::read(socket, asio::dynamic_buffer(answer), error);
    return answer;
  }

  asio::io_context io_;
  SystemClock clock;
  Health health{clock};
  Metrics metrics{"test", "test-0"};
  std::atomic<int> drains = 0;
  Admin admin{{}, metrics, health, R"({"a":{"b":1}})", [this] { ++drains; }};
};

bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

TEST_F(AdminTest, ReadyzNamesWhatIsMissing) {
  health.declare("store");
  auto answer = ask("GET", "/readyz");
  EXPECT_TRUE(has(answer, "HTTP/1.1 503")) << answer;
  EXPECT_TRUE(has(answer, "store: starting\n")) << answer;
  health.ready("store");
  EXPECT_TRUE(has(ask("GET", "/readyz"), "HTTP/1.1 200"));
}

TEST_F(AdminTest, HealthzMetricsConfigVersion) {
  EXPECT_TRUE(has(ask("GET", "/healthz"), "HTTP/1.1 200"));
  auto metrics_text = ask("GET", "/metrics");
  EXPECT_TRUE(has(metrics_text, "version=0.0.4"));
  EXPECT_TRUE(has(metrics_text, "parley_build_info{"));
  EXPECT_TRUE(has(ask("GET", "/config"), R"({"a":{"b":1}})"));
  EXPECT_TRUE(has(ask("GET", "/config?x=1"), "HTTP/1.1 200"));
  EXPECT_TRUE(has(ask("GET", "/version"), "0.1.0"));
}

TEST_F(AdminTest, DrainIsAPostAndHappensOnce) {
  EXPECT_TRUE(has(ask("GET", "/drain"), "HTTP/1.1 405"));
  EXPECT_EQ(drains, 0);
  EXPECT_TRUE(has(ask("POST", "/drain"), "HTTP/1.1 202"));
  EXPECT_TRUE(has(ask("POST", "/drain"), "HTTP/1.1 202"));
  EXPECT_EQ(drains, 1);
}

TEST_F(AdminTest, OtherPathsAndMethodsAreRefused) {
  EXPECT_TRUE(has(ask("GET", "/"), "HTTP/1.1 404"));
  EXPECT_TRUE(has(ask("GET", "/healthz/../config"), "HTTP/1.1 404"));
  EXPECT_TRUE(has(ask("PUT", "/config"), "HTTP/1.1 405"));
  EXPECT_TRUE(has(ask("HEAD", "/healthz"), "HTTP/1.1 200"));
}

TEST_F(AdminTest, ConnectionsHaveABoundAndOneThatEndsMakesRoom) {
  std::vector<tcp::socket> idle;
  for (std::size_t i = 0; i < Admin::kConnections; ++i) idle.push_back(connect());
  auto waiting = connect();  // in the backlog
  asio::write(waiting, asio::buffer(std::string("GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")));
  idle.pop_back();
  std::string answer;
  boost::system::error_code error;
  asio::read(waiting, asio::dynamic_buffer(answer), error);
  EXPECT_TRUE(has(answer, "HTTP/1.1 200")) << answer;
}

TEST_F(AdminTest, ABusyPortIsAnErrorAtOnce) {
  AdminSettings settings;
  settings.port = admin.port();
  EXPECT_THROW(Admin(settings, metrics, health, "{}"), boost::system::system_error);
}

TEST(AdminStart, APortThatIsTakenIsNamed) {
  SystemClock clock;
  Metrics metrics("test", "t");
  Health health(clock);
  const Admin first({}, metrics, health, "{}", [] {});
  try {
    const Admin second({.host = "127.0.0.1", .port = first.port()}, metrics, health, "{}", [] {});
    ADD_FAILURE() << "two listen on one port";
  } catch (const std::exception& error) {
    EXPECT_NE(std::string(error.what()).find("admin.port " + std::to_string(first.port())), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace parley::runtime
