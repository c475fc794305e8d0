// Delivered marks (D31): what an ack may be about, what it costs, and who is told.
#include "gateway/core/session_bed.h"

namespace parley::gateway {
namespace {

using F = client::Frame;

class CoreMarks : public SessionBed {
 protected:
  std::string direct(std::uint8_t a, std::uint8_t b) { return chat::to_text(chat::direct_conversation(user(a), user(b))); }
};

TEST_F(CoreMarks, acks_are_coalesced_and_told_to_the_others_only) {
  start();
  auto a = connect(1), b = connect(2), b2 = connect(2, "web");
  std::vector<std::uint64_t> seqs{1, 2, 3};
  for (auto seq : seqs) give(a, send_frame(static_cast<std::uint32_t>(seq), 2));
  std::size_t before = records.size();
  for (auto seq : seqs) give(b, ack_frame(direct(1, 2), seq));
  EXPECT_EQ(records.size(), before);
  pass(600);
  EXPECT_EQ(records.size(), before + 1);
  EXPECT_EQ(of(a).last(F::kMarker).marker().delivered_seq(), 3u);
  EXPECT_EQ(of(b).count(F::kMarker), 0u) << "whose it is knows it";
  EXPECT_EQ(of(b2).count(F::kMarker), 0u);
  pass(5'000);
  EXPECT_EQ(records.size(), before + 1);
}

TEST_F(CoreMarks, an_ack_counts_only_for_what_was_sent_here) {
  start();
  auto a = connect(1), b = connect(2), stranger = connect(3);
  give(a, send_frame(1, 2));
  std::size_t before = records.size();
  for (std::uint32_t i = 0; i < 100; ++i) give(stranger, ack_frame(uuid(i), 7));
  give(stranger, ack_frame(direct(1, 2), 1));
  pass(600);
  EXPECT_EQ(records.size(), before);
  give(b, ack_frame(direct(1, 2), 99));
  pass(600);
  EXPECT_EQ(of(a).last(F::kMarker).marker().delivered_seq(), 1u) << "clamped";
  give(b, ack_frame(direct(1, 2), 99));
  pass(5'000);
  EXPECT_EQ(records.size(), before + 1) << "nothing was sent since";
}

TEST_F(CoreMarks, what_an_earlier_connection_got_is_acknowledged_on_the_next) {
  start();
  auto c = conversation(3);
  auto a = connect(1);
  auto b = hello(with_cursor(hello_frame(2), c, 2));
  give(b, ack_frame(c, 2));
  pass(600);
  EXPECT_EQ(of(a).last(F::kMarker).marker().delivered_seq(), 2u) << "the third was replayed, not acknowledged";
  give(b, ack_frame(c, 3));
  pass(3'000);
  EXPECT_EQ(of(a).last(F::kMarker).marker().delivered_seq(), 3u);
}

TEST_F(CoreMarks, what_history_gave_is_acknowledged_too) {
  start();
  auto c = conversation(3);
  auto a = connect(1), b = connect(2);
  client::Frame ask;
  ask.set_req_id(1);
  ask.mutable_history()->set_conversation(c);
  give(b, ask);
  give(b, ack_frame(c, 3));
  pass(600);
  EXPECT_EQ(of(a).last(F::kMarker).marker().delivered_seq(), 3u);
}

TEST_F(CoreMarks, none_where_there_are_no_receipts) {
  start();
  receipts = false;
  auto a = connect(1), b = connect(2);
  give(a, send_frame(1, 2));
  give(b, ack_frame(direct(1, 2), 1));
  std::size_t before = records.size();
  pass(3'000);
  EXPECT_EQ(records.size(), before) << "R22";
}

TEST_F(CoreMarks, a_mark_outlives_the_last_socket_of_its_user) {
  start();
  auto a = connect(1), b = connect(2);
  give(a, send_frame(1, 2));
  give(b, ack_frame(direct(1, 2), 1));
  core->on_closed(b);
  pass(600);
  EXPECT_EQ(of(a).last(F::kMarker).marker().delivered_seq(), 1u);
}

TEST_F(CoreMarks, no_mark_is_lost_when_the_gateway_goes) {
  start();
  auto a = connect(1), b = connect(2);
  give(a, send_frame(1, 2));
  core->drain(1, {clock.wall().value + 5'000});
  give(b, ack_frame(direct(1, 2), 1));
  std::size_t before = records.size();
  core->on_closed(a);
  core->on_closed(b);
  EXPECT_FALSE(core->drained());
  pass(50);
  EXPECT_EQ(records.size(), before + 1);
  EXPECT_TRUE(core->drained());
}

TEST_F(CoreMarks, no_mark_is_lost_when_the_log_takes_none) {
  start();
  auto a = connect(1), b = connect(2);
  give(a, send_frame(1, 2));
  std::size_t before = records.size();
  broker_moves = false;
  while (producer->produce({0}, "", "", "", [](auto) {})) {
  }
  give(b, ack_frame(direct(1, 2), 1));
  pass(600);
  producer->purge({0});
  broker_moves = true;
  pass(3'000);
  EXPECT_EQ(records.size(), before + 1);
  EXPECT_EQ(of(a).last(F::kMarker).marker().delivered_seq(), 1u);
}

TEST_F(CoreMarks, no_mark_is_lost_with_what_the_log_did_not_answer) {
  start();
  auto a = connect(1), b = connect(2);
  give(a, send_frame(1, 2));
  std::size_t before = records.size();
  broker_moves = false;
  give(b, ack_frame(direct(1, 2), 1));
  pass(600);
  ASSERT_EQ(producer->queued(), 1u);
  EXPECT_TRUE(producer->expire({0}) || producer->expire({1}));
  EXPECT_TRUE(producer->tell());  // purged
  EXPECT_EQ(producer->queued(), 0u);
  broker_moves = true;
  pass(3'000);
  EXPECT_EQ(records.size(), before + 1);
  EXPECT_EQ(of(a).last(F::kMarker).marker().delivered_seq(), 1u);
}

TEST_F(CoreMarks, many_cursors_cost_more_than_one) {
  start();
  auto b = connect(2);
  client::Frame ack;
  ack.set_req_id(1);
  for (std::uint32_t i = 0; i < 1'000; ++i) ack.mutable_ack()->add_cursors()->set_conversation(uuid(i));
  for (int i = 0; i < 4; ++i) give(b, ack);
  EXPECT_EQ(of(b).count(F::kNack), 0u) << "a quarter of the burst each, however many cursors";
  give(b, ack);
  EXPECT_EQ(of(b).last(F::kNack).nack().code(), "rateLimited");
  client::Frame resume;
  resume.set_req_id(2);
  *resume.mutable_resume()->mutable_cursors() = ack.ack().cursors();
  give(b, resume);
  EXPECT_EQ(of(b).last(F::kNack).req_id(), 2u);
  EXPECT_EQ(of(b).last(F::kNack).nack().retry_after_ms(), 1'000u);
}

TEST_F(CoreMarks, as_many_cursors_as_are_allowed_can_be_paid_for) {
  settings.limits.cursors = 100'000;
  start();
  auto b = connect(2);
  client::Frame resume = resume_frame(1);
  for (std::uint32_t i = 0; i < 5'000; ++i) resume.mutable_resume()->add_cursors()->set_conversation(uuid(i));
  give(b, resume);
  EXPECT_EQ(of(b).count(F::kNack), 0u);
}

// D32: the replay waits for acks; the limit is about marks.
TEST_F(CoreMarks, an_ack_beyond_the_rate_still_opens_the_replay_window) {
  settings.replay_window = 2;
  start();
  auto c = conversation(4);
  auto b = hello(with_cursor(hello_frame(2), c, 0));
  EXPECT_EQ(of(b).count(F::kEvent), 2u);
  client::Frame costly = ack_frame(c, 2);
  for (std::uint32_t i = 0; i < 999; ++i) costly.mutable_ack()->add_cursors()->set_conversation(uuid(i));
  client::Frame bogus = costly;
  bogus.mutable_ack()->mutable_cursors(0)->set_conversation(uuid(5000));
  for (int i = 0; i < 4; ++i) give(b, bogus);
  give(b, costly);
  EXPECT_EQ(of(b).count(F::kEvent), 4u);
  EXPECT_EQ(of(b).count(F::kCaughtUp), 1u);
}

}  // namespace
}  // namespace parley::gateway
