#include "gateway/service.h"

#include <gtest/gtest.h>

#include "gateway/core/test_bed.h"

namespace parley::gateway {
namespace {

std::uint32_t fitted(std::uint32_t wanted, std::uint32_t threads, std::uint64_t descriptors) {
  ServiceSettings settings;
  settings.server.max_connections = wanted;
  fit_connections(settings, threads, descriptors);
  return settings.server.max_connections;
}

TEST(FitConnections, LeavesDescriptorsForEverythingElse) {
  EXPECT_EQ(fitted(100'000, 4, 1 << 20), 100'000u);
  EXPECT_EQ(fitted(100'000, 1, 4'096), 3'904u);
  EXPECT_EQ(fitted(100'000, 4, 4'096), 928u) << "all threads together";
  EXPECT_EQ(fitted(0, 1, 4'096), 3'904u) << "no limit: as many as there are";
  EXPECT_EQ(fitted(100, 1, 64), 32u) << "half, where there are hardly any";
}

TEST(WithRoom, AllConnectionsMayRegisterAtOnce) {
  link::Up all;

  const std::string user(16, '\xff');
  link::HomeRequest& request = *all.add_home();
  request.set_user(user);
  request.mutable_device_open()->set_connection(~0ull);
  request.mutable_device_open()->set_device(std::string(64, 'd'));
  request.mutable_device_open()->set_platform(std::string(32, 'p'));
  request.mutable_device_open()->set_moved(true);
  request.mutable_device_open()->set_opened_ms(~0ull);
  all.add_registrations()->set_user(user);
  all.set_confirm(~0ull);
  const std::size_t bytes = all.ByteSizeLong();
  for (std::uint32_t connections : {1'000u, 100'000u, 1'000'000u}) EXPECT_GE(with_room({}, connections).up_bytes, connections * bytes);
  EXPECT_EQ(with_room({.up_bytes = 1 << 16}, 10).up_bytes, 1u << 16);
  EXPECT_EQ(with_room({}, 4'000'000'000).up_bytes, 1u << 30);  // where the number is not limited either
}

class ServiceTest : public TestBed {};

TEST_F(ServiceTest, WhatHasDrainedDoesNotTurnReadyAgain) {
  boost::asio::io_context io{1};
  runtime::Metrics metrics("gateway", "test");
  runtime::Health health(clock);
  ServiceSettings settings;
  settings.server.port = 0;
  settings.routers = "127.0.0.1:1";  // nobody
  settings.jwt_secret = std::string(32, 'x');
  Service service(settings, {.io = io, .clock = clock, .log = log, .reader = *reader, .accounts = *accounts, .metrics = metrics, .health = health}, "g.0",
                  eventlog::Topic{"topic", kPartitions}, std::vector<chat::Offset>(kPartitions));
  service.start();
  auto reason = [&] {
    auto unready = health.unready();
    return unready.size() == 1 ? unready[0].reason : std::to_string(unready.size()) + " reasons";
  };
  auto until = [&](const std::function<bool()>& there) {
    auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (!there() && std::chrono::steady_clock::now() < limit) {
      io.run_one_for(std::chrono::milliseconds(100));
      clock.at += 50;
      broker.step();
    }
    return there();
  };
  EXPECT_TRUE(until([&] { return reason() == "no stream to any router"; })) << reason();
  bool drained = false;
  service.drain([&] { drained = true; });
  EXPECT_EQ(reason(), "draining");
  EXPECT_TRUE(until([&] { return drained; }));
  const auto a_second_later = clock.at + 2'000;
  until([&] { return clock.at > a_second_later; });
  EXPECT_EQ(reason(), "draining");
  clock.at += 60'000;
  EXPECT_TRUE(health.hanging().empty()) << "its loop may end now";
}

}  // namespace
}  // namespace parley::gateway
