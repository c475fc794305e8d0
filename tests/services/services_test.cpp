// The fixture itself: both servers answer, and each database and topic is a new one.
#include "tests/services/services.h"

#include <gtest/gtest.h>

namespace parley::test {
namespace {

TEST(Services, GivesFreshDatabases) { EXPECT_NE(fresh_database("services"), fresh_database("services")); }

TEST(Services, GivesFreshTopics) { EXPECT_NE(fresh_topic("services", 2), fresh_topic("services", 2)); }

}  // namespace
}  // namespace parley::test
