// What every store keeps: written by the real fold, read back through the ports. Resume, summaries, marks and members are in
// contract_reads_test.cpp, accounts in accounts_test.cpp; random histories, one store against the other, in differential_test.cpp.
#include "chat/limits.h"
#include "store/contract_case.h"

namespace parley::store {
namespace {

INSTANTIATE_TEST_SUITE_P(Stores, StoreContract, ::testing::Bool(), [](const auto& run) { return run.param ? "postgres" : "memory"; });

TEST_P(StoreContract, StatesReadBackAreTheFoldedOnes) {
  const ConversationId direct = feed_.direct(kAnn, kBob, "hi");
  const ConversationId group = feed_.group(kAnn, {kBob, kCat});
  commit();
  expect_states_read_back();
  feed_.say(direct, kBob, chat::op::Block{});
  feed_.say(group, kAnn, chat::op::SetRole{kBob, chat::Role::admin}, feed_.fresh());
  feed_.say(group, kBob, chat::op::Mute{kCat, TimeMs{0}, false}, feed_.fresh());
  feed_.say(group, kBob, chat::op::Mute{std::nullopt, TimeMs{5'000'000}, false}, feed_.fresh());
  feed_.say(group, kCat, chat::op::MarkRead{Seq{3}, MessageNumber{0}});
  chat::op::Update update;
  update.title = "t\xc3\xa9xt '; --";
  update.notice = "";
  update.members_may_add = true;
  feed_.say(group, kAnn, update, feed_.fresh());
  commit();
  expect_states_read_back();
  feed_.remove(group, kAnn, kCat);
  feed_.add(group, kAnn, kDan);
  feed_.say(direct, kBob, chat::op::Block{true});
  commit();
  expect_states_read_back();
  feed_.say(group, kAnn, chat::op::Dissolve{}, feed_.fresh());
  commit();
  expect_states_read_back();
}

TEST_P(StoreContract, TheWindowFollowsFromEventsAndSchedules) {
  const ConversationId direct = feed_.direct(kAnn, kBob, "hi");
  for (std::size_t i = 0; i < chat::kWindow + 20; ++i) {
    if (i % 7 == 0)
      feed_.say(direct, kBob, chat::op::Schedule{std::nullopt, "later", TimeMs{10 + i}}, feed_.fresh());
    else
      feed_.send(direct, i % 2 ? kAnn : kBob, "text");
    if (i % 50 == 0) {
      commit();
      expect_states_read_back();
    }
  }
  commit();
  expect_states_read_back();
  EXPECT_EQ(feed_.states().at(direct).window.size(), chat::kWindow);
  EXPECT_TRUE(feed_.states().at(direct).left);
}

TEST_P(StoreContract, PositionIsComparedAndSet) {
  const ConversationId direct = feed_.direct(kAnn, kBob, "hi");
  Batch batch = feed_.take();
  Batch early = batch;
  early.expected = Offset{7};
  EXPECT_EQ(writer_->commit(early).error().code, Errc::lost);
  EXPECT_EQ(*writer_->position(Partition{0}), Offset{0});
  ASSERT_TRUE(writer_->commit(batch));
  EXPECT_EQ(*writer_->position(Partition{0}), Offset{1});
  auto rival = bench_->writer();
  EXPECT_EQ(rival->commit(batch).error().code, Errc::lost);
  EXPECT_EQ(history({kAnn, direct, {}, {}, {}, 50}).events.size(), 1u);
  EXPECT_EQ(*writer_->position(Partition{1}), Offset{0});
}

TEST_P(StoreContract, AnotherLogIsRefused) {
  EXPECT_EQ(writer_->open("topic-2", 2).error().code, Errc::misconfigured);
  EXPECT_EQ(writer_->open("topic-1", 3).error().code, Errc::misconfigured);
  EXPECT_TRUE(writer_->open("topic-1", 2));
}

TEST_P(StoreContract, ReadersLearnWhichLogItIs) {
  const auto there = ask<std::optional<Identity>>([&](auto done) { bench_->reader().identity(std::move(done)); });
  EXPECT_EQ(there, (Identity{"topic-1", 2}));
  EXPECT_NE(mismatch(*there, {"topic-2", 2}).find("topic-2"), std::string::npos);
}

TEST_P(StoreContract, ColdLoadGivesStateEventsAndWhoWasThere) {
  const ConversationId group = feed_.group(kAnn, {kBob});                // seq 1, offset 0
  feed_.send(group, kAnn, "one");                                        // 2, offset 1
  feed_.say(group, kBob, chat::op::MarkRead{Seq{2}, MessageNumber{1}});  // offset 2
  const Offset from = feed_.next();
  feed_.remove(group, kAnn, kBob);  // 3, offset 3
  feed_.add(group, kAnn, kCat);     // 4
  feed_.send(group, kCat, "two");   // 5
  commit();
  auto loaded = ask<ColdLoad>([&](auto done) { bench_->reader().cold_load(group, Partition{0}, from, std::move(done)); });
  EXPECT_EQ(loaded.position, feed_.next());
  EXPECT_EQ(chat::encode_state(loaded.state), chat::encode_state(feed_.states().at(group)));
  EXPECT_EQ(seqs(loaded.events), (Seqs{3, 4, 5}));
  EXPECT_EQ(loaded.events[0].offset, from);
  std::map<UserId, std::vector<Stay>> stays(loaded.stays.begin(), loaded.stays.end());
  ASSERT_EQ(stays.size(), 3u);
  EXPECT_EQ(stays[kAnn][0].from, Seq{1});
  EXPECT_EQ(stays[kBob][0].to, Seq{3});
  EXPECT_EQ(stays[kCat][0].from, Seq{4});
  EXPECT_EQ(stays[kCat][0].to, std::nullopt);

  loaded = ask<ColdLoad>([&](auto done) { bench_->reader().cold_load(group, Partition{0}, feed_.next(), std::move(done)); });
  EXPECT_TRUE(loaded.events.empty());
  loaded = ask<ColdLoad>([&](auto done) { bench_->reader().cold_load(group, Partition{0}, Offset{}, std::move(done)); });
  EXPECT_EQ(seqs(loaded.events), (Seqs{1, 2, 3, 4, 5}));
  loaded = ask<ColdLoad>([&](auto done) { bench_->reader().cold_load(id_of<ConversationId>(99), Partition{0}, Offset{}, std::move(done)); });
  EXPECT_EQ(loaded.state, chat::ConversationState{});
  EXPECT_EQ(loaded.position, feed_.next());
}

TEST_P(StoreContract, EventsComeBackWhole) {
  const ConversationId direct = chat::direct_conversation(kAnn, kBob);
  const RequestId id = feed_.fresh();
  const chat::Verdict verdict = feed_.say(direct, kAnn, chat::op::Send{kBob, std::string_view("\0\xff body", 7), false}, id, 0xffff'ffff'ffff'fff1);
  chat::Event event = std::get<chat::Event>(verdict);
  event.stays.clear();
  commit();
  const auto page = history({kBob, direct, {}, {}, {}, 50});
  ASSERT_EQ(page.events.size(), 1u);
  EXPECT_EQ(page.events[0].event, event);
  EXPECT_EQ(page.events[0].offset, Offset{0});
  EXPECT_FALSE(page.events[0].quarantined);
}

TEST_P(StoreContract, LookUpsFindEventsAndSchedulesOfTheirSenderOnly) {
  const RequestId first = feed_.fresh(), planned = feed_.fresh(), fired = feed_.fresh();
  const ConversationId direct = chat::direct_conversation(kAnn, kBob);
  feed_.say(direct, kAnn, chat::op::Send{kBob, "hi", false}, first, 11);
  feed_.say(direct, kAnn, chat::op::Schedule{std::nullopt, "later", TimeMs{5}}, planned, 22);
  feed_.say(direct, kAnn, chat::op::Schedule{std::nullopt, "soon", TimeMs{5}}, fired, 33);
  feed_.say(direct, kAnn, chat::op::Fire{"soon"}, fired, 33);
  commit();
  auto found = ask<Snapshot<std::vector<LookedUp>>>([&](auto done) {
    bench_->reader().look_up(
        {{direct, kAnn, first}, {direct, kBob, first}, {direct, kAnn, planned}, {direct, kAnn, fired}, {id_of<ConversationId>(5), kAnn, first}},
        std::move(done));
  });
  EXPECT_EQ(found.positions.at(0), feed_.next());
  ASSERT_EQ(found.value.size(), 5u);
  ASSERT_TRUE(found.value[0].event);
  EXPECT_EQ(found.value[0].event->event.seq, Seq{1});
  EXPECT_EQ(found.value[0].payload_hash, 11u);
  EXPECT_FALSE(found.value[1].event);
  EXPECT_FALSE(found.value[1].schedule);
  EXPECT_FALSE(found.value[2].event);
  EXPECT_TRUE(found.value[2].schedule);
  EXPECT_EQ(found.value[2].payload_hash, 22u);
  ASSERT_TRUE(found.value[3].event);
  EXPECT_EQ(found.value[3].event->event.seq, Seq{2});
  EXPECT_FALSE(found.value[4].event);
}

TEST_P(StoreContract, DueSchedulesAreThoseNotFiredAndNotCancelled) {
  const ConversationId direct = feed_.direct(kAnn, kBob, "hi");
  const RequestId a = feed_.fresh(), b = feed_.fresh(), c = feed_.fresh(), d = feed_.fresh();
  feed_.say(direct, kAnn, chat::op::Schedule{std::nullopt, "a", TimeMs{300}}, a, 1);
  feed_.say(direct, kAnn, chat::op::Schedule{std::nullopt, "b", TimeMs{100}}, b, 2);
  feed_.say(direct, kBob, chat::op::Schedule{std::nullopt, "c", TimeMs{200}}, c, 3);
  feed_.say(direct, kBob, chat::op::Schedule{std::nullopt, "d", TimeMs{900}}, d, 4);
  commit();
  feed_.say(direct, kBob, chat::op::Cancel{c});
  feed_.say(direct, kAnn, chat::op::Cancel{d});  // not his
  commit();
  auto due = writer_->due(Partition{0}, TimeMs{300}, 10);
  ASSERT_TRUE(due);
  ASSERT_EQ(due->size(), 2u);
  EXPECT_EQ((*due)[0].id, b);
  EXPECT_EQ((*due)[0].body, "b");
  EXPECT_EQ((*due)[0].payload_hash, 2u);
  EXPECT_EQ((*due)[0].device, "phone");
  EXPECT_EQ((*due)[1].id, a);
  EXPECT_EQ(writer_->due(Partition{0}, TimeMs{900}, 1)->size(), 1u);
  EXPECT_TRUE(writer_->due(Partition{1}, TimeMs{900}, 10)->empty());
  feed_.say(direct, kAnn, chat::op::Fire{"b"}, b, 2);
  commit();
  due = writer_->due(Partition{0}, TimeMs{900}, 10);
  ASSERT_EQ(due->size(), 2u);
  EXPECT_EQ((*due)[1].id, d);
  expect_states_read_back();
}

TEST_P(StoreContract, HistoryBounds) {  // D25
  const ConversationId direct = feed_.direct(kAnn, kBob, "1");
  for (int i = 2; i <= 10; ++i) feed_.send(direct, kAnn, std::to_string(i));
  commit();
  const auto page = [&](std::optional<std::uint64_t> before, std::optional<std::uint64_t> after, std::optional<std::uint64_t> around, std::uint32_t limit) {
    HistoryQuery query{kBob, direct, {}, {}, {}, limit};
    if (before) query.before = Seq{*before};
    if (after) query.after = Seq{*after};
    if (around) query.around = Seq{*around};
    const auto result = history(query);
    return std::pair(seqs(result.events), result.more);
  };
  using Page = std::pair<Seqs, bool>;
  EXPECT_EQ(page({}, {}, {}, 3), (Page{{8, 9, 10}, true}));
  EXPECT_EQ(page({}, {}, {}, 10), (Page{{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, false}));
  EXPECT_EQ(page(4, {}, {}, 2), (Page{{2, 3}, true}));
  EXPECT_EQ(page(4, {}, {}, 3), (Page{{1, 2, 3}, false}));
  EXPECT_EQ(page({}, 7, {}, 2), (Page{{8, 9}, true}));
  EXPECT_EQ(page({}, 7, {}, 3), (Page{{8, 9, 10}, false}));
  EXPECT_EQ(page(7, 2, {}, 2), (Page{{3, 4}, true}));
  EXPECT_EQ(page(7, 2, {}, 4), (Page{{3, 4, 5, 6}, false}));
  EXPECT_EQ(page({}, {}, 5, 5), (Page{{3, 4, 5, 6, 7}, true}));
  EXPECT_EQ(page({}, {}, 1, 3), (Page{{1, 2}, true}));
  EXPECT_EQ(page({}, 10, {}, 3), (Page{{}, false}));
  EXPECT_EQ(page(1, {}, {}, 3), (Page{{}, false}));
  EXPECT_EQ(page(~0ull, {}, {}, 1), (Page{{10}, true}));
  EXPECT_EQ(page({}, ~0ull, {}, 1), (Page{{}, false}));
  EXPECT_EQ(page({}, {}, {}, 0).first.size(), 10u);
}

TEST_P(StoreContract, PagesEndBeforeTheirBytes) {  // D6
  const ConversationId direct = feed_.direct(kAnn, kBob, std::string(200'000, 'a'));
  for (int i = 0; i < 4; ++i) feed_.send(direct, kAnn, std::string(200'000, 'b'));
  feed_.send(direct, kAnn, std::string(600'000, 'c'));
  commit();
  EXPECT_EQ(seqs(history({kBob, direct, {}, Seq{0}, {}, 50}).events), (Seqs{1, 2}));
  EXPECT_TRUE(history({kBob, direct, {}, Seq{0}, {}, 50}).more);
  EXPECT_EQ(seqs(history({kBob, direct, {}, {}, {}, 50}).events), (Seqs{6}));  // at least one
  EXPECT_EQ(seqs(history({kBob, direct, Seq{6}, {}, {}, 50}).events), (Seqs{4, 5}));
}

TEST_P(StoreContract, OneSeesTheUnionOfOnesStays) {        // D26, D27
  const ConversationId group = feed_.group(kAnn, {kBob});  // 1
  feed_.send(group, kAnn, "two");                          // 2
  feed_.remove(group, kAnn, kBob);                         // 3
  feed_.send(group, kAnn, "four");                         // 4
  commit();
  EXPECT_EQ(seqs(history({kBob, group, {}, {}, {}, 50}).events), (Seqs{1, 2, 3}));
  EXPECT_EQ(history({kBob, group, {}, {}, {}, 50}).standing, Standing::former);
  EXPECT_EQ(history({kCat, group, {}, {}, {}, 50}).standing, Standing::stranger);
  EXPECT_TRUE(history({kCat, group, {}, {}, {}, 50}).events.empty());
  feed_.add(group, kAnn, kBob);    // 5
  feed_.send(group, kBob, "six");  // 6
  feed_.add(group, kAnn, kCat);    // 7
  commit();
  EXPECT_EQ(seqs(history({kBob, group, {}, {}, {}, 50}).events), (Seqs{1, 2, 3, 5, 6, 7}));
  EXPECT_EQ(seqs(history({kBob, group, {}, {}, {}, 4}).events), (Seqs{3, 5, 6, 7}));
  EXPECT_EQ(seqs(history({kBob, group, {}, Seq{2}, {}, 2}).events), (Seqs{3, 5}));
  EXPECT_TRUE(history({kBob, group, {}, Seq{2}, {}, 2}).more);
  EXPECT_EQ(history({kBob, group, {}, {}, {}, 50}).standing, Standing::member);
  EXPECT_EQ(seqs(history({kCat, group, {}, {}, {}, 50}).events), (Seqs{7}));
  EXPECT_FALSE(history({kCat, group, {}, {}, {}, 50}).more);
  EXPECT_EQ(seqs(history({kAnn, group, {}, {}, {}, 50}).events), (Seqs{1, 2, 3, 4, 5, 6, 7}));
  // In one batch: added, removed, added again.
  feed_.add(group, kAnn, kDan);     // 8
  feed_.remove(group, kAnn, kDan);  // 9
  feed_.send(group, kAnn, "ten");   // 10
  feed_.add(group, kAnn, kDan);     // 11
  commit();
  EXPECT_EQ(seqs(history({kDan, group, {}, {}, {}, 50}).events), (Seqs{8, 9, 11}));
}

TEST_P(StoreContract, HistoryForNewMembersOpensThePastAndTakesNothingBack) {  // D52
  const ConversationId group = feed_.group(kAnn, {});                         // 1
  feed_.send(group, kAnn, "two");                                             // 2
  feed_.add(group, kAnn, kBob);                                               // 3: sees from 3
  feed_.remove(group, kAnn, kBob);                                            // 4: gone before the past is opened
  feed_.add(group, kAnn, kDan);                                               // 5: present when it is
  commit();
  feed_.open_past(group, kAnn, true);  // 6
  feed_.add(group, kAnn, kCat);        // 7: while it is on
  commit();
  const Seqs all{1, 2, 3, 4, 5, 6, 7};
  EXPECT_EQ(seqs(history({kDan, group, {}, {}, {}, 50}).events), all);
  EXPECT_EQ(seqs(history({kCat, group, {}, {}, {}, 50}).events), all);
  EXPECT_EQ(seqs(history({kBob, group, {}, {}, {}, 50}).events), (Seqs{3, 4}));
  feed_.open_past(group, kAnn, false);  // 8
  feed_.add(group, kAnn, kBob);         // 9
  commit();
  EXPECT_EQ(seqs(history({kDan, group, {}, {}, {}, 50}).events), (Seqs{1, 2, 3, 4, 5, 6, 7, 8, 9}));
  EXPECT_EQ(seqs(history({kBob, group, {}, {}, {}, 50}).events), (Seqs{3, 4, 9}));
  // All in one batch.
  const ConversationId other = feed_.group(kAnn, {});  // 1
  feed_.add(other, kAnn, kBob);                        // 2
  feed_.remove(other, kAnn, kBob);                     // 3
  feed_.add(other, kAnn, kDan);                        // 4
  feed_.open_past(other, kAnn, true);                  // 5
  feed_.open_past(other, kAnn, false);                 // 6
  feed_.add(other, kAnn, kCat);                        // 7
  feed_.remove(other, kAnn, kDan);                     // 8
  commit();
  EXPECT_EQ(seqs(history({kBob, other, {}, {}, {}, 50}).events), (Seqs{2, 3}));
  EXPECT_EQ(seqs(history({kDan, other, {}, {}, {}, 50}).events), (Seqs{1, 2, 3, 4, 5, 6, 7, 8}));
  EXPECT_EQ(seqs(history({kCat, other, {}, {}, {}, 50}).events), (Seqs{7, 8}));
}

TEST_P(StoreContract, WhoWasRemovedBeforeThePastWasOpenedSeesNoMore) {  // D52; both in one batch, of someone from before it
  const ConversationId group = feed_.group(kAnn, {});                   // 1
  feed_.add(group, kAnn, kBob);                                         // 2
  feed_.add(group, kAnn, kCat);                                         // 3
  commit();
  feed_.remove(group, kAnn, kBob);     // 4
  feed_.open_past(group, kAnn, true);  // 5
  feed_.remove(group, kAnn, kCat);     // 6
  commit();
  EXPECT_EQ(seqs(history({kBob, group, {}, {}, {}, 50}).events), (Seqs{2, 3, 4}));
  EXPECT_EQ(seqs(history({kCat, group, {}, {}, {}, 50}).events), (Seqs{1, 2, 3, 4, 5, 6}));
}

TEST_P(StoreContract, AnIdUsedTwiceIsAnsweredWithItsFirstEvent) {  // D19: undefined for the client, but one answer for ever
  const ConversationId direct = chat::direct_conversation(kAnn, kBob);
  const RequestId id = feed_.fresh();
  feed_.say(direct, kAnn, chat::op::Send{kBob, "first", false}, id);
  for (std::size_t i = 0; i < chat::kWindow; ++i) feed_.send(direct, kAnn, "text");
  const auto again = feed_.say(direct, kAnn, chat::op::Send{std::nullopt, "second", false}, id);
  ASSERT_TRUE(std::holds_alternative<chat::Event>(again));
  commit();
  const auto found = ask<Snapshot<std::vector<LookedUp>>>([&](auto done) { bench_->reader().look_up({{direct, kAnn, id}}, std::move(done)); });
  ASSERT_TRUE(found.value.at(0).event);
  EXPECT_EQ(found.value[0].event->event.seq, Seq{1});
}

TEST_P(StoreContract, ARefusedEventIsStoredWithoutItsBody) {  // R12
  bench_->refuse_body("poison");
  std::vector<std::pair<std::uint64_t, std::string>> told;
  writer_->on_quarantined([&](Partition, const StoredEvent& event, std::string_view why) {
    EXPECT_FALSE(why.empty());
    told.emplace_back(event.event.seq.value, event.event.body);
  });
  const ConversationId direct = feed_.direct(kAnn, kBob, "before");
  feed_.send(direct, kAnn, "poison");
  feed_.send(direct, kAnn, "after");
  commit();
  EXPECT_EQ(told, (std::vector<std::pair<std::uint64_t, std::string>>{{2, "poison"}}));
  const auto page = history({kBob, direct, {}, {}, {}, 50});
  ASSERT_EQ(seqs(page.events), (Seqs{1, 2, 3}));
  EXPECT_FALSE(page.events[0].quarantined);
  EXPECT_TRUE(page.events[1].quarantined);
  EXPECT_EQ(page.events[1].event.body, "");
  EXPECT_NE(page.events[1].event.chain, chat::Digest{});
  EXPECT_EQ(page.events[2].event.body, "after");
  expect_states_read_back();
  EXPECT_EQ(*writer_->position(Partition{0}), feed_.next());
}

TEST_P(StoreContract, PositionsAreToldSoonAfterTheyMove) {
  std::vector<Offset> there(2);
  bench_->reader().on_moved([&](Partition partition, Offset offset) { there.at(partition.value) = std::max(there.at(partition.value), offset); });
  feed_.direct(kAnn, kBob, "hi");
  commit();
  EXPECT_TRUE(bench_->run_until([&] { return there[0] == Offset{1}; }));
  feed_.direct(kAnn, kBob, "hi");
  commit();
  EXPECT_TRUE(bench_->run_until([&] { return there[0] == Offset{2}; }));
  EXPECT_EQ(ask<Positions>([&](auto done) { bench_->reader().positions(std::move(done)); }), (Positions{Offset{2}, Offset{0}}));
}

}  // namespace
}  // namespace parley::store
