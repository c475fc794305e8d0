// Outcomes that nobody tells (R18): what a router loads only when it is persisted already, and what made no event.
#include "gateway/core/test_bed.h"

namespace parley::gateway {
namespace {

using F = client::Frame;

class CoreOutcome : public TestBed {
 protected:
  void SetUp() override {
    start();
    a = connect(1);
    connect(2);
  }
  std::string own_conversation() const { return chat::to_text(chat::direct_conversation(user(1), user(2))); }

  ConnectionId a{};
};

TEST_F(CoreOutcome, is_looked_up_once_everything_below_was_told) {
  drop_deliveries = true;
  forced = {chat::Code::muted};
  give(a, send_frame(1, 2));
  ASSERT_EQ(records.size(), 1u);
  drop_deliveries = false;
  pass(900);
  EXPECT_EQ(records.size(), 1u);
  pass(200);
  ASSERT_EQ(records.size(), 2u) << "it is not stored: one more attempt";
  EXPECT_NE(records[1].attempt, records[0].attempt);
  EXPECT_EQ(records[1].since.value, 1u) << "the barrier (R8)";
  ASSERT_EQ(of(a).count(F::kSendAck), 1u);
  EXPECT_EQ(of(a).at(F::kSendAck).req_id(), 1u);
  EXPECT_EQ(of(a).count(F::kNack), 0u);
  pass(9'000);
  EXPECT_EQ(of(a).got.back().body_case(), F::kSendAck);
  EXPECT_EQ(core->stats().unanswered, 0u);
}

TEST_F(CoreOutcome, that_is_stored_is_answered_from_the_store) {
  drop_deliveries = true;
  give(a, send_frame(1, 2));
  pass(1'100);
  ASSERT_EQ(of(a).count(F::kSendAck), 1u);
  EXPECT_FALSE(of(a).at(F::kSendAck).send_ack().duplicate()) << "the client sent it once";
  EXPECT_EQ(records.size(), 1u);
}

TEST_F(CoreOutcome, that_is_stored_is_a_duplicate_to_who_sent_it_again) {
  drop_deliveries = true;
  give(a, send_frame(1, 2));
  give(a, send_frame(1, 2, "hi", true));
  pass(1'100);
  EXPECT_TRUE(of(a).at(F::kSendAck).send_ack().duplicate());
  EXPECT_EQ(records.size(), 1u);
}

TEST_F(CoreOutcome, missed_by_one_that_others_passed_is_a_temporary_nack) {  // R9
  drop_deliveries = true;
  forced = {chat::Code::muted};
  give(a, send_frame(1, 2));
  drop_deliveries = false;
  give(a, send_frame(2, 2));
  ASSERT_EQ(of(a).count(F::kSendAck), 1u);
  EXPECT_EQ(of(a).at(F::kSendAck).req_id(), 2u);
  pass(3'000);
  EXPECT_EQ(records.size(), 2u) << "a second attempt would stand behind the one that was accepted";
  ASSERT_EQ(of(a).count(F::kNack), 1u);
  EXPECT_EQ(of(a).at(F::kNack).req_id(), 1u);
  EXPECT_TRUE(of(a).at(F::kNack).nack().temporary());
  EXPECT_EQ(of(a).at(F::kNack).nack().turn(), 2u);
}

TEST_F(CoreOutcome, is_waited_for_while_something_below_may_be_parked) {
  routing = false;
  give(a, send_frame(1, 2));
  for (int i = 0; i < 100; ++i) {
    pass(50);
    core->on_link_down({0}, link::Down());
  }
  EXPECT_EQ(of(a).count(F::kNack), 0u);
  routing = true;
  run();
  ASSERT_EQ(of(a).count(F::kSendAck), 1u);
  EXPECT_FALSE(of(a).at(F::kSendAck).send_ack().duplicate());
  EXPECT_EQ(records.size(), 1u);
}

TEST_F(CoreOutcome, holds_back_what_is_sent_after_it) {  // R9
  drop_deliveries = true;
  forced = {chat::Code::muted};
  give(a, send_frame(1, 2));
  drop_deliveries = false;
  pass(900);
  store_moves = false;
  pass(200);
  give(a, send_frame(2, 2));
  EXPECT_EQ(records.size(), 1u);
  store_moves = true;
  run();
  ASSERT_EQ(records.size(), 3u);
  EXPECT_EQ(chat::to_text(records[1].id), uuid(1));
  EXPECT_EQ(chat::to_text(records[2].id), uuid(2));
  EXPECT_LE(records[2].since, records[1].since);
  EXPECT_EQ(of(a).count(F::kSendAck), 2u);
}

TEST_F(CoreOutcome, missed_twice_is_a_temporary_nack) {
  drop_deliveries = true;
  forced = {chat::Code::muted, chat::Code::muted};
  give(a, send_frame(1, 2));
  pass(2'400);
  EXPECT_EQ(records.size(), 2u);
  ASSERT_EQ(of(a).count(F::kNack), 1u);
  EXPECT_TRUE(of(a).at(F::kNack).nack().temporary());
  EXPECT_EQ(of(a).at(F::kNack).nack().turn(), 2u);
}

TEST_F(CoreOutcome, that_comes_late_counts_only_if_it_is_of_the_last_attempt) {  // R23: a second owner tells the first one's
  drop_deliveries = true;
  forced = {chat::Code::muted, chat::Code::ok};
  give(a, send_frame(1, 2));
  const std::uint64_t attempt = records.at(0).attempt;
  routing = false;
  pass(1'100);
  link::Down word;
  auto& late = *word.add_deliveries();
  late.set_conversation(std::string(chat::direct_conversation(user(1), user(2)).view()));
  late.set_id(std::string(records[0].id.view()));
  late.mutable_origin()->set_connection(a.value);
  late.mutable_origin()->set_attempt(attempt);
  late.mutable_rejected()->set_code(static_cast<std::uint32_t>(chat::Code::muted));
  core->on_link_down({0}, word);
  EXPECT_EQ(of(a).count(F::kNack), 0u);
  drop_deliveries = false;
  routing = true;
  run();
  EXPECT_EQ(of(a).count(F::kSendAck), 1u);
  EXPECT_EQ(of(a).count(F::kNack), 0u);
}

TEST_F(CoreOutcome, that_waits_for_caught_up_is_not_missed) {  // R23: acks wait like live events
  store_moves = false;
  client::Frame resume;
  auto& cursor = *resume.mutable_resume()->add_cursors();
  cursor.set_conversation(own_conversation());
  give(a, resume);
  give(a, send_frame(1, 2));
  pass(1'500);
  EXPECT_EQ(records.size(), 1u);
  EXPECT_EQ(of(a).count(F::kSendAck), 0u);
  store_moves = true;
  run();
  EXPECT_EQ(records.size(), 1u);
  ASSERT_EQ(of(a).count(F::kSendAck), 1u);
  EXPECT_FALSE(of(a).at(F::kSendAck).send_ack().duplicate());
}

TEST_F(CoreOutcome, of_a_mark_is_a_temporary_nack_at_once) {
  give(a, send_frame(1, 2));
  drop_deliveries = true;
  client::Frame mark;
  mark.set_req_id(2);
  mark.mutable_mark_read()->set_conversation(own_conversation());
  mark.mutable_mark_read()->set_seq(1);
  give(a, mark);
  pass(1'100);
  ASSERT_EQ(of(a).count(F::kNack), 1u);
  EXPECT_EQ(of(a).at(F::kNack).req_id(), 2u);
  EXPECT_TRUE(of(a).at(F::kNack).nack().temporary());
}

}  // namespace
}  // namespace parley::gateway
