// Over real gRPC on the loopback interface; the io_context runs on a thread of its own, as in the process.
#include "router/link_server.h"

#include <gtest/gtest.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <future>

namespace parley::router {
namespace {

using namespace std::chrono_literals;

class SteppedClock final : public runtime::Clock {
 public:
  chat::TimeMs wall() const override { return {at}; }
  chat::TimeMs steady() const override { return {at}; }
  std::atomic<std::uint64_t> at{10'000};
};

struct Server {
  SteppedClock clock;
  boost::asio::io_context io;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work{io.get_executor()};

  std::mutex mutex;
  std::condition_variable changed;
  std::vector<StreamId> opened, closed;
  std::vector<std::uint64_t> confirms;  // of the Ups, in the order handled

  std::unique_ptr<LinkServer> link;
  std::thread thread;

  explicit Server(LinkSettings settings = {.listen = "127.0.0.1:0"}) {
    link = std::make_unique<LinkServer>(io, clock, settings,
                                        LinkServer::Handlers{.on_stream = [this](StreamId id, const link::Attach&) { note([&] { opened.push_back(id); }); },
                                                             .on_up = [this](StreamId, const link::Up& up) { note([&] { confirms.push_back(up.confirm()); }); },
                                                             .on_closed = [this](StreamId id) { note([&] { closed.push_back(id); }); },
                                                             .on_written = nullptr});
    thread = std::thread([this] { io.run(); });
  }
  ~Server() {
    on_io([this] { link.reset(); });
    work.reset();
    thread.join();
  }

  template <class F>
  void note(F&& f) {
    std::lock_guard lock(mutex);
    f();
    changed.notify_all();
  }
  template <class F>
  bool wait(F&& f) {
    std::unique_lock lock(mutex);
    return changed.wait_for(lock, 10s, f);
  }
  template <class F>
  void on_io(F&& f) {
    std::promise<void> done;
    boost::asio::post(io, [&] {
      f();
      done.set_value();
    });
    done.get_future().wait();
  }
  void send(StreamId id, link::Down down) {
    on_io([&] { link->send(id, std::move(down)); });
  }
};

struct Gateway {
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<link::Router::Stub> stub;
  grpc::ClientContext context;
  std::unique_ptr<grpc::ClientReaderWriter<link::Up, link::Down>> stream;

  explicit Gateway(std::shared_ptr<grpc::Channel> over) : channel(std::move(over)), stub(link::Router::NewStub(channel)) {
    context.set_deadline(std::chrono::system_clock::now() + 30s);
    stream = stub->Attach(&context);
  }
  explicit Gateway(int port) : Gateway(grpc::CreateChannel("127.0.0.1:" + std::to_string(port), grpc::InsecureChannelCredentials())) {}

