// Over real gRPC: a router of the test's own, in process memory or over loopback.
#include "gateway/link/link_client.h"

#include <gtest/gtest.h>

#include <atomic>
#include <boost/asio/executor_work_guard.hpp>

namespace parley::gateway {
namespace {

// Records what it is sent; a stream ends when the test says so or the gateway leaves.
class TestRouter final : public link::Router::Service {
 public:
  explicit TestRouter(int port = 0) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:" + std::to_string(port), grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  ~TestRouter() override {
    server_->Shutdown(std::chrono::system_clock::now());
    server_->Wait();
  }
  std::string name() const { return "127.0.0.1:" + std::to_string(port_); }
  int port() const { return port_; }
  std::shared_ptr<grpc::Channel> in_process() { return server_->InProcessChannel({}); }

  std::atomic<int> delay_ms{0};  // between two reads
  std::vector<link::Up> received() {
    std::lock_guard lock(mutex_);
    return received_;
  }

 private:
  grpc::Status Attach(grpc::ServerContext*, grpc::ServerReaderWriter<link::Down, link::Up>* stream) override {
    link::Up up;
    while (stream->Read(&up)) {
      {
        std::lock_guard lock(mutex_);
        received_.push_back(up);
      }
      link::Down down;
      if (up.confirm()) down.set_confirmed(up.confirm());
      if (up.has_attach()) down.mutable_ring()->add_members("x");
      if (!stream->Write(down)) break;
      if (up.home_size() > 0) return grpc::Status::OK;  // the test's word for "end this stream"
      if (delay_ms) std::this_thread::sleep_for(std::chrono::milliseconds(delay_ms));
    }
    return grpc::Status::OK;
  }
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
  std::mutex mutex_;
  std::vector<link::Up> received_;
};

class LinkClientTest : public ::testing::Test {
 protected:
  void connect(std::vector<std::string> names, LinkSettings settings = {}, LinkClient::Connect way = {}) {
    client = std::make_unique<LinkClient>(io, settings,
                                          LinkClient::Handlers{[this](RouterId router) {
                                                                 ++opened[router.value];
                                                                 link::Up up;
                                                                 up.mutable_attach()->set_gateway(7);
                                                                 client->send(router, up);
                                                               },
                                                               [this](RouterId router, const link::Down& down) { downs[router.value].push_back(down); },
                                                               [this](RouterId router) { ++closed[router.value]; }},
                                          way);
    client->set_members(names);
  }
  bool until(const std::function<bool()>& condition) {
    auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!condition() && std::chrono::steady_clock::now() < limit) io.run_one_for(std::chrono::milliseconds(20));
    return condition();
  }
  void send_confirm(std::uint32_t router, std::uint64_t confirm) {
    link::Up up;
    up.add_registrations()->set_user(std::to_string(confirm));
    up.set_confirm(confirm);
    client->send({router}, std::move(up));
  }
  std::uint64_t confirmed(std::uint32_t router) {
    std::uint64_t most = 0;
    for (auto& down : downs[router]) most = std::max(most, down.confirmed());
    return most;
  }

  boost::asio::io_context io;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work{io.get_executor()};
  std::unique_ptr<LinkClient> client;
  std::map<std::uint32_t, int> opened, closed;
  std::map<std::uint32_t, std::vector<link::Down>> downs;
};

TEST_F(LinkClientTest, AttachesThenSpeaksInOrderAndInBatches) {
  TestRouter a, b;
  connect({a.name(), b.name()});
  ASSERT_TRUE(until([&] { return opened[0] == 1 && opened[1] == 1; }));
  for (std::uint64_t i = 1; i <= 5'000; ++i) send_confirm(0, i);
  ASSERT_TRUE(until([&] { return confirmed(0) == 5'000; }));
  auto received = a.received();
  ASSERT_TRUE(received[0].has_attach());
  std::uint64_t next = 1;
  for (auto& up : received) {
    for (auto& registration : up.registrations()) ASSERT_EQ(registration.user(), std::to_string(next++));
  }
  EXPECT_EQ(next, 5'001u);
  EXPECT_LT(received.size(), 2'000u);  // gathered while a write was in flight
  EXPECT_EQ(b.received().size(), 1u);
  EXPECT_TRUE(closed.empty());
}

TEST_F(LinkClientTest, ReopensWhatEnds) {
  TestRouter router;
  connect({router.name()});
  ASSERT_TRUE(until([&] { return opened[0] == 1; }));
  link::Up end;
  end.add_home();
  client->send({0}, end);
  ASSERT_TRUE(until([&] { return closed[0] == 1 && opened[0] == 2; }));
  client->break_stream({0});
  ASSERT_TRUE(until([&] { return closed[0] == 2 && opened[0] == 3; }));
  send_confirm(0, 9);
  EXPECT_TRUE(until([&] { return confirmed(0) == 9; }));
  EXPECT_EQ(client->stats().open, 1u);
}

TEST_F(LinkClientTest, FindsARouterThatComesLateOrComesBack) {
  int port = 0;
  std::string name;
  {
    TestRouter router;
    port = router.port();
    name = router.name();
    connect({name});
    ASSERT_TRUE(until([&] { return opened[0] == 1; }));
  }
  ASSERT_TRUE(until([&] { return closed[0] == 1; }));
  send_confirm(0, 1);  // nobody there: dropped, not kept
  TestRouter again(port);
  ASSERT_EQ(again.port(), port);
  ASSERT_TRUE(until([&] { return opened[0] == 2; }));
  send_confirm(0, 2);
  ASSERT_TRUE(until([&] { return confirmed(0) == 2; }));
  for (auto& up : again.received()) EXPECT_NE(up.confirm(), 1u);
}

TEST_F(LinkClientTest, OverflowBreaksTheStream) {
  TestRouter router;
  router.delay_ms = 50;
  connect({router.name()}, {.up_bytes = 100'000});
  ASSERT_TRUE(until([&] { return opened[0] == 1; }));
  link::Up large;
  large.add_registrations()->set_user(std::string(30'000, 'u'));
  for (int i = 0; i < 10; ++i) client->send({0}, large);
  EXPECT_EQ(client->stats().overflowed, 1u);
  ASSERT_TRUE(until([&] { return closed[0] == 1 && opened[0] == 2; }));
}

TEST_F(LinkClientTest, MembersComeAndGo) {
  TestRouter a, b, c;
  connect({a.name(), b.name()});
  ASSERT_TRUE(until([&] { return opened[0] == 1 && opened[1] == 1; }));
  client->set_members({a.name(), c.name()});
  EXPECT_EQ(closed[1], 1);
  ASSERT_TRUE(until([&] { return opened[1] == 2; }));
  send_confirm(1, 5);
  ASSERT_TRUE(until([&] { return confirmed(1) == 5; }));
  EXPECT_EQ(c.received().back().confirm(), 5u);
  client->set_members({a.name()});
  EXPECT_EQ(closed[1], 2);
  EXPECT_EQ(opened[0], 1);
  EXPECT_EQ(closed[0], 0);
}

TEST_F(LinkClientTest, InProcess) {
  TestRouter router;
  connect({"here"}, {}, [&](const std::string&) { return router.in_process(); });
  ASSERT_TRUE(until([&] { return opened[0] == 1; }));
  send_confirm(0, 3);
  EXPECT_TRUE(until([&] { return confirmed(0) == 3; }));
}

TEST_F(LinkClientTest, StopsWhileARouterIsAway) {
  connect({"127.0.0.1:1"});
  io.run_for(std::chrono::milliseconds(50));
  client.reset();
}

}  // namespace
}  // namespace parley::gateway
