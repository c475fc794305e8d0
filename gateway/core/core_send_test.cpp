// Sends and operations through the whole core: acks, order, duplicates, refusals.
#include "gateway/core/test_bed.h"

namespace parley::gateway {
namespace {

using F = client::Frame;

class CoreSend : public TestBed {};

TEST_F(CoreSend, ack_to_the_sender_event_to_everyone_else) {
  start();
  auto a = connect(1, "phone"), a2 = connect(1, "web"), b = connect(2);
  give(a, send_frame(7, 2));

  ASSERT_EQ(of(a).count(F::kSendAck), 1u);
  const auto& ack = of(a).at(F::kSendAck);
  EXPECT_EQ(ack.req_id(), 7u);
  EXPECT_EQ(ack.send_ack().seq(), 1u);
  EXPECT_EQ(ack.send_ack().number(), 1u);
  EXPECT_EQ(ack.send_ack().client_msg_id(), uuid(7));
  EXPECT_EQ(ack.send_ack().conversation(), chat::to_text(chat::direct_conversation(user(1), user(2))));
  EXPECT_FALSE(ack.send_ack().duplicate());
  EXPECT_EQ(of(a).count(F::kEvent), 0u) << "D15: never one's own event on the connection that sent";

  for (auto id : {a2, b}) {
    ASSERT_EQ(of(id).count(F::kEvent), 1u);
    const auto& event = of(id).at(F::kEvent).event();
    EXPECT_EQ(event.seq(), 1u);
    EXPECT_EQ(event.sender(), text(user(1)));
    EXPECT_EQ(event.sender_device(), "phone");
    EXPECT_EQ(event.client_msg_id(), uuid(7));
    EXPECT_EQ(event.server_time_ms(), ack.send_ack().server_time_ms());
    EXPECT_EQ(event.chain(), ack.send_ack().chain());
    EXPECT_EQ(event.message().text().body(), "hi");
  }
  EXPECT_EQ(last_outgoing[a2], last_outgoing[b]) << "made once, shared by all";
  EXPECT_EQ(core->stats().unanswered, 0u);
}

TEST_F(CoreSend, traceparent_is_taken_not_made) {
  start();
  auto a = connect(1);
  auto frame = send_frame(1, 2);
  frame.set_traceparent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
  give(a, frame);
  give(a, send_frame(2, 2));
  ASSERT_EQ(records.size(), 2u);
  EXPECT_EQ(records[0].traceparent, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
  EXPECT_EQ(records[1].traceparent, "");
}

TEST_F(CoreSend, no_ack_before_the_log_has_it) {
  start();
  auto a = connect(1);
  connect(2);
  broker.set_available(false);
  give(a, send_frame(1, 2));
  EXPECT_EQ(of(a).count(F::kSendAck), 0u);
}

TEST_F(CoreSend, log_away_nacks_temporarily_within_a_second_and_a_late_ack_still_counts) {
  start();
  auto a = connect(1);
  connect(2);
  broker.set_available(false);
  give(a, send_frame(1, 2));
  give(a, send_frame(2, 2));
  pass(900);
  EXPECT_EQ(of(a).count(F::kNack), 0u);
  pass(200);
  ASSERT_EQ(of(a).count(F::kNack), 2u);
  for (std::size_t i = 0; i < 2; ++i) {
    const auto& nack = of(a).at(F::kNack, i);
    EXPECT_EQ(nack.req_id(), i + 1);
    EXPECT_EQ(nack.nack().code(), "unavailable");
    EXPECT_TRUE(nack.nack().temporary());
    EXPECT_EQ(nack.nack().turn(), 2u) << "one refusal, one turn";
  }
  broker.set_available(true);
  run();
  ASSERT_EQ(of(a).count(F::kSendAck), 2u) << "R23: an ack of any attempt answers";
  EXPECT_EQ(of(a).at(F::kSendAck).req_id(), 0u) << "its request was answered before";
  EXPECT_EQ(core->stats().unanswered, 0u);
}

TEST_F(CoreSend, expiry_purges_and_closes_the_sessions_concerned) {
  start();
  auto a = connect(1), b = connect(2), c = connect(3);
  broker.set_available(false);
  give(a, send_frame(1, 2));
  give(b, send_frame(2, 1));  // the same conversation, so the same partition
  auto partition = chat::partition_of(chat::direct_conversation(user(1), user(2)), kPartitions);
  ASSERT_TRUE(producer->expire(partition));
  run();
  EXPECT_EQ(of(a).close, 4005);
  EXPECT_EQ(of(b).close, 4005);
  EXPECT_FALSE(of(c).close);
  EXPECT_EQ(of(a).last(F::kError).error().code(), "unavailable");
  EXPECT_EQ(producer->queued(), 0u);
}

TEST_F(CoreSend, no_outcome_from_any_router_nacks_temporarily) {
  start();
  auto a = connect(1);
  connect(2);
  routing = false;
  give(a, send_frame(1, 2));
  // Life on the stream goes on, only outcomes do not come.
  for (int i = 0; i < 170; ++i) {
    pass(50);
    core->on_link_down({0}, link::Down());
  }
  ASSERT_EQ(of(a).count(F::kNack), 1u);
  EXPECT_TRUE(of(a).at(F::kNack).nack().temporary());
  routing = true;
  run();
  EXPECT_EQ(of(a).count(F::kSendAck), 1u);
  EXPECT_EQ(of(a).count(F::kEvent), 0u);
}

// ---- R8 ----

TEST_F(CoreSend, resend_that_is_stored_gets_the_first_ack_again) {
  start();
  auto a = connect(1);
  connect(2);
  give(a, send_frame(1, 2));
  auto again = connect(1, "other");
  give(again, send_frame(1, 2, "hi", true));
  ASSERT_EQ(of(again).count(F::kSendAck), 1u);
  auto first = of(a).at(F::kSendAck).send_ack(), second = of(again).at(F::kSendAck).send_ack();
  EXPECT_TRUE(second.duplicate());
  second.set_duplicate(false);
  EXPECT_EQ(first.SerializeAsString(), second.SerializeAsString()) << "D19";
  EXPECT_EQ(records.size(), 1u) << "nothing was produced";
}

TEST_F(CoreSend, resend_that_is_not_stored_is_produced_with_the_barrier_as_since) {
  start();
  auto a = connect(1);
  connect(2);
  give(a, send_frame(1, 2));
  give(a, send_frame(2, 2, "hi", true));
  ASSERT_EQ(records.size(), 2u);
  EXPECT_EQ(records[1].since.value, 1u);
  EXPECT_EQ(of(a).count(F::kSendAck), 2u);
  EXPECT_EQ(of(a).at(F::kSendAck, 1).send_ack().seq(), 2u);
}

TEST_F(CoreSend, resend_with_another_payload_conflicts) {
  start();
  auto a = connect(1);
  connect(2);
  give(a, send_frame(1, 2));
  give(a, send_frame(1, 2, "other", true));
  ASSERT_EQ(of(a).count(F::kNack), 1u);
  EXPECT_EQ(of(a).at(F::kNack).nack().code(), "conflict");
  EXPECT_FALSE(of(a).at(F::kNack).nack().temporary());
}

TEST_F(CoreSend, a_lookup_waits_for_the_persister_and_gives_up_in_time) {
  start();
  auto a = connect(1);
  connect(2);
  persisting = false;
  give(a, send_frame(1, 2));
  auto again = connect(1, "other");
  give(again, send_frame(1, 2, "hi", true));
  pass(2'900);
  EXPECT_EQ(of(again).count(F::kSendAck) + of(again).count(F::kNack), 0u) << "never from a stale snapshot";
  pass(200);
  ASSERT_EQ(of(again).count(F::kNack), 1u);
  EXPECT_EQ(of(again).at(F::kNack).nack().code(), "unavailable");
  EXPECT_EQ(records.size(), 1u);
  persisting = true;
  give(again, send_frame(1, 2, "hi", true));
  EXPECT_EQ(of(again).count(F::kSendAck), 1u);
}

TEST_F(CoreSend, a_lookup_holds_back_what_comes_behind_it) {
  start();
  auto a = connect(1);
  connect(2);
  store_moves = false;
  give(a, send_frame(1, 2, "first", true));
  give(a, send_frame(2, 2, "second"));
  EXPECT_EQ(records.size(), 0u) << "R9";
  store_moves = true;
  run();
  ASSERT_EQ(records.size(), 2u);
  EXPECT_EQ(of(a).at(F::kSendAck, 0).req_id(), 1u);
  EXPECT_EQ(of(a).at(F::kSendAck, 1).req_id(), 2u);
  EXPECT_LE(records[1].since, records[0].since) << "R9: since never grows behind an unanswered one";
}

TEST_F(CoreSend, since_does_not_grow_behind_an_unanswered_one) {
  start();
  auto a = connect(1), b = connect(2);
  broker_moves = false;
  give(a, send_frame(1, 2));
  broker_moves = true;
  routing = false;
  run();                      // the log has it, nobody told
  give(b, send_frame(9, 1));  // the gateway learns of higher ends
  give(a, send_frame(2, 2));
  routing = true;
  run();
  auto own = [&](std::uint32_t id) { return std::ranges::find_if(records, [&](const SeenRecord& r) { return chat::to_text(r.id) == uuid(id); })->since; };
  EXPECT_GT(own(9), own(1));
  EXPECT_EQ(own(2), own(1));
}

TEST_F(CoreSend, stale_is_looked_up_once_more_and_not_shown) {
  start();
  auto a = connect(1);
  connect(2);
  forced = {chat::Code::stale};
  give(a, send_frame(1, 2));
  EXPECT_EQ(of(a).count(F::kNack), 0u);
  ASSERT_EQ(of(a).count(F::kSendAck), 1u);
  EXPECT_EQ(records.size(), 2u);
  EXPECT_NE(records[0].attempt, records[1].attempt);
  EXPECT_EQ(records[1].since.value, 1u) << "the barrier";
}

TEST_F(CoreSend, stale_again_is_a_temporary_nack_for_all_behind_too) {
  start();
  auto a = connect(1);
  connect(2);
  forced = {chat::Code::stale, chat::Code::stale, chat::Code::stale, chat::Code::stale};
  routing = persisting = false;
  give(a, send_frame(1, 2));
  give(a, send_frame(2, 2));
  route();  // what is forced is forced on both: the router comes first
  routing = true;
  persisting = true;
  run();
  ASSERT_EQ(of(a).count(F::kNack), 2u);
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(of(a).at(F::kNack, i).req_id(), i + 1);
    EXPECT_EQ(of(a).at(F::kNack, i).nack().code(), "unavailable");
    EXPECT_TRUE(of(a).at(F::kNack, i).nack().temporary());
  }
  EXPECT_EQ(records.size(), 4u) << "R8: one more attempt of each";
  give(a, send_frame(1, 2, "hi", true));
  give(a, send_frame(2, 2, "hi", true));
  EXPECT_EQ(of(a).count(F::kSendAck), 2u);
}

TEST_F(CoreSend, a_nack_counts_only_if_no_later_attempt_is_in_flight) {
  start();
  auto a = connect(1);
  connect(2);
  // The first attempt is refused, but nobody has told yet; a resend's look-up finds nothing and produces a second one.
  forced = {chat::Code::muted};
  routing = persisting = false;
  give(a, send_frame(1, 2));
  // The router has folded it, its word is on the way; the persister, which agrees, is done with it.
  link_open = false;
  link::Down word;
  fold_one(chat::partition_of(chat::direct_conversation(user(1), user(2)), kPartitions),
           *broker.at_or_after(chat::partition_of(chat::direct_conversation(user(1), user(2)), kPartitions), {}), word);
  persisting = true;
  auto again = send_frame(1, 2, "hi", true);
  again.set_req_id(11);
  give(a, again);
  ASSERT_EQ(core->stats().unanswered, 1u);
  core->on_link_down({0}, word);
  EXPECT_EQ(of(a).count(F::kNack), 0u) << "R23";
  routed[word.deliveries(0).partition()] = {1};
  link_open = routing = true;
  run();
  ASSERT_EQ(of(a).count(F::kSendAck), 2u) << "D2: each transmission is answered";
  EXPECT_EQ(of(a).at(F::kSendAck, 0).req_id(), 11u);
  EXPECT_EQ(of(a).at(F::kSendAck, 1).req_id(), 1u);
}

TEST_F(CoreSend, an_outcome_for_which_nothing_is_held_is_an_ordinary_event) {
  start();
  auto a = connect(1);
  connect(2);
  give(a, send_frame(1, 2));
  ASSERT_EQ(deliveries.size(), 1u);
  link::Down again;
  *again.add_deliveries() = deliveries[0];  // a second owner repeats it
  core->on_link_down({0}, again);
  EXPECT_EQ(of(a).count(F::kSendAck), 1u);
  EXPECT_EQ(of(a).count(F::kEvent), 1u) << "suppressed only where the ack is really sent";
}

// ---- D65 ----

TEST_F(CoreSend, pipelined_sends_across_a_temporary_nack) {
  start();
  auto a = connect(1);
  connect(2);
  store.set_away(true);
  give(a, send_frame(1, 2, "one", true));  // its look-up cannot succeed
  give(a, send_frame(2, 2, "two"));
  pass(3'200);
  ASSERT_EQ(of(a).count(F::kNack), 2u);
  EXPECT_EQ(of(a).at(F::kNack, 0).nack().code(), "unavailable");
  EXPECT_EQ(of(a).at(F::kNack, 1).nack().code(), "outOfTurn") << "never produced: certain";
  EXPECT_EQ(of(a).at(F::kNack, 1).nack().turn(), 2u);
  // What was sent before it knew.
  auto late = send_frame(3, 2, "three");
  late.mutable_send()->set_turn(1);
  give(a, late);
  ASSERT_EQ(of(a).count(F::kNack), 3u);
  EXPECT_EQ(of(a).at(F::kNack, 2).nack().code(), "outOfTurn");
  EXPECT_TRUE(of(a).at(F::kNack, 2).nack().temporary());
  EXPECT_EQ(of(a).at(F::kNack, 2).nack().turn(), 2u);
  EXPECT_EQ(records.size(), 0u);
  // Sent again in order with the new turn, and one without a turn, taken as it comes.
  store.set_away(false);
  for (std::uint32_t id = 1; id <= 3; ++id) {
    auto frame = send_frame(id, 2, id == 1 ? "one" : id == 2 ? "two" : "three", true);
    frame.mutable_send()->set_turn(2);
    give(a, frame, false);
  }
  give(a, send_frame(4, 2, "four"));
  ASSERT_EQ(of(a).count(F::kSendAck), 4u);
  for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(of(a).at(F::kSendAck, i).send_ack().client_msg_id(), uuid(static_cast<std::uint32_t>(i + 1)));
}

TEST_F(CoreSend, other_conversations_are_not_touched_by_a_refusal) {
  start();
  auto a = connect(1);
  connect(2);
  connect(3);
  store.set_away(true);
  give(a, send_frame(1, 2, "one", true));
  give(a, send_frame(2, 3));
  EXPECT_EQ(of(a).count(F::kSendAck), 1u);
  pass(3'200);
  EXPECT_EQ(of(a).count(F::kNack), 1u);
}

TEST_F(CoreSend, at_most_256_unanswered) {
  settings.limits.sends_per_second = 0;
  start();
  auto a = connect(1);
  connect(2);
  broker_moves = false;
  for (std::uint32_t i = 1; i <= 257; ++i) give(a, send_frame(i, 2), false);
  ASSERT_EQ(of(a).count(F::kNack), 1u);
  EXPECT_EQ(of(a).at(F::kNack).req_id(), 257u);
  EXPECT_EQ(of(a).at(F::kNack).nack().code(), "rateLimited");
  EXPECT_TRUE(of(a).at(F::kNack).nack().temporary());
  EXPECT_EQ(of(a).at(F::kNack).nack().turn(), 2u);
  broker_moves = true;
  run();
  EXPECT_EQ(of(a).count(F::kSendAck), 256u);
}

TEST_F(CoreSend, rate_is_leased_from_the_home_and_a_nack_costs_nothing) {
  start();
  auto a = connect(1);
  connect(2);
  tokens = 12;
  for (std::uint32_t i = 1; i <= 13; ++i) give(a, send_frame(i, 2));
  EXPECT_EQ(of(a).count(F::kSendAck), 12u);
  ASSERT_EQ(of(a).count(F::kNack), 1u);
  EXPECT_EQ(of(a).at(F::kNack).nack().code(), "rateLimited");
  EXPECT_EQ(of(a).at(F::kNack).nack().retry_after_ms(), 700u);
  EXPECT_EQ(leases, 3);
  // A refused one gives its token back.
  tokens = 1;
  client::Frame stranger = send_frame(20, 2);
  stranger.mutable_send()->clear_direct_to();
  stranger.mutable_send()->set_conversation(uuid(4242));
  give(a, stranger);
  EXPECT_EQ(of(a).last(F::kNack).nack().code(), "notFound");
  give(a, send_frame(21, 2));
  EXPECT_EQ(of(a).count(F::kSendAck), 13u);
}

TEST_F(CoreSend, without_a_home_a_local_bucket_stands_in) {
  start();
  auto a = connect(1);
  connect(2);
  close_link();
  for (std::uint32_t i = 1; i <= 41; ++i) give(a, send_frame(i, 2));
  ASSERT_EQ(of(a).count(F::kNack), 1u);
  EXPECT_EQ(of(a).at(F::kNack).req_id(), 41u);
  EXPECT_EQ(of(a).at(F::kNack).nack().code(), "rateLimited");
}

TEST_F(CoreSend, directed_to_nobody_is_not_found) {
  start();
  auto a = connect(1);
  auto frame = send_frame(1, 2);
  frame.mutable_send()->set_direct_to(uuid(5));
  give(a, frame);
  EXPECT_EQ(of(a).at(F::kNack).nack().code(), "notFound");
  EXPECT_FALSE(of(a).at(F::kNack).nack().temporary());
  EXPECT_EQ(records.size(), 0u);
}

TEST_F(CoreSend, reply_to_must_be_a_visible_message) {
  start();
  auto a = connect(1);
  connect(2);
  give(a, send_frame(1, 2));
  auto reply = send_frame(2, 2);
  reply.mutable_send()->mutable_reply_to()->set_seq(1);
  give(a, reply);
  EXPECT_EQ(of(a).count(F::kSendAck), 2u);
  reply = send_frame(3, 2);
  reply.mutable_send()->mutable_reply_to()->set_seq(99);
  give(a, reply);
  EXPECT_EQ(of(a).at(F::kNack).nack().code(), "notFound");
  auto forward = send_frame(4, 2);
  forward.mutable_send()->mutable_forward_of()->set_conversation(chat::to_text(chat::direct_conversation(user(4), user(5))));
  forward.mutable_send()->mutable_forward_of()->set_seq(1);
  give(a, forward);
  EXPECT_EQ(of(a).at(F::kNack, 1).nack().code(), "notFound");
}

// ---- operations ----

TEST_F(CoreSend, a_group_is_made_and_its_maker_gets_a_result) {
  start();
  auto a = connect(1), b = connect(2);
  give(a, group_frame(1, {2, 3}));
  ASSERT_EQ(of(a).count(F::kResult), 1u);
  const auto& result = of(a).at(F::kResult);
  EXPECT_EQ(result.req_id(), 1u);
  EXPECT_EQ(result.result().seq(), 1u);
  EXPECT_EQ(result.result().event().membership().change(), "created");
  EXPECT_EQ(result.result().event().op_id(), uuid(1));
  EXPECT_EQ(of(a).count(F::kEvent), 0u);
  ASSERT_EQ(of(b).count(F::kEvent), 1u);
  EXPECT_EQ(of(b).at(F::kEvent).event().membership().users_size(), 3);

  auto again = group_frame(1, {2, 3});
  again.mutable_create_conversation()->set_resend(true);
  give(a, again);
  ASSERT_EQ(of(a).count(F::kResult), 2u);
  EXPECT_TRUE(of(a).at(F::kResult, 1).result().duplicate());
  EXPECT_EQ(of(a).at(F::kResult, 1).result().seq(), 1u);
}

TEST_F(CoreSend, an_operation_without_req_id_gets_its_event) {
  start();
  auto a = connect(1);
  auto frame = group_frame(1, {2});
  frame.clear_req_id();
  give(a, frame);
  EXPECT_EQ(of(a).count(F::kResult), 0u) << "D2: executed silently";
  EXPECT_EQ(of(a).count(F::kEvent), 1u) << "R23: suppressed only where the result is really sent";
}

TEST_F(CoreSend, unknown_users_stop_an_operation) {
  start();
  auto a = connect(1);
  auto frame = group_frame(1, {2});
  frame.mutable_create_conversation()->add_members(uuid(77));
  give(a, frame);
  EXPECT_EQ(of(a).at(F::kNack).nack().code(), "notFound");
  EXPECT_EQ(of(a).at(F::kNack).nack().op_id(), uuid(1));
}

TEST_F(CoreSend, strangers_get_not_found_and_former_members_not_member) {
  start();
  auto a = connect(1), b = connect(2), c = connect(3);
  give(a, group_frame(1, {2}));
  std::string group = of(a).at(F::kResult).result().conversation();
  auto send_to_group = [&](std::uint32_t id) {
    auto frame = send_frame(id, 2);
    frame.mutable_send()->clear_direct_to();
    frame.mutable_send()->set_conversation(group);
    return frame;
  };
  give(c, send_to_group(5));
  EXPECT_EQ(of(c).at(F::kNack).nack().code(), "notFound");
  client::Frame leave;
  leave.set_req_id(6);
  leave.mutable_leave()->set_conversation(group);
  leave.mutable_leave()->set_op_id(uuid(6));
  give(b, leave);
  EXPECT_EQ(of(b).count(F::kResult), 1u);
  give(b, send_to_group(7));
  EXPECT_EQ(of(b).at(F::kNack).nack().code(), "notMember");
  EXPECT_FALSE(of(b).at(F::kNack).nack().temporary());
  // What the log decided stays final where the store cannot tell which of the two it is: sent again, it could overtake.
  store.set_away(true);
  give(b, send_to_group(8));
  pass(3'200);
  EXPECT_EQ(of(b).at(F::kNack, 1).nack().code(), "notFound");
  EXPECT_FALSE(of(b).at(F::kNack, 1).nack().temporary());
}

// A temporary nack would have it sent again behind those that were taken after he came back (R9).
TEST_F(CoreSend, what_the_fold_refused_is_final_also_while_the_store_is_away) {
  start();
  auto a = connect(1), b = connect(2);
  give(a, group_frame(1, {2}));
  auto send = send_frame(7, 2);
  send.mutable_send()->clear_direct_to();
  send.mutable_send()->set_conversation(of(a).at(F::kResult).result().conversation());
  client::Frame leave;
  leave.set_req_id(6);
  leave.mutable_leave()->set_conversation(send.send().conversation());
  leave.mutable_leave()->set_op_id(uuid(6));
  give(b, leave);
  store.set_away(true);
  give(b, send);
  pass(3'200);
  ASSERT_EQ(of(b).count(F::kNack), 1u);
  EXPECT_EQ(of(b).at(F::kNack).nack().code(), "notFound");
  EXPECT_FALSE(of(b).at(F::kNack).nack().temporary());
  EXPECT_EQ(of(b).at(F::kNack).nack().turn(), 0u);
}

TEST_F(CoreSend, an_operation_that_changes_nothing_has_no_seq) {
  start();
  auto a = connect(1);
  give(a, group_frame(1, {2}));
  client::Frame add;
  add.set_req_id(2);
  add.mutable_add_members()->set_conversation(of(a).at(F::kResult).result().conversation());
  add.mutable_add_members()->set_op_id(uuid(2));
  add.mutable_add_members()->add_users(text(user(2)));
  give(a, add);
  ASSERT_EQ(of(a).count(F::kResult), 2u);
  EXPECT_EQ(of(a).at(F::kResult, 1).result().seq(), 0u);
}

TEST_F(CoreSend, warm_conversations_go_on_while_the_store_is_away) {
  start();
  auto a = connect(1), b = connect(2);
  give(a, send_frame(1, 2));
  store.set_away(true);
  give(a, send_frame(2, 2));
  EXPECT_EQ(of(a).count(F::kSendAck), 2u);
  EXPECT_EQ(of(b).count(F::kEvent), 2u);
}

// ---- REST ----

TEST_F(CoreSend, rest_requests_get_one_frame_and_events_go_to_all_own_sockets) {
  start();
  auto a = connect(1), b = connect(2);
  std::vector<client::Frame> answers;
  auto request = [&](client::Frame frame) {
    core->request(user(1), std::move(frame), [&](client::Frame answer) { answers.push_back(std::move(answer)); });
    run();
  };
  auto frame = send_frame(1, 2);
  frame.clear_req_id();
  request(frame);
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].send_ack().seq(), 1u);
  EXPECT_EQ(answers[0].req_id(), 0u);
  EXPECT_EQ(of(a).count(F::kEvent), 1u);
  EXPECT_EQ(of(a).at(F::kEvent).event().sender_device(), "rest");
  EXPECT_EQ(of(b).count(F::kEvent), 1u);

  client::Frame history;
  history.mutable_history()->set_conversation(chat::to_text(chat::direct_conversation(user(1), user(2))));
  request(history);
  ASSERT_EQ(answers.size(), 2u);
  EXPECT_EQ(answers[1].history_page().events_size(), 1);

  client::Frame typing;
  typing.mutable_typing()->set_state("start");
  request(typing);
  ASSERT_EQ(answers.size(), 3u);
  EXPECT_EQ(answers[2].nack().code(), "unsupported");

  broker.set_available(false);
  request(send_frame(2, 2));
  pass(1'100);
  ASSERT_EQ(answers.size(), 4u);
  EXPECT_EQ(answers[3].nack().code(), "unavailable");
  EXPECT_EQ(core->stats().unanswered, 0u);
}

// ---- unsupported and malformed ----

TEST_F(CoreSend, what_is_not_served_is_nacked_and_the_socket_stays) {
  start();
  auto a = connect(1);
  client::Frame none;
  none.set_req_id(1);
  give(a, none);
  EXPECT_EQ(of(a).last(F::kNack).nack().code(), "unsupported");
  client::Frame react;
  react.set_req_id(2);
  react.mutable_react()->set_op_id(uuid(2));
  give(a, react);
  EXPECT_EQ(of(a).last(F::kNack).nack().code(), "unsupported");
  EXPECT_EQ(of(a).last(F::kNack).nack().op_id(), uuid(2));
  client::Frame typing;
  typing.mutable_typing()->set_state("start");
  give(a, typing);
  EXPECT_EQ(of(a).count(F::kNack), 2u) << "D2: typing without reqId is never answered";
  auto empty = send_frame(3, 2, "");
  give(a, empty);
  EXPECT_EQ(of(a).last(F::kNack).nack().code(), "invalid");
  EXPECT_EQ(of(a).last(F::kNack).nack().client_msg_id(), uuid(3));
  EXPECT_FALSE(of(a).close);
}

}  // namespace
}  // namespace parley::gateway
