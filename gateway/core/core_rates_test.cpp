// What a user may cost: unanswered bytes, refused sends, look-ups.
#include "gateway/core/session_bed.h"

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
  for (std::uint32_t i = 1; i <= 65; ++i) give(a, send_frame(i, 2, std::string(32'768, 'x')), false);
  EXPECT_EQ(of(a).count(F::kNack), 0u);
  give(a, send_frame(66, 2, std::string(32'768, 'x')), false);
  ASSERT_EQ(of(a).count(F::kNack), 1u);
  EXPECT_EQ(of(a).at(F::kNack).req_id(), 66u);
  EXPECT_EQ(of(a).at(F::kNack).nack().code(), "rateLimited");
  EXPECT_EQ(of(a).at(F::kNack).nack().turn(), 2u);
  broker_moves = true;
  run();
  EXPECT_EQ(of(a).count(F::kSendAck), 65u);
}

TEST_F(CoreRates, one_large_frame_is_taken_where_nothing_is_unanswered) {
  settings.limits.unacked_sends = 1;
  settings.limits.text_bytes = 4 << 10;
  start();
  auto a = connect(1);
  client::Frame frame = group_frame(1, {2});
  frame.set_traceparent(std::string(2 << 20, 'x'));
  give(a, frame);
  EXPECT_EQ(of(a).count(F::kNack), 0u);
}

// D21: what is nacked costs no send; but it is in the log.
TEST_F(CoreRates, a_stranger_is_limited_by_what_is_refused) {
  start();
  auto a = connect(1);
  connect(2);
  auto to_strangers = [](client::Frame frame) {
    frame.mutable_send()->clear_direct_to();
    frame.mutable_send()->set_conversation(uuid(4242));
    return frame;
  };
  for (std::uint32_t i = 1; i <= 1'100; ++i) give(a, to_strangers(send_frame(i, 2)));
  EXPECT_EQ(records.size(), 1'000u);
  EXPECT_EQ(of(a).at(F::kNack, 999).nack().code(), "notFound");
  const auto& last = of(a).last(F::kNack).nack();
  EXPECT_EQ(last.code(), "rateLimited");
  EXPECT_TRUE(last.temporary());
  EXPECT_EQ(last.retry_after_ms(), 2u);
  pass(1'000);
  for (std::uint32_t i = 1'101; i <= 2'200; ++i) give(a, to_strangers(send_frame(i, 2)));
  EXPECT_EQ(records.size(), 1'500u);
}

TEST_F(CoreRates, what_is_in_flight_when_it_is_refused_is_owed) {
  settings.limits.sends_per_second = 0;
  start();
  auto a = connect(1);
  client::Frame frame = send_frame(1, 2);
  frame.mutable_send()->clear_direct_to();
  frame.mutable_send()->set_conversation(uuid(4242));
  for (std::uint32_t i = 0; i < 1'200; ++i) {
    frame.mutable_send()->set_client_msg_id(uuid(i));
    routing = i % 150 == 149;
    give(a, frame);
  }
  EXPECT_EQ(records.size(), 1'050u);
  EXPECT_EQ(of(a).last(F::kNack).nack().retry_after_ms(), 102u);
}

TEST_F(CoreRates, look_ups_of_resends_have_their_rate) {
  start();
  auto a = connect(1);
  connect(2);
  give(a, send_frame(1, 2));
  for (int i = 0; i < 1'100; ++i) give(a, send_frame(1, 2, "hi", true));
  EXPECT_EQ(of(a).count(F::kSendAck), 1'001u);
  EXPECT_EQ(of(a).last(F::kNack).nack().code(), "rateLimited");
}

}  // namespace
}  // namespace parley::gateway
