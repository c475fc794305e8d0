#include "router/core.h"

#include <gtest/gtest.h>

#include "parley/log/v1/record.pb.h"
#include "router/test_bed.h"

namespace parley::router {
namespace {

constexpr Partition kP = TestBed::kPartition;

// ---- fanout ------------------------------------------------------------------------------------------------------------

TEST(RouterCore, an_event_goes_once_to_each_gateway_with_its_recipients) {
  TestBed bed;
  bed.own();
  StreamId a = bed.attach(1, {1, 2}), b = bed.attach(2, {2, 3}), c = bed.attach(3, {9});
  bed.log.create(1, {1, 2, 3});
  bed.settle();
  Offset sent = bed.log.send(1, 1, {.gateway = 1, .connection = 77, .attempt = 5});
  bed.settle();

  auto at_a = bed.streams.deliveries(a), at_b = bed.streams.deliveries(b);
  ASSERT_EQ(at_a.size(), 2u);
  ASSERT_EQ(at_b.size(), 2u);
  EXPECT_TRUE(bed.streams.deliveries(c).empty());
  EXPECT_EQ(at_a[1].users(), users({1, 2}));
  EXPECT_EQ(at_b[1].users(), users({2, 3}));
  EXPECT_EQ(at_a[1].offset(), sent.value);
  EXPECT_EQ(at_a[1].event().seq(), 2u);
  EXPECT_EQ(at_a[1].event().number(), 1u);
  EXPECT_EQ(at_a[1].event().body(), "hello");
  EXPECT_EQ(at_a[1].actor(), user(1).view());
  EXPECT_EQ(at_a[1].traceparent(), "trace");
  // R16: the answer stands in the same message, and only at the gateway that waits.
  EXPECT_EQ(at_a[1].origin().connection(), 77u);
  EXPECT_EQ(at_a[1].origin().attempt(), 5u);
  EXPECT_FALSE(at_b[1].has_origin());
}

TEST(RouterCore, a_rejection_goes_to_nobody_but_the_one_who_waits) {
  TestBed bed;
  bed.own();
  StreamId a = bed.attach(1, {1, 2}), b = bed.attach(2, {1, 2});
  bed.log.create(1, {1, 2});
  bed.log.send(1, 9, {.gateway = 2, .connection = 4, .attempt = 1});
  bed.settle();
  EXPECT_EQ(bed.streams.deliveries(a).size(), 1u);
  auto at_b = bed.streams.deliveries(b);
  ASSERT_EQ(at_b.size(), 2u);
  EXPECT_EQ(at_b[1].rejected().code(), static_cast<std::uint32_t>(chat::Code::not_member));
  EXPECT_TRUE(at_b[1].users().empty());
}

TEST(RouterCore, one_batch_of_input_is_one_message_per_stream_with_upto_behind_it) {
  TestBed bed;
  bed.own();
  StreamId a = bed.attach(1, {1});
  bed.log.create(1, {1, 2});
  bed.settle();
  std::size_t before = bed.streams.sent[a].size();
  for (int i = 0; i < 20; ++i) bed.log.send(1, 1);
  bed.feed();
  ASSERT_EQ(bed.streams.sent[a].size(), before + 1);
  EXPECT_EQ(bed.streams.sent[a].back().deliveries_size(), 20);
  EXPECT_EQ(bed.streams.upto(a), bed.log.end());
}

TEST(RouterCore, a_large_batch_is_handed_over_in_pieces_and_only_the_last_tells_upto) {
  TestBed bed;
  bed.own();
  StreamId a = bed.attach(1, {1});
  bed.log.create(1, {1, 2});
  bed.settle();
  std::size_t before = bed.streams.sent[a].size();
  std::string body(30'000, 'x');
  for (int i = 0; i < 30; ++i) bed.log.send(1, 1, {}, body);
  bed.feed();
  const auto& sent = bed.streams.sent[a];
  ASSERT_GT(sent.size(), before + 2);
  for (std::size_t i = before; i < sent.size(); ++i) {
    EXPECT_LT(sent[i].ByteSizeLong(), 400'000u);
    EXPECT_EQ(sent[i].upto_size(), i + 1 == sent.size() ? 1 : 0);
  }
  EXPECT_EQ(bed.streams.deliveries(a).size(), 31u);
}

TEST(RouterCore, who_leaves_sees_his_last_event_and_nothing_later) {
  TestBed bed;
  bed.own();
  StreamId b = bed.attach(2, {2});
  bed.log.create(1, {1, 2, 3});
  bed.log.write(1, 2, chat::op::Leave{});
  bed.log.send(1, 1);
  bed.settle();
  auto at_b = bed.streams.deliveries(b);
  ASSERT_EQ(at_b.size(), 2u);
  EXPECT_EQ(at_b[1].event().seq(), 2u);
}

TEST(RouterCore, marks_go_to_others_only_in_small_groups) {
  TestBed bed;
  bed.own();
  StreamId a = bed.attach(1, {1}), b = bed.attach(2, {2});
  bed.log.create(1, {1, 2});
  std::vector<std::uint8_t> many;
  for (std::uint8_t n = 1; n <= 33; ++n) many.push_back(n);
  bed.log.create(2, many);
  bed.settle();
  bed.log.write(1, 1, chat::op::MarkRead{chat::Seq{1}, {}}, {.gateway = 1, .connection = 3, .attempt = 1});
  bed.log.write(2, 1, chat::op::MarkRead{chat::Seq{1}, {}});
  bed.settle();
  auto at_a = bed.streams.deliveries(a), at_b = bed.streams.deliveries(b);
  ASSERT_EQ(at_a.size(), 4u);
  ASSERT_EQ(at_b.size(), 3u);
  EXPECT_EQ(at_a[2].mark().read_seq(), 1u);
  EXPECT_EQ(at_a[2].origin().connection(), 3u);
  EXPECT_EQ(at_b[2].mark().read_seq(), 1u);
  EXPECT_EQ(at_b[2].conversation(), conversation(1).view());
}

TEST(RouterCore, what_was_delivered_is_told_to_the_others_where_receipts_go) {
  TestBed bed;
  bed.own();
  StreamId a = bed.attach(1, {1}), b = bed.attach(2, {2});
  bed.log.create(1, {1, 2});
  std::vector<std::uint8_t> many;
  for (std::uint8_t n = 1; n <= 33; ++n) many.push_back(n);
  bed.log.create(2, many);
  bed.settle();
  ASSERT_EQ(bed.streams.deliveries(a).size(), 2u);
  EXPECT_TRUE(bed.streams.deliveries(a)[0].receipts());
  EXPECT_FALSE(bed.streams.deliveries(a)[1].receipts());
  bed.log.write(1, 1, chat::op::Delivered{chat::Seq{1}});
  bed.log.write(2, 1, chat::op::Delivered{chat::Seq{1}});
  bed.settle();
  EXPECT_EQ(bed.streams.deliveries(a).size(), 2u);
  ASSERT_EQ(bed.streams.deliveries(b).size(), 3u);
  EXPECT_EQ(bed.streams.deliveries(b)[2].mark().delivered_seq(), 1u);
}

TEST(RouterCore, nothing_below_its_committed_offset_is_delivered) {
  TestBed bed;
  bed.log.create(1, {1, 2});
  bed.log.send(1, 1);
  Offset third = bed.log.send(1, 1);
  bed.own({}, third);
  StreamId a = bed.attach(1, {1});
  EXPECT_EQ(bed.streams.from(a), third);
  bed.settle();
  auto at_a = bed.streams.deliveries(a);
  ASSERT_EQ(at_a.size(), 1u);
  EXPECT_EQ(at_a[0].event().seq(), 3u);
}

TEST(RouterCore, ephemeral_messages_reach_the_gateways_of_their_recipients) {
  TestBed bed;
  bed.own();
  StreamId a = bed.attach(1, {1, 2}), b = bed.attach(2, {3});
  link::Up up;
  auto& e = *up.add_ephemeral();
  e.set_users(users({1, 2, 3, 9}));
  e.set_frame("typing");
  bed.core->on_up(b, up);
  ASSERT_EQ(bed.streams.sent[a].back().ephemeral_size(), 1);
  EXPECT_EQ(bed.streams.sent[a].back().ephemeral(0).users(), users({1, 2}));
  EXPECT_EQ(bed.streams.sent[b].back().ephemeral(0).users(), users({3}));
}

// ---- streams and registrations -----------------------------------------------------------------------------------------

TEST(RouterCore, registering_is_told_from_where_the_stream_is_complete_before_it_is_confirmed) {
  TestBed bed;
  bed.own();
  bed.log.create(1, {1, 2});
  bed.settle();
  StreamId a = bed.attach(1, {1});
  ASSERT_EQ(bed.streams.sent[a].size(), 1u);
  EXPECT_EQ(bed.streams.sent[a][0].from(0).offset(), 1u);
  EXPECT_EQ(bed.streams.sent[a][0].confirmed(), 1u);
}

TEST(RouterCore, a_stream_is_complete_only_when_everyone_is_registered) {
  TestBed bed;
  bed.own();
  StreamId a{9};
  link::Attach attach;
  attach.set_gateway(1);
  attach.set_topic_id("topic");
  bed.core->on_stream(a, attach);
  bed.core->on_up(a, registering({1}));
  bed.tick(1'000);
  EXPECT_FALSE(bed.streams.from(a));
  EXPECT_FALSE(bed.streams.upto(a));
  bed.log.create(1, {1, 2});
  bed.settle();
  bed.core->on_up(a, registering({2}, 1));
  EXPECT_EQ(bed.streams.from(a), Offset{1});
}

TEST(RouterCore, who_is_gone_is_not_told_any_more) {
  TestBed bed;
  bed.own();
  StreamId a = bed.attach(1, {1, 2});
  bed.log.create(1, {1, 2});
  bed.settle();
  link::Up up;
  auto& gone = *up.add_registrations();
  gone.set_user(std::string(user(2).view()));
  gone.set_gone(true);
  bed.core->on_up(a, up);
  bed.log.send(1, 1);
  bed.settle();
  EXPECT_EQ(bed.streams.deliveries(a).back().users(), users({1}));
}

TEST(RouterCore, a_gateway_that_comes_again_replaces_its_older_stream) {
  TestBed bed;
  bed.own();
  StreamId older = bed.attach(1, {1});
  link::Attach attach;
  attach.set_gateway(1);
  attach.set_topic_id("topic");
  StreamId newer{999};
  bed.core->on_stream(newer, attach);
  bed.core->on_up(newer, registering({1}, 1));
  EXPECT_TRUE(bed.streams.broken.contains(older));
  bed.core->on_stream_closed(older);  // told late: must not take the newer one with it
  bed.log.create(1, {1, 2});
  bed.settle();
  EXPECT_TRUE(bed.streams.deliveries(older).empty());
  EXPECT_EQ(bed.streams.deliveries(newer).size(), 1u);
}

TEST(RouterCore, a_gateway_of_another_topic_is_sent_away) {
  TestBed bed;
  link::Attach attach;
  attach.set_gateway(1);
  attach.set_topic_id("made anew");
  bed.core->on_stream(StreamId{5}, attach);
  EXPECT_TRUE(bed.streams.broken.contains(StreamId{5}));
  EXPECT_EQ(bed.core->stats().streams, 0u);
}

TEST(RouterCore, taking_over_again_tells_from_again) {
  TestBed bed;
  bed.own();
  StreamId a = bed.attach(1, {1});
  bed.log.create(1, {1, 2});
  bed.settle();
  bed.core->disown(kP);
  EXPECT_TRUE(bed.consumer.started.empty());
  bed.own({}, {1});
  EXPECT_EQ(bed.streams.from(a), Offset{1});
}

TEST(RouterCore, a_fresh_router_waits_for_the_gateways) {
  TestBed bed({.intake_wait_ms = 3'000});
  bed.own();
  EXPECT_TRUE(bed.consumer.started.empty());
  bed.tick(1'000);
  EXPECT_TRUE(bed.consumer.started.empty());
  StreamId a = bed.attach(1, {1});
  EXPECT_EQ(bed.streams.from(a), Offset{0});
  bed.tick(100);
  EXPECT_TRUE(bed.consumer.started.empty());  // another one may be about to come
  bed.tick(400);
  EXPECT_TRUE(bed.consumer.started.contains(kP));
}

TEST(RouterCore, but_not_for_ever) {
  TestBed bed({.intake_wait_ms = 3'000});
  bed.own();
  bed.tick(2'900);
  EXPECT_TRUE(bed.consumer.started.empty());
  bed.tick(100);
  EXPECT_TRUE(bed.consumer.started.contains(kP));
}

// ---- cold loads --------------------------------------------------------------------------------------------------------

TEST(RouterCore, upto_stays_below_what_is_parked_while_the_partition_goes_on) {
  TestBed bed;
  bed.own();
  StreamId a = bed.attach(1, {1});
  bed.log.create(1, {1, 2});
  bed.settle();
  bed.log.create(2, {1, 2});  // offset 1: cold
  bed.log.send(1, 1);         // offset 2: warm
  bed.feed();
  EXPECT_EQ(bed.streams.deliveries(a).size(), 2u);
  EXPECT_EQ(bed.streams.upto(a), Offset{1});
  EXPECT_EQ(bed.core->stats().parked, 1u);
  bed.tick(1'000), bed.tick(1'000);
  EXPECT_EQ(bed.consumer.committed[kP], Offset{1});
  bed.log.send(2, 1);
  bed.feed();
  bed.reader.answer();
  EXPECT_EQ(bed.streams.upto(a), bed.log.end());
  auto all = bed.streams.deliveries(a);
  ASSERT_EQ(all.size(), 4u);
  EXPECT_EQ(all[2].offset(), 1u);
  EXPECT_EQ(all[3].offset(), 3u);
  EXPECT_EQ(bed.reader.asked, 2u);  // one load per conversation, whatever is parked
}

// R18: PostgreSQL is ahead of this router; what is stored is delivered, nothing is folded twice.
TEST(RouterCore, below_the_loaded_position_the_stored_events_are_the_outcome) {
  TestBed bed;
  bed.own();
  StreamId a = bed.attach(1, {1}), b = bed.attach(2, {2}), c = bed.attach(3, {3});
  bed.log.create(1, {1, 2});
  bed.log.send(1, 1, {.gateway = 1, .connection = 8, .attempt = 1});
  bed.log.write(1, 1, chat::op::Add{{user(3)}});
  bed.log.write(1, 1, chat::op::Remove{{user(2)}});
  bed.log.send(1, 9, {.gateway = 1, .connection = 9, .attempt = 2});  // refused: nothing stored, nobody told
  bed.log.send(1, 1);
  bed.reader.position = bed.log.end();
  bed.log.send(1, 1);  // above: folded
  bed.settle();
  auto at_a = bed.streams.deliveries(a), at_b = bed.streams.deliveries(b), at_c = bed.streams.deliveries(c);
  ASSERT_EQ(at_a.size(), 6u);
  for (std::size_t i = 0; i < 6; ++i) EXPECT_EQ(at_a[i].event().seq(), i + 1);
  EXPECT_EQ(at_a[1].origin().connection(), 8u);
  EXPECT_EQ(at_a[1].event().body(), "hello");
  ASSERT_EQ(at_b.size(), 4u);  // up to and including his removal
  EXPECT_EQ(at_b[3].event().seq(), 4u);
  ASSERT_EQ(at_c.size(), 4u);  // from his joining on
  EXPECT_EQ(at_c[0].event().seq(), 3u);
  EXPECT_EQ(bed.streams.upto(a), bed.log.end());
}

TEST(RouterCore, below_the_loaded_position_a_mark_is_answered_with_the_present_one) {
  TestBed bed;
  bed.own();
  StreamId a = bed.attach(1, {1}), b = bed.attach(2, {2});
  bed.log.create(1, {1, 2});
  bed.log.send(1, 1);
  bed.log.write(1, 2, chat::op::MarkRead{chat::Seq{1}, {}}, {.gateway = 2, .connection = 4, .attempt = 1});
  bed.log.write(1, 2, chat::op::MarkRead{chat::Seq{2}, chat::MessageNumber{1}});
  bed.reader.position = bed.log.end();
  bed.settle();
  auto at_b = bed.streams.deliveries(b);
  ASSERT_EQ(at_b.size(), 4u);
  EXPECT_EQ(at_b[2].mark().read_seq(), 2u);
  EXPECT_EQ(at_b[2].origin().connection(), 4u);
  EXPECT_EQ(bed.streams.deliveries(a).size(), 4u);
}

TEST(RouterCore, below_the_loaded_position_a_block_is_answered_if_it_holds) {
  TestBed bed;
  bed.own();
  StreamId a = bed.attach(1, {1});
  chat::Record record;
  record.conversation = chat::direct_conversation(user(1), user(2));
  record.actor = user(1);
  record.origin = {.gateway = 1, .connection = 6, .attempt = 1};
  record.op = chat::op::Block{.off = false, .peer = user(2)};
  bed.log.raw(chat::to_text(record.conversation), chat::encode_record(record));
  bed.reader.position = bed.log.end();
  bed.settle();
  auto at_a = bed.streams.deliveries(a);
  ASSERT_EQ(at_a.size(), 1u);
  EXPECT_TRUE(at_a[0].has_nothing());
  EXPECT_EQ(at_a[0].origin().connection(), 6u);
}

TEST(RouterCore, a_snapshot_below_the_start_is_refused_until_the_persister_comes) {
  TestBed bed;
  bed.log.create(1, {1, 2});
  bed.log.send(1, 1);
  bed.own({2}, {2});
  StreamId a = bed.attach(1, {1});
  bed.log.send(1, 1);
  bed.reader.position = {1};
  bed.feed();
  bed.reader.answer();
  EXPECT_TRUE(bed.streams.deliveries(a).empty());
  EXPECT_EQ(bed.core->stats().loads_refused, 1u);
  bed.reader.position = {2};
  bed.core->on_position(kP, {2});
  bed.reader.answer();
  auto at_a = bed.streams.deliveries(a);
  ASSERT_EQ(at_a.size(), 1u);
  EXPECT_EQ(at_a[0].event().seq(), 3u);
}

TEST(RouterCore, while_postgresql_is_away_warm_conversations_go_on_and_cold_ones_are_asked_for_again) {
  TestBed bed;
  bed.own();
  StreamId a = bed.attach(1, {1});
  bed.log.create(1, {1, 2});
  bed.settle();
  bed.reader.away = true;
  bed.log.create(2, {1, 2});
  bed.log.send(1, 1);
  bed.feed();
  bed.reader.answer();
  EXPECT_EQ(bed.streams.deliveries(a).size(), 2u);
  for (int i = 0; i < 50; ++i) bed.tick(50), bed.reader.answer();
  EXPECT_LT(bed.reader.asked, 12u);  // backs off
  bed.reader.away = false;
  bed.tick(1'000);
  bed.reader.answer();
  EXPECT_EQ(bed.streams.deliveries(a).size(), 3u);
}

TEST(RouterCore, parked_bodies_are_bounded_and_their_outcomes_come_from_the_store) {
  TestBed bed({.parked_bytes = 4'096, .intake_wait_ms = 0});
  bed.own();
  StreamId a = bed.attach(1, {1});
  bed.log.create(1, {1, 2});
  for (int i = 0; i < 20; ++i) bed.log.send(1, 1, {}, std::string(400, 'x'));
  bed.feed();
  EXPECT_LE(bed.core->stats().parked_bytes, 4'096u);
  EXPECT_GT(bed.core->stats().parked_dropped, 0u);
  bed.reader.answer();  // position 0: those bodies are gone, this cannot be used
  EXPECT_TRUE(bed.streams.deliveries(a).empty());
  EXPECT_EQ(bed.core->stats().loads_refused, 1u);
  bed.reader.position = bed.log.end();
  bed.core->on_position(kP, bed.log.end());
  bed.reader.answer();
  auto all = bed.streams.deliveries(a);
  ASSERT_EQ(all.size(), 21u);
  for (std::size_t i = 0; i < all.size(); ++i) EXPECT_EQ(all[i].event().seq(), i + 1);
  EXPECT_EQ(bed.streams.upto(a), bed.log.end());
}

TEST(RouterCore, too_many_cold_conversations_pause_the_partition) {
  TestBed bed({.parked_bytes = 2'048, .intake_wait_ms = 0});
  bed.own();
  for (std::uint8_t c = 1; c <= 8; ++c) bed.log.create(c, {1, 2});
  bed.feed();
  EXPECT_TRUE(bed.consumer.paused.contains(kP));
  bed.reader.position = bed.log.end();
  bed.reader.answer();
  EXPECT_TRUE(bed.consumer.paused.empty());
}

TEST(RouterCore, a_load_for_an_ownership_that_ended_changes_nothing) {
  TestBed bed;
  bed.own();
  StreamId a = bed.attach(1, {1});
  bed.log.create(1, {1, 2});
  bed.feed();
  bed.core->disown(kP);
  bed.own();
  bed.feed();
  EXPECT_EQ(bed.reader.waiting(), 2u);
  bed.reader.answer();
  EXPECT_EQ(bed.streams.deliveries(a).size(), 1u);
  bed.log.create(2, {1, 2});
  bed.feed();
  bed.core.reset();
  bed.reader.answer();  // after the core is gone
}

// ---- eviction ----------------------------------------------------------------------------------------------------------

TEST(RouterCore, only_what_is_persisted_is_evicted) {
  TestBed bed({.cached_conversations = 1, .intake_wait_ms = 0});
  bed.own();
  StreamId a = bed.attach(1, {1});
  bed.log.create(1, {1, 2});
  bed.log.create(2, {1, 2});
  bed.log.create(3, {1, 2});
  bed.settle();
  bed.tick(50);
  EXPECT_EQ(bed.core->stats().conversations, 3u);
  bed.reader.position = {1};
  bed.core->on_position(kP, {1});
  bed.tick(50);
  EXPECT_EQ(bed.core->stats().conversations, 2u);
  bed.reader.position = {3};
  bed.core->on_position(kP, {3});
  bed.tick(50);
  EXPECT_EQ(bed.core->stats().conversations, 1u);
  bed.log.send(1, 1);  // cold again
  bed.settle();
  EXPECT_EQ(bed.streams.deliveries(a).back().event().seq(), 2u);
}

TEST(RouterCore, memory_is_bounded_as_well_as_number) {
  TestBed bed({.cache_bytes = 20'000, .intake_wait_ms = 0});
  bed.own();
  for (std::uint8_t c = 1; c <= 2; ++c) {
    bed.log.create(c, {1, 2});
    for (int i = 0; i < 300; ++i) bed.log.send(c, 1);
  }
  bed.settle();
  bed.tick(50);
  EXPECT_EQ(bed.core->stats().conversations, 2u);  // nothing is persisted yet
  EXPECT_GT(bed.core->stats().cached_bytes, 2 * 256 * sizeof(chat::Consumed));
  bed.reader.position = bed.log.end();
  bed.core->on_position(kP, bed.log.end());
  bed.tick(50);
  EXPECT_EQ(bed.core->stats().conversations, 1u);
  EXPECT_LT(bed.core->stats().cached_bytes, 20'000u);
}

// A snapshot that was on its way while the floor rose above it tells nothing about PostgreSQL: read again, and nobody else is disturbed.
TEST(RouterCore, a_snapshot_overtaken_by_the_floor_is_read_again) {
  TestBed bed({.cached_conversations = 1, .intake_wait_ms = 0});
  bed.own();
  StreamId a = bed.attach(1, {1});
  bed.log.create(1, {1, 2});
  bed.log.create(2, {1, 2});
  bed.settle();
  bed.reader.position = {1};
  bed.log.create(3, {1, 2});
  bed.feed();  // asked for; read at position 1, answered late
  auto late = bed.reader.hold();
  bed.reader.position = {2};
  bed.core->on_position(kP, {2});
  bed.tick(50);
  ASSERT_EQ(bed.core->stats().conversations, 1u);
  late();
  EXPECT_TRUE(bed.core->take_dropped().empty());
  EXPECT_EQ(bed.core->stats().loads_refused, 1u);
  bed.core->on_position(kP, {1});  // news may be late, too
  EXPECT_TRUE(bed.core->take_dropped().empty());
  bed.tick(50);  // what it needs is there already: it waits for no news
  bed.reader.answer();
  EXPECT_EQ(bed.streams.deliveries(a).size(), 3u);
}

TEST(RouterCore, when_postgresql_went_back_below_what_was_evicted_the_partition_is_given_up) {
  TestBed bed({.cached_conversations = 1, .intake_wait_ms = 0});
  bed.own();
  bed.log.create(1, {1, 2});
  bed.log.create(2, {1, 2});
  bed.settle();
  bed.reader.position = {2};
  bed.core->on_position(kP, {2});
  bed.tick(50);
  ASSERT_EQ(bed.core->stats().conversations, 1u);
  bed.reader.position = {0};  // an older replica was promoted
  bed.log.send(1, 1);
  bed.settle();
  EXPECT_EQ(bed.core->take_dropped(), std::vector{kP});
  EXPECT_TRUE(bed.core->take_dropped().empty());
  EXPECT_EQ(bed.core->stats().partitions, 0u);
  EXPECT_TRUE(bed.consumer.started.empty());
}

// ---- what cannot be folded ---------------------------------------------------------------------------------------------

TEST(RouterCore, a_newer_fold_version_stops_the_partition) {
  TestBed bed;
  bed.own();
  StreamId a = bed.attach(1, {1});
  bed.log.create(1, {1, 2});
  log::v1::Record newer;
  newer.set_fold_version(chat::kFoldVersion + 1);
  newer.set_actor(std::string(user(1).view()));
  newer.mutable_leave();
  bed.log.raw(chat::to_text(conversation(1)), newer.SerializeAsString());
  bed.log.send(1, 1);
  bed.settle();
  EXPECT_EQ(bed.core->stopped(), std::vector{kP});
  EXPECT_TRUE(bed.consumer.started.empty());
  EXPECT_EQ(bed.streams.deliveries(a).size(), 1u);
  EXPECT_EQ(bed.streams.upto(a), Offset{1});
  bed.tick(1'000), bed.tick(1'000);
  EXPECT_EQ(bed.consumer.committed[kP], Offset{1});
}

TEST(RouterCore, what_cannot_be_decoded_is_passed_over_and_answered_where_possible) {
  TestBed bed;
  bed.own();
  StreamId a = bed.attach(1, {1});
  bed.log.create(1, {1, 2});
  bed.log.raw("not a conversation", "\xff\xff");
  log::v1::Record broken;  // the actor is missing
  broken.set_fold_version(1);
  broken.mutable_origin()->set_gateway(1);
  broken.mutable_origin()->set_connection(12);
  broken.mutable_leave();
  bed.log.raw(chat::to_text(conversation(1)), broken.SerializeAsString());
  bed.log.send(1, 1);
  bed.settle();
  auto at_a = bed.streams.deliveries(a);
  EXPECT_EQ(bed.core->stats().malformed, 2u);
  EXPECT_EQ(bed.streams.upto(a), bed.log.end());
  ASSERT_EQ(at_a.size(), 3u);
  auto rejected = std::ranges::find_if(at_a, [](const auto& d) { return d.has_rejected(); });
  ASSERT_NE(rejected, at_a.end());
  EXPECT_EQ(rejected->rejected().code(), static_cast<std::uint32_t>(chat::Code::internal));
  EXPECT_EQ(rejected->origin().connection(), 12u);
}

// ---- progress ----------------------------------------------------------------------------------------------------------

TEST(RouterCore, commits_what_was_sent_a_second_earlier) {
  TestBed bed;
  bed.own();
  bed.log.create(1, {1, 2});
  bed.settle();
  bed.tick(1'000);
  EXPECT_TRUE(bed.consumer.committed.empty());
  bed.log.send(1, 1);
  bed.settle();
  bed.tick(1'000);
  EXPECT_EQ(bed.consumer.committed[kP], Offset{1});
  bed.tick(999);
  EXPECT_EQ(bed.consumer.committed[kP], Offset{1});
  bed.tick(1);
  EXPECT_EQ(bed.consumer.committed[kP], Offset{2});
}

TEST(RouterCore, upto_is_told_every_second_even_when_nothing_happens) {
  TestBed bed;
  bed.own();
  StreamId a = bed.attach(1, {1});
  auto told = [&] { return bed.streams.sent[a].size(); };
  bed.tick(1'000);
  std::size_t before = told();
  for (int i = 0; i < 20; ++i) bed.tick(50);
  EXPECT_EQ(told(), before + 1);
  EXPECT_EQ(bed.streams.sent[a].back().upto(0).offset(), 0u);
}

TEST(RouterCore, control_records_move_the_position) {
  TestBed bed;
  bed.own();
  StreamId a = bed.attach(1, {1});
  bed.core->on_entries(kP, {}, {7});
  bed.tick(1'000);
  EXPECT_EQ(bed.streams.upto(a), Offset{7});
}

}  // namespace
}  // namespace parley::router
