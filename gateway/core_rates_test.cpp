// What a user may cost: unanswered bytes, refused sends, look-ups.
#include "gateway/session_bed.h"

namespace parley::gateway {
namespace {

using F = client::Frame;

class CoreRates : public SessionBed {};

TEST_F(CoreRates, unanswered_sends_are_bounded_in_bytes) {
  settings.limits.sends_per_second = 0;
  start();
  auto a = connect(1);
  connect(2);
  broker_moves = false;
  for (std::uint32_t i = 1; i <= 32; ++i) give(a, send_frame(i, 2, std::string(32'768, 'x')), false);
  ASSERT_EQ(of(a).count(F::kNack), 1u);
  EXPECT_EQ(of(a).at(F::kNack).req_id(), 32u);
  EXPECT_EQ(of(a).at(F::kNack).nack().code(), "rateLimited");
  EXPECT_EQ(of(a).at(F::kNack).nack().turn(), 2u);
  broker_moves = true;
  run();
  EXPECT_EQ(of(a).count(F::kSendAck), 31u);
}

}  // namespace
}  // namespace parley::gateway
