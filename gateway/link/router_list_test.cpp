#include "gateway/link/router_list.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <stdexcept>

namespace parley::gateway {
namespace {

using Names = std::vector<std::string>;

TEST(RouterList, KeepsPlaces) {
  EXPECT_EQ(RouterList::merge({}, {"a", "b"}), (Names{"a", "b"}));
  EXPECT_EQ(RouterList::merge({"a", "b", "c"}, {"c", "b", "a"}), (Names{"a", "b", "c"}));
  EXPECT_EQ(RouterList::merge({"a", "b"}, {"0", "a", "b"}), (Names{"a", "b", "0"}));
  EXPECT_EQ(RouterList::merge({"a", "b", "c"}, {"b", "c", "d"}), (Names{"d", "b", "c"}));  // d comes for a
  EXPECT_EQ(RouterList::merge({"a", "b", "c"}, {"b", "c"}), (Names{"a", "b", "c"}));       // a leaves without a successor
  EXPECT_EQ(RouterList::merge({"a", "b", "c"}, {"a"}), (Names{"a"}));
  EXPECT_EQ(RouterList::merge({"a"}, {}), Names{});
}

TEST(RouterList, Sources) {
  boost::asio::io_context io;
  auto make = [&](const std::string& source) { RouterList list(io, source, 50, [](auto&) {}); };
  for (auto bad : {"", " , ", "a", "a:", ":1", "a:b", "dns:", "dns:name", "file:"}) EXPECT_THROW(make(bad), std::invalid_argument) << bad;
  Names told;
  RouterList fixed(io, " b:2, a:1,a:1 ", 50, [&](auto& names) { told = names; });
  fixed.start();
  EXPECT_EQ(told, (Names{"a:1", "b:2"}));
  RouterList dns(io, "dns:localhost:7070", 50, [&](auto& names) { told = names; });
  dns.start();
  auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (told.size() != 1 && std::chrono::steady_clock::now() < limit) io.run_one_for(std::chrono::milliseconds(20));
  EXPECT_TRUE(told.front().ends_with(":7070"));
}

TEST(RouterList, FileIsReadAgain) {
  auto path = std::string(::testing::TempDir()) + "/routers";
  std::ofstream(path) << "# routers\na:1\nnonsense\n b:2 \n";
  boost::asio::io_context io;
  std::vector<Names> told;
  RouterList list(io, "file:" + path, 10, [&](auto& names) { told.push_back(names); });
  list.start();
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(told[0], (Names{"a:1", "b:2"}));
  std::ofstream(path) << "a:1\nb:2\nc:3\n";
  auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (told.size() < 2 && std::chrono::steady_clock::now() < limit) io.run_one_for(std::chrono::milliseconds(20));
  ASSERT_EQ(told.size(), 2u);
  EXPECT_EQ(told[1], (Names{"a:1", "b:2", "c:3"}));
  std::remove(path.c_str());
}

TEST(RouterList, AFileWithoutRoutersIsNotMeant) {
  auto path = std::string(::testing::TempDir()) + "/routers-emptied";
  std::ofstream(path) << "a:1\n";
  boost::asio::io_context io;
  std::vector<Names> told;
  RouterList list(io, "file:" + path, 1, [&](auto& names) { told.push_back(names); });
  list.start();
  std::ofstream(path) << "# being written\n";
  for (int i = 0; i < 20; ++i) io.run_one_for(std::chrono::milliseconds(20));
  std::ofstream(path) << "b:2\n";
  auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (told.size() < 2 && std::chrono::steady_clock::now() < limit) io.run_one_for(std::chrono::milliseconds(20));
  EXPECT_EQ(told, (std::vector<Names>{{"a:1"}, {"b:2"}}));
  std::remove(path.c_str());
}

}  // namespace
}  // namespace parley::gateway
