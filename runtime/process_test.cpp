#include "runtime/process.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

namespace parley::runtime {
namespace {

TEST(Process, HasAllFileDescriptorsItMayHave) {
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit low = before;
  low.rlim_cur = 200;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
  EXPECT_EQ(descriptor_limit(), 200u);

  ProcessSettings settings;
  start_process(settings, "test");
  EXPECT_EQ(descriptor_limit(), before.rlim_max);
  EXPECT_FALSE(settings.instance.empty());
  setrlimit(RLIMIT_NOFILE, &before);
}

}  // namespace
}  // namespace parley::runtime
