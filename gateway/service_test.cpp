#include "gateway/service.h"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace parley::gateway
