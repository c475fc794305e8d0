#include "router/home.h"

#include <gtest/gtest.h>

#include "router/test_bed.h"

namespace parley::router {
namespace {

struct Bed : TestBed {
  using TestBed::TestBed;
  StreamId a = attach(1, {}), b = attach(2, {});

  void open(StreamId stream, std::uint64_t connection, std::string device, std::uint64_t opened_ms, bool moved = false) {
    link::Up up;
    auto& request = *up.add_home();
    request.set_user(std::string(user(1).view()));
    auto& open = *request.mutable_device_open();
    open.set_connection(connection);
    open.set_device(std::move(device));
    open.set_platform("web");
    open.set_opened_ms(opened_ms);
    open.set_moved(moved);
    core->on_up(stream, up);
  }
  void close(StreamId stream, std::uint64_t connection) {
    link::Up up;
    auto& request = *up.add_home();
    request.set_user(std::string(user(1).view()));
    request.mutable_device_close()->set_connection(connection);
    core->on_up(stream, up);
  }
  link::Leased lease(std::uint32_t tokens) {
    link::Up up;
    auto& request = *up.add_home();
    request.set_user(std::string(user(1).view()));
    request.mutable_lease()->set_tokens(tokens);
    core->on_up(a, up);
    return last(a).leased();
  }
  void watch(StreamId stream, std::uint8_t watcher, bool off = false) {
    link::Up up;
    auto& request = *up.add_home();
    request.set_user(std::string(user(1).view()));
    request.mutable_presence_watch()->set_watcher(std::string(user(watcher).view()));
    request.mutable_presence_watch()->set_off(off);
    core->on_up(stream, up);
  }
  link::HomeReply last(StreamId stream) {
    auto all = streams.replies(stream);
    return all.empty() ? link::HomeReply{} : all.back();
  }
  std::size_t count(StreamId stream) { return streams.replies(stream).size(); }
};

TEST(Home, the_later_connection_of_a_device_supersedes_the_earlier) {
  Bed bed;
  bed.open(bed.a, 1, "phone", 1'000);
  EXPECT_EQ(bed.last(bed.a).device_opened().connection(), 1u);
  bed.open(bed.b, 2, "phone", 2'000);
  EXPECT_EQ(bed.last(bed.b).device_opened().connection(), 2u);
  EXPECT_EQ(bed.last(bed.a).superseded().connection(), 1u);
}

TEST(Home, an_older_connection_told_late_is_the_one_superseded) {
  Bed bed;
  bed.open(bed.a, 2, "phone", 2'000);
  bed.open(bed.b, 1, "phone", 1'000, true);
  EXPECT_EQ(bed.last(bed.b).superseded().connection(), 1u);
  EXPECT_EQ(bed.last(bed.a).device_opened().connection(), 2u);
}

TEST(Home, the_same_connection_told_again_is_not_superseded) {
  Bed bed;
  bed.open(bed.a, 1, "phone", 1'000);
  bed.open(bed.a, 1, "phone", 1'000, true);
  for (const auto& reply : bed.streams.replies(bed.a)) EXPECT_FALSE(reply.has_superseded());
}

TEST(Home, devices_are_counted_by_their_ids) {
  Bed bed({.intake_wait_ms = 0, .devices = 2});
  bed.open(bed.a, 1, "one", 1);
  bed.open(bed.a, 2, "two", 2);
  bed.open(bed.b, 3, "two", 3);  // supersedes, does not count
  EXPECT_TRUE(bed.last(bed.b).has_device_opened());
  bed.open(bed.b, 4, "three", 4);
  EXPECT_EQ(bed.last(bed.b).device_refused().connection(), 4u);
  bed.open(bed.b, 5, "moved here", 5, true);
  EXPECT_TRUE(bed.last(bed.b).has_device_opened());
  bed.close(bed.b, 5);
  bed.close(bed.a, 1);
  bed.open(bed.b, 6, "three", 6);
  EXPECT_TRUE(bed.last(bed.b).has_device_opened());
}

TEST(Home, a_broken_stream_takes_its_devices_with_it) {
  Bed bed({.intake_wait_ms = 0, .devices = 1});
  bed.open(bed.a, 1, "one", 1);
  bed.core->on_stream_closed(bed.a);
  bed.open(bed.b, 2, "two", 2);
  EXPECT_TRUE(bed.last(bed.b).has_device_opened());
}

TEST(Home, tokens_are_leased_from_one_bucket_per_user) {
  Bed bed({.intake_wait_ms = 0, .sends_per_second = 10, .send_burst = 20});
  bed.open(bed.a, 1, "one", 1);
  EXPECT_EQ(bed.last(bed.a).device_opened().tokens(), 5u);
  EXPECT_EQ(bed.lease(10).tokens(), 10u);
  EXPECT_EQ(bed.lease(10).tokens(), 5u);
  auto none = bed.lease(10);
  EXPECT_EQ(none.tokens(), 0u);
  EXPECT_EQ(none.retry_after_ms(), 100u);
  bed.clock.at += 300;
  EXPECT_EQ(bed.lease(10).tokens(), 3u);
  bed.clock.at += 60'000;
  EXPECT_EQ(bed.lease(100).tokens(), 20u);  // never more than the burst
}

TEST(Home, without_a_rate_the_grant_is_large) {
  Bed bed({.intake_wait_ms = 0, .sends_per_second = 0});
  EXPECT_EQ(bed.lease(1).tokens(), Home::kUnlimited);
}

TEST(Home, presence_is_told_at_once_and_on_change) {
  Bed bed;
  bed.watch(bed.b, 2);
  EXPECT_FALSE(bed.last(bed.b).presence_changed().online());
  bed.open(bed.a, 1, "phone", 1);
  auto online = bed.last(bed.b).presence_changed();
  EXPECT_TRUE(online.online());
  ASSERT_EQ(online.platforms_size(), 1);
  EXPECT_EQ(online.platforms(0), "web");
  EXPECT_EQ(online.watchers(), users({2}));
  bed.close(bed.a, 1);
  std::size_t before = bed.count(bed.b);
  bed.tick(500);
  EXPECT_EQ(bed.count(bed.b), before);  // he may be back in a moment
  bed.tick(600);
  auto offline = bed.last(bed.b).presence_changed();
  EXPECT_FALSE(offline.online());
  EXPECT_GT(offline.last_seen_ms(), 0u);
}

TEST(Home, a_reconnect_shows_nothing_but_online) {
  Bed bed;
  bed.watch(bed.b, 2);
  bed.open(bed.a, 1, "phone", 1);
  bed.core->on_stream_closed(bed.a);
  bed.tick(500);
  bed.open(bed.b, 2, "phone", 2, true);
  bed.tick(2'000);
  auto replies = bed.streams.replies(bed.b);
  for (std::size_t i = 1; i < replies.size(); ++i)
    if (replies[i].has_presence_changed()) EXPECT_TRUE(replies[i].presence_changed().online());
}

TEST(Home, who_stops_watching_is_not_told) {
  Bed bed;
  bed.watch(bed.b, 2);
  bed.watch(bed.b, 2, true);
  std::size_t before = bed.count(bed.b);
  bed.open(bed.a, 1, "phone", 1);
  EXPECT_EQ(bed.count(bed.b), before);
}

TEST(Home, idle_users_are_forgotten) {
  Bed bed;
  bed.open(bed.a, 1, "phone", 1);
  bed.close(bed.a, 1);
  EXPECT_EQ(bed.core->stats().users, 1u);
  bed.tick(30'000);
  bed.tick(30'000);
  EXPECT_EQ(bed.core->stats().users, 0u);
}

}  // namespace
}  // namespace parley::router
