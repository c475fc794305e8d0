// Reads and read marks through the whole core: history, conversations, markRead.
#include "gateway/core/session_bed.h"

namespace parley::gateway {
namespace {

using F = client::Frame;

class CoreReading : public SessionBed {};

TEST_F(CoreReading, history) {
  start();
  auto c = conversation(4);
  auto id = connect(2), stranger = connect(3);
  client::Frame ask;
  ask.set_req_id(1);
  ask.mutable_history()->set_conversation(c);
  ask.mutable_history()->set_before_seq(4);
  ask.mutable_history()->set_limit(2);
  give(id, ask);
  const auto& page = of(id).at(F::kHistoryPage);
  EXPECT_EQ(page.req_id(), 1u);
  ASSERT_EQ(page.history_page().events_size(), 2);
  EXPECT_EQ(page.history_page().events(0).seq(), 2u);
  EXPECT_EQ(page.history_page().events(1).seq(), 3u);
  EXPECT_TRUE(page.history_page().more());
  ask.clear_req_id();
  give(id, ask);
  EXPECT_EQ(of(id).count(F::kHistoryPage), 1u) << "D2: executed silently";
  give(stranger, ask);
  EXPECT_EQ(of(stranger).at(F::kNack).nack().code(), "notFound");
  ask.set_req_id(1);
  ask.mutable_history()->set_conversation("x");
  give(id, ask);
  EXPECT_EQ(of(id).at(F::kNack).nack().code(), "invalid");
  store.set_away(true);
  ask.mutable_history()->set_conversation(c);
  give(id, ask);
  pass(3'100);
  EXPECT_EQ(of(id).at(F::kNack, 1).nack().code(), "unavailable");
  EXPECT_TRUE(of(id).at(F::kNack, 1).nack().temporary());
}

TEST_F(CoreReading, history_is_fresh) {
  start();
  auto a = connect(1), b = connect(2);
  persisting = false;
  give(a, send_frame(1, 2));
  ASSERT_EQ(of(a).count(F::kSendAck), 1u);
  client::Frame ask;
  ask.set_req_id(1);
  ask.mutable_history()->set_conversation(chat::to_text(chat::direct_conversation(user(1), user(2))));
  give(b, ask);
  EXPECT_EQ(of(b).count(F::kHistoryPage) + of(b).count(F::kNack), 0u) << "R14";
  persisting = true;
  run();
  EXPECT_EQ(of(b).at(F::kHistoryPage).history_page().events_size(), 1);
}

TEST_F(CoreReading, large_pages_end_early) {
  start();
  auto a = connect(1, "writer");
  auto b = connect(2);
  for (std::uint32_t i = 1; i <= 20; ++i) give(a, send_frame(i, 2, std::string(32'000, 'x')));
  client::Frame ask;
  ask.set_req_id(1);
  ask.mutable_history()->set_conversation(chat::to_text(chat::direct_conversation(user(1), user(2))));
  give(b, ask);
  const auto& newest = of(b).at(F::kHistoryPage, 0).history_page();
  EXPECT_LT(newest.ByteSizeLong(), 512u * 1024);
  EXPECT_TRUE(newest.more());
  EXPECT_EQ(newest.events(newest.events_size() - 1).seq(), 20u) << "what is left out is older";
  ask.mutable_history()->set_after_seq(1);
  give(b, ask);
  const auto& after = of(b).at(F::kHistoryPage, 1).history_page();
  EXPECT_EQ(after.events(0).seq(), 2u);
  EXPECT_TRUE(after.more());
}

TEST_F(CoreReading, conversations_are_listed) {
  start();
  conversation(2);
  auto id = connect(2);
  client::Frame ask;
  ask.set_req_id(1);
  ask.mutable_conversations();
  give(id, ask);
  const auto& page = of(id).at(F::kConversationPage).conversation_page();
  ASSERT_EQ(page.items_size(), 1);
  EXPECT_EQ(page.items(0).kind(), "direct");
  EXPECT_EQ(page.items(0).peer(), text(user(1)));
  EXPECT_EQ(page.items(0).unread(), 2u);
  EXPECT_EQ(page.items(0).last_message().seq(), 2u);
}

TEST_F(CoreReading, mark_read_answers_and_tells_the_others) {
  start();
  auto c = conversation(3);
  auto b = connect(2), b2 = connect(2, "web"), a = connect(1);
  client::Frame mark;
  mark.set_req_id(4);
  mark.mutable_mark_read()->set_conversation(c);
  mark.mutable_mark_read()->set_seq(99);
  give(b, mark);
  ASSERT_EQ(of(b).count(F::kResult), 1u);
  EXPECT_EQ(of(b).at(F::kResult).req_id(), 4u);
  EXPECT_EQ(of(b).at(F::kResult).result().read_seq(), 3u) << "D30: clamped";
  EXPECT_EQ(of(b).at(F::kResult).result().read_number(), 3u);
  EXPECT_EQ(of(b).count(F::kMarker), 0u);
  for (auto id : {b2, a}) {
    EXPECT_EQ(of(id).last(F::kMarker).marker().user(), text(user(2)));
    EXPECT_EQ(of(id).last(F::kMarker).marker().read_seq(), 3u);
  }
  auto stranger = connect(3);
  give(stranger, mark);
  EXPECT_EQ(of(stranger).at(F::kNack).nack().code(), "notFound");
}

TEST_F(CoreReading, reads_have_their_own_larger_bucket) {
  start();
  auto c = conversation(1);
  auto b = connect(2);
  client::Frame ask;
  ask.set_req_id(1);
  ask.mutable_history()->set_conversation(c);
  for (int i = 0; i < 201; ++i) give(b, ask);
  EXPECT_EQ(of(b).count(F::kHistoryPage), 200u);
  EXPECT_EQ(of(b).at(F::kNack).nack().code(), "rateLimited");
  pass(100);
  give(b, ask);
  EXPECT_EQ(of(b).count(F::kHistoryPage), 201u);
}

}  // namespace
}  // namespace parley::gateway
