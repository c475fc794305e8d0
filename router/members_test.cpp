#include "router/members.h"

#include <gtest/gtest.h>

#include <boost/asio/ip/tcp.hpp>
#include <filesystem>
#include <fstream>
#include <thread>

#include "router/link_server.h"

namespace parley::router {
namespace {

using namespace std::chrono_literals;
using Names = std::vector<std::string>;

// Runs the loop until `f` holds; time is real here, because sockets are.
template <class F>
bool until(boost::asio::io_context& io, F&& f, std::chrono::milliseconds limit = 10s) {
  auto deadline = std::chrono::steady_clock::now() + limit;
  while (!f()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    io.restart();
    io.run_for(5ms);
  }
  return true;
}

struct Bed {
  runtime::SystemClock clock;
  boost::asio::io_context io;
  std::vector<Names> told;
  std::unique_ptr<LinkServer> peer;

  std::string start_peer() {
    peer = std::make_unique<LinkServer>(io, clock, LinkSettings{.listen = "127.0.0.1:0"}, LinkServer::Handlers{});
    return "127.0.0.1:" + std::to_string(peer->port());
  }
  std::unique_ptr<Members> members(std::string source) {
    auto made = std::make_unique<Members>(io, clock,
                                          MemberSettings{.self = "127.0.0.1:1", .source = std::move(source), .probe_ms = 50, .gone_ms = 200, .reread_ms = 50},
                                          [this](const Names& names) { told.push_back(names); });
    made->start();
    return made;
  }
};

TEST(MemberSource, is_read_in_its_three_forms) {
  EXPECT_EQ(parse_source("a:1, b:2")->fixed, (Names{"a:1", "b:2"}));
  auto dns = parse_source("dns:routers.chat.svc:7070");
  ASSERT_TRUE(dns);
  EXPECT_EQ(dns->kind, MemberSource::Kind::dns);
  EXPECT_EQ(dns->host, "routers.chat.svc");
  EXPECT_EQ(dns->port, "7070");
  EXPECT_EQ(parse_source("file:/etc/parley/routers")->path, "/etc/parley/routers");
  EXPECT_EQ(split_address("[::1]:7070")->first, "::1");
  for (const char* bad : {"a", "a:1,b", "file:", "dns:name", ":7070"}) EXPECT_FALSE(parse_source(bad)) << bad;
}

TEST(Members, alone_is_told_at_once) {
  Bed bed;
  auto members = bed.members("127.0.0.1:1");
  ASSERT_EQ(bed.told.size(), 1u);
  EXPECT_EQ(bed.told[0], (Names{"127.0.0.1:1"}));
}

TEST(Members, a_peer_counts_while_it_answers) {
  Bed bed;
  std::string peer = bed.start_peer();
  auto members = bed.members("127.0.0.1:1," + peer);
  EXPECT_TRUE(bed.told.empty());  // the first view waits for the first probes
  ASSERT_TRUE(until(bed.io, [&] { return !bed.told.empty(); }));
  EXPECT_EQ(bed.told[0].size(), 2u);
  bed.peer.reset();
  ASSERT_TRUE(until(bed.io, [&] { return bed.told.size() == 2; }));
  EXPECT_EQ(bed.told[1], (Names{"127.0.0.1:1"}));
}

// What peers answered while this process stood still is heard before they are judged.
TEST(Members, standing_still_oneself_tells_nothing_about_others) {
  Bed bed;
  boost::asio::io_context theirs;
  LinkServer peer(theirs, bed.clock, LinkSettings{.listen = "127.0.0.1:0"}, LinkServer::Handlers{});
  std::jthread other([&](const std::stop_token& stop) {
    while (!stop.stop_requested()) theirs.restart(), theirs.run_for(5ms);
  });
  auto members = bed.members("127.0.0.1:1,127.0.0.1:" + std::to_string(peer.port()));
  ASSERT_TRUE(until(bed.io, [&] { return !bed.told.empty(); }));
  for (int i = 0; i < 5; ++i) {
    std::this_thread::sleep_for(300ms);
    EXPECT_FALSE(until(bed.io, [&] { return bed.told.size() > 1; }, 150ms)) << "after " << i << " stops";
  }
  other.request_stop();
  other.join();
}

// A stopped process: the kernel accepts, nobody greets.
TEST(Members, a_peer_that_accepts_but_says_nothing_is_gone) {
  Bed bed;
  boost::asio::ip::tcp::acceptor mute(bed.io, {boost::asio::ip::make_address("127.0.0.1"), 0});
  auto members = bed.members("127.0.0.1:" + std::to_string(mute.local_endpoint().port()));
  ASSERT_TRUE(until(bed.io, [&] { return !bed.told.empty(); }));
  EXPECT_EQ(bed.told[0], (Names{"127.0.0.1:1"}));
}

TEST(Members, a_file_is_read_again) {
  Bed bed;
  std::string peer = bed.start_peer();
  auto path = std::filesystem::temp_directory_path() / ("parley-members-" + std::to_string(::getpid()));
  std::ofstream(path) << "127.0.0.1:1\n";
  auto members = bed.members("file:" + path.string());
  ASSERT_EQ(bed.told.size(), 1u);
  std::ofstream(path) << "127.0.0.1:1\n" << peer << "  # the new one\n";
  ASSERT_TRUE(until(bed.io, [&] { return bed.told.size() == 2; }));
  EXPECT_EQ(bed.told[1].size(), 2u);
  std::filesystem::remove(path);  // unreadable: the last list stands
  EXPECT_FALSE(until(bed.io, [&] { return bed.told.size() > 2; }, 300ms));
}

TEST(Members, names_are_resolved) {
  Bed bed;
  bed.start_peer();
  auto members = bed.members("dns:localhost:" + std::to_string(bed.peer->port()));
  ASSERT_TRUE(until(bed.io, [&] { return !bed.told.empty() && bed.told.back().size() >= 2; }));
}

}  // namespace
}  // namespace parley::router