  bool attach(std::uint64_t gateway = 1) {
    link::Up up;
    up.mutable_attach()->set_gateway(gateway);
    return stream->Write(up);
  }
  bool confirm(std::uint64_t number) {
    link::Up up;
    up.set_confirm(number);
    return stream->Write(up);
  }
};

link::Down delivery(std::uint64_t offset, std::size_t bytes = 10) {
  link::Down down;
  down.add_deliveries()->set_offset(offset);
  down.mutable_deliveries(0)->mutable_event()->set_body(std::string(bytes, 'x'));
  return down;
}

TEST(LinkServer, keeps_the_order_both_ways_and_merges_what_gathers) {
  Server server;
  Gateway gateway(server.link->port());
  ASSERT_TRUE(gateway.attach());
  ASSERT_TRUE(server.wait([&] { return server.opened.size() == 1; }));
  for (std::uint64_t n = 1; n <= 500; ++n) ASSERT_TRUE(gateway.confirm(n));
  ASSERT_TRUE(server.wait([&] { return server.confirms.size() == 501; }));
  for (std::uint64_t n = 0; n <= 500; ++n) ASSERT_EQ(server.confirms[n], n);

  server.on_io([&] {
    for (std::uint64_t n = 0; n < 2'000; ++n) server.link->send(server.opened[0], delivery(n));
  });
  std::uint64_t next = 0, messages = 0;
  for (link::Down down; next < 2'000 && gateway.stream->Read(&down); ++messages)
    for (const auto& d : down.deliveries()) ASSERT_EQ(d.offset(), next++);
  EXPECT_EQ(next, 2'000u);
  EXPECT_LT(messages, 1'000u);
}

// Within a message `from` is applied first: nothing sent before it may slip behind it.
TEST(LinkServer, does_not_merge_across_a_from) {
  Server server;
  Gateway gateway(server.link->port());
  ASSERT_TRUE(gateway.attach());
  ASSERT_TRUE(server.wait([&] { return server.opened.size() == 1; }));
  server.on_io([&] {
    for (std::uint64_t n = 0; n < 100; ++n) {
      link::Down from;
      from.add_from()->set_offset(n);
      server.link->send(server.opened[0], from);
      server.link->send(server.opened[0], delivery(n));
    }
  });
  std::uint64_t froms = 0, deliveries = 0;
  for (link::Down down; deliveries < 100 && gateway.stream->Read(&down);) {
    ASSERT_LE(down.from_size(), 1);
    for (const auto& f : down.from()) ASSERT_EQ(f.offset(), froms++);
    for (const auto& d : down.deliveries()) {
      ASSERT_EQ(d.offset(), deliveries++);
      ASSERT_EQ(froms, deliveries);
    }
  }
  EXPECT_EQ(deliveries, 100u);
}

TEST(LinkServer, a_gateway_that_does_not_read_is_cut_off) {
  Server server({.listen = "127.0.0.1:0", .down_bytes = 1 << 20});
  Gateway slow(server.link->port()), other(server.link->port());
  ASSERT_TRUE(slow.attach(1));
  ASSERT_TRUE(server.wait([&] { return server.opened.size() == 1; }));
  ASSERT_TRUE(other.attach(2));
  ASSERT_TRUE(server.wait([&] { return server.opened.size() == 2; }));
  for (std::uint64_t n = 0; n < 64; ++n) server.send(server.opened[0], delivery(n, 100'000));
  ASSERT_TRUE(server.wait([&] { return server.closed.size() == 1; }));
  EXPECT_EQ(server.closed[0], server.opened[0]);
  EXPECT_EQ(server.link->stats().overflowed, 1u);
  link::Down down;
  std::uint64_t next = 0;
  while (slow.stream->Read(&down))
    for (const auto& d : down.deliveries()) ASSERT_EQ(d.offset(), next++);  // a prefix, then the end
  EXPECT_LT(next, 64u);
  EXPECT_FALSE(slow.stream->Finish().ok());
  server.send(server.opened[1], delivery(7));
  ASSERT_TRUE(other.stream->Read(&down));
  EXPECT_EQ(down.deliveries(0).offset(), 7u);
}

TEST(LinkServer, a_silent_stream_is_broken_and_one_that_speaks_is_not) {
  Server server;
  Gateway silent(server.link->port()), alive(server.link->port());
  ASSERT_TRUE(silent.attach(1));
  ASSERT_TRUE(server.wait([&] { return server.opened.size() == 1; }));
  server.clock.at += 2'000;
  ASSERT_TRUE(alive.attach(2));
  ASSERT_TRUE(server.wait([&] { return server.opened.size() == 2; }));
  server.clock.at += 1'500;
  server.on_io([&] { server.link->on_tick(); });
  ASSERT_TRUE(server.wait([&] { return server.closed.size() == 1; }));
  EXPECT_EQ(server.closed[0], server.opened[0]);
  EXPECT_EQ(server.link->stats().silent, 1u);
  ASSERT_TRUE(alive.confirm(5));
  ASSERT_TRUE(server.wait([&] { return server.confirms.back() == 5; }));
}

TEST(LinkServer, says_something_every_second) {
  Server server;
  Gateway gateway(server.link->port());
  ASSERT_TRUE(gateway.attach());
  ASSERT_TRUE(server.wait([&] { return server.opened.size() == 1; }));
  server.clock.at += 1'000;
  server.on_io([&] { server.link->on_tick(); });
  link::Down down;
  ASSERT_TRUE(gateway.stream->Read(&down));
  EXPECT_EQ(down.ByteSizeLong(), 0u);
}

TEST(LinkServer, a_stream_that_does_not_begin_with_attach_is_refused) {
  Server server;
  Gateway gateway(server.link->port());
  ASSERT_TRUE(gateway.confirm(1));
  link::Down down;
  EXPECT_FALSE(gateway.stream->Read(&down));
  EXPECT_TRUE(server.opened.empty());
}

TEST(LinkServer, reading_goes_on_after_it_had_to_wait_for_the_handlers) {
  Server server({.listen = "127.0.0.1:0", .up_messages = 4});
  Gateway gateway(server.link->port());
  ASSERT_TRUE(gateway.attach());
  ASSERT_TRUE(server.wait([&] { return server.opened.size() == 1; }));
  for (std::uint64_t n = 1; n <= 100; ++n) ASSERT_TRUE(gateway.confirm(n));
  ASSERT_TRUE(server.wait([&] { return server.confirms.size() == 101; }));
  for (std::uint64_t n = 0; n <= 100; ++n) ASSERT_EQ(server.confirms[n], n);
}

TEST(LinkServer, tells_when_the_gateway_is_gone) {
  Server server;
  {
    Gateway gateway(server.link->port());
    ASSERT_TRUE(gateway.attach());
    ASSERT_TRUE(server.wait([&] { return server.opened.size() == 1; }));
    gateway.context.TryCancel();
  }
  EXPECT_TRUE(server.wait([&] { return server.closed.size() == 1; }));
}

TEST(LinkServer, serves_a_gateway_in_the_same_process) {
  Server server({.listen = ""});
  Gateway gateway(server.link->in_process_channel());
  ASSERT_TRUE(gateway.attach());
  ASSERT_TRUE(server.wait([&] { return server.opened.size() == 1; }));
  server.send(server.opened[0], delivery(3));
  link::Down down;
  ASSERT_TRUE(gateway.stream->Read(&down));
  EXPECT_EQ(down.deliveries(0).offset(), 3u);
  gateway.context.TryCancel();
}

TEST(LinkServer, ends_while_streams_are_open) {
  auto server = std::make_unique<Server>(LinkSettings{.listen = "127.0.0.1:0", .up_messages = 1});
  Gateway a(server->link->port()), b(server->link->port());
  ASSERT_TRUE(a.attach(1));
  ASSERT_TRUE(b.attach(2));
  ASSERT_TRUE(server->wait([&] { return server->opened.size() == 2; }));
  for (std::uint64_t n = 0; n < 50; ++n) server->send(server->opened[0], delivery(n, 10'000));
  server.reset();
  link::Down down;
  while (a.stream->Read(&down)) {
  }
  EXPECT_FALSE(a.stream->Finish().ok());
}

TEST(LinkServer, a_port_that_is_taken_is_refused) {
  Server server;
  boost::asio::io_context io;
  SteppedClock clock;
  EXPECT_THROW(LinkServer(io, clock, {.listen = "127.0.0.1:" + std::to_string(server.link->port())}, {}), std::runtime_error);
}

}  // namespace
}  // namespace parley::router
