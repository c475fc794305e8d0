// What every store keeps: written by the real fold, read back through the ports. Accounts are in accounts_test.cpp; random
// histories, one store against the other, in differential_test.cpp.
#include <gtest/gtest.h>

#include "chat/limits.h"
#include "store/contract_bench.h"
#include "store/contract_feed.h"

namespace parley::store {
namespace {

const UserId kAnn = user(1), kBob = user(2), kCat = user(3), kDan = user(4);

class StoreContract : public ::testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    const auto opened = writer_->open("topic-1", 2);
    ASSERT_TRUE(opened) << opened.error().message;
    ASSERT_EQ(*opened, (std::vector<Offset>(2)));
  }
  void commit() { feed_.commit(*writer_); }
  void expect_states_read_back() {
    std::vector<ConversationId> ids;
    for (const auto& [id, state] : feed_.states()) ids.push_back(id);
    const auto loaded = writer_->load(feed_.partition(), feed_.next(), ids);
    ASSERT_TRUE(loaded) << loaded.error().message;
    ASSERT_EQ(loaded->size(), ids.size());
    for (std::size_t i = 0; i < ids.size(); ++i)
      EXPECT_EQ(chat::encode_state((*loaded)[i]), chat::encode_state(feed_.states().at(ids[i]))) << "conversation " << i;
    const auto ahead = writer_->load(feed_.partition(), feed_.next().next(), ids);
    ASSERT_FALSE(ahead);
    EXPECT_EQ(ahead.error().code, Errc::lost);
  }
  template <class T, class Call>
  T ask(Call call) {
    auto got = bench_->wait<T>(call);
    EXPECT_TRUE(got) << got.error().message;
    return got ? std::move(*got) : T{};
  }
  HistoryResult history(HistoryQuery query) {
    auto got = ask<Snapshot<HistoryResult>>([&](auto done) { bench_->reader().history(query, std::move(done)); });
    EXPECT_EQ(got.positions.size(), 2u);
    EXPECT_EQ(got.positions.at(0), feed_.next());
    return got.value;
  }
  ResumeResult resume(ResumeQuery query) {
    return ask<Snapshot<ResumeResult>>([&](auto done) { bench_->reader().resume(query, std::move(done)); }).value;
  }
  SummaryPage summaries(UserId who, std::string cursor = "", std::uint32_t limit = 50) {
    return ask<Snapshot<SummaryPage>>([&](auto done) { bench_->reader().summaries(who, cursor, limit, std::move(done)); }).value;
  }
  static std::vector<std::uint64_t> seqs(const std::vector<StoredEvent>& events) {
    std::vector<std::uint64_t> out;
    for (const StoredEvent& event : events) out.push_back(event.event.seq.value);
    return out;
  }
  using Seqs = std::vector<std::uint64_t>;

  std::unique_ptr<Bench> bench_ = make_bench(GetParam());
  std::unique_ptr<Writer> writer_ = bench_->writer();
  Feed feed_{Partition{0}, 2};
};

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

TEST_P(StoreContract, ResumeGivesWhatIsOwedAndTheMarks) {  // R25, D26, D28, D32
  const ConversationId direct = feed_.direct(kAnn, kBob, "1");
  for (int i = 2; i <= 5; ++i) feed_.send(direct, kAnn, std::to_string(i));
  feed_.say(direct, kBob, chat::op::MarkRead{Seq{2}, MessageNumber{2}});
  const ConversationId group = feed_.group(kCat, {kBob});  // 1
  feed_.send(group, kCat, "2");                            // 2
  feed_.remove(group, kCat, kBob);                         // 3
  feed_.send(group, kCat, "4");                            // 4: not for him
  const ConversationId foreign = feed_.group(kCat, {kDan});
  commit();
  ResumeQuery query;
  query.user = kBob;
  query.cursors = {{direct, Seq{3}}, {group, Seq{1}}, {foreign, Seq{0}}, {id_of<ConversationId>(77), Seq{9}}};
  auto got = resume(query);
  EXPECT_EQ(seqs(got.events), (Seqs{4, 5, 2, 3}));
  EXPECT_FALSE(got.too_many);
  EXPECT_FALSE(got.cursor_ahead);
  ASSERT_EQ(got.marks.size(), 2u);  // the direct conversation's: one's own and the peer's
  EXPECT_EQ(got.marks[0].conversation, direct);
  const Marks& own = got.marks[0].user == kBob ? got.marks[0] : got.marks[1];
  const Marks& peers = got.marks[0].user == kBob ? got.marks[1] : got.marks[0];
  EXPECT_EQ(own.read_seq, Seq{2});
  EXPECT_EQ(own.read_number, MessageNumber{2});
  EXPECT_EQ(peers.user, kAnn);
  EXPECT_EQ(peers.read_seq, Seq{5});

  query.max_events = 4;  // exactly that many are replayed
  EXPECT_EQ(seqs(resume(query).events).size(), 4u);
  query.max_events = 3;
  got = resume(query);
  EXPECT_TRUE(got.too_many);
  EXPECT_TRUE(got.events.empty());

  query.cursors = {{direct, Seq{6}}};
  EXPECT_TRUE(resume(query).cursor_ahead);
  query.cursors = {{foreign, Seq{60}}};
  EXPECT_FALSE(resume(query).cursor_ahead);
  query.cursors = {{direct, Seq{~0ull}}};
  EXPECT_TRUE(resume(query).cursor_ahead);
}

TEST_P(StoreContract, ChangedAreThoseNotHeldThatMovedSinceTheToken) {
  const ConversationId a = feed_.direct(kAnn, kBob, "a"), b = feed_.direct(kCat, kBob, "b"), c = feed_.direct(kDan, kBob, "c");
  commit();
  const Positions token{feed_.next(), Offset{0}};
  const auto names = [](const ResumeResult& result) {
    std::vector<ConversationId> out;
    for (const Summary& summary : result.changed) out.push_back(summary.conversation);
    return out;
  };
  ResumeQuery query;
  query.user = kBob;
  query.cursors = {{a, Seq{1}}};
  EXPECT_EQ(names(resume(query)), (std::vector{c, b}));  // no token: every other one, newest first
  query.since = token;
  EXPECT_TRUE(resume(query).changed.empty());
  feed_.send(a, kAnn, "again");
  feed_.send(b, kCat, "again");
  feed_.say(c, kDan, chat::op::Delivered{Seq{1}});  // a mark of another's changes nothing for him
  commit();
  EXPECT_EQ(names(resume(query)), (std::vector{b}));
  feed_.say(c, kBob, chat::op::MarkRead{Seq{1}, MessageNumber{1}});  // his own does, on another device
  commit();
  EXPECT_EQ(names(resume(query)), (std::vector{b, c}));
  query.want_changed = false;
  EXPECT_TRUE(resume(query).changed.empty());
  query = {};
  query.user = kBob;
  query.since = token;
  EXPECT_EQ(names(resume(query)).size(), 3u);
}

TEST_P(StoreContract, ChangedIsBounded) {  // D6
  for (std::uint64_t i = 0; i < chat::kChangedMax + 1; ++i) feed_.direct(user(1000 + i), kBob, "hi");
  commit();
  ResumeQuery query;
  query.user = kBob;
  query.since = Positions{Offset{0}, Offset{0}};
  auto got = resume(query);
  EXPECT_EQ(got.changed.size(), chat::kChangedMax);
  EXPECT_TRUE(got.more);
  query.since = Positions{Offset{1}, Offset{0}};
  got = resume(query);
  EXPECT_EQ(got.changed.size(), chat::kChangedMax);
  EXPECT_FALSE(got.more);
}

TEST_P(StoreContract, SummariesNewestFirstPageByPage) {
  const ConversationId a = feed_.direct(kAnn, kBob, "a"), b = feed_.direct(kCat, kBob, "b");
  const ConversationId group = feed_.group(kDan, {kAnn});
  feed_.send(group, kDan, "not for him");
  feed_.add(group, kDan, kBob);
  const ConversationId self = chat::direct_conversation(kBob, kBob);
  feed_.say(self, kBob, chat::op::Account{"account"});                                   // D50: not listed
  feed_.say(chat::direct_conversation(kDan, kBob), kDan, chat::op::Block{false, kBob});  // founded, never spoken in
  feed_.send(a, kBob, "answer");
  commit();
  auto page = summaries(kBob, "", 2);
  ASSERT_EQ(page.items.size(), 2u);
  EXPECT_FALSE(page.next_cursor.empty());
  const Summary& first = page.items[0];
  EXPECT_EQ(first.conversation, a);
  EXPECT_EQ(first.kind, chat::Kind::direct);
  EXPECT_EQ(first.peer, kAnn);
  EXPECT_EQ(first.member_count, 2u);
  EXPECT_EQ(first.first_seq, Seq{1});
  EXPECT_EQ(first.last_seq, Seq{2});
  EXPECT_EQ(first.last_number, MessageNumber{2});
  EXPECT_EQ(first.read_number, MessageNumber{2});
  ASSERT_TRUE(first.last_message);
  EXPECT_EQ(first.last_message->event.body, "answer");
  const Summary& second = page.items[1];
  EXPECT_EQ(second.conversation, group);
  EXPECT_EQ(second.title, "a title");
  EXPECT_EQ(second.peer, std::nullopt);
  EXPECT_EQ(second.role, chat::Role::member);
  EXPECT_EQ(second.first_seq, Seq{3});
  EXPECT_EQ(second.last_number, MessageNumber{1});
  EXPECT_EQ(second.read_number, MessageNumber{1});
  EXPECT_FALSE(second.last_message);  // D7: he may not see it
  page = summaries(kBob, page.next_cursor, 2);
  ASSERT_EQ(page.items.size(), 1u);
  EXPECT_EQ(page.items[0].conversation, b);
  EXPECT_TRUE(page.next_cursor.empty());
  EXPECT_EQ(summaries(kBob, "nonsense", 50).items.size(), 3u);

  const auto one = [&](UserId who, ConversationId which) {
    return ask<Snapshot<std::optional<Summary>>>([&](auto done) { bench_->reader().summary(who, which, std::move(done)); }).value;
  };
  EXPECT_TRUE(one(kBob, group));
  EXPECT_FALSE(one(kCat, group));
  feed_.send(self, kBob, "a note");
  feed_.remove(group, kDan, kBob);
  commit();
  EXPECT_FALSE(one(kBob, group));
  EXPECT_EQ(summaries(kBob).items.at(0).conversation, self);
  EXPECT_EQ(summaries(kBob).items.size(), 3u);
}

TEST_P(StoreContract, MarksAreClampedIntoWhatOneMaySee) {  // D30, D56
  const ConversationId group = feed_.group(kAnn, {kBob});  // 1
  feed_.send(group, kAnn, "two");                          // 2, number 1
  feed_.remove(group, kAnn, kBob);                         // 3
  feed_.send(group, kAnn, "four");                         // 4, number 2
  feed_.add(group, kAnn, kBob);                            // 5
  feed_.send(group, kAnn, "six");                          // 6, number 3
  feed_.add(group, kAnn, kCat);                            // 7
  commit();
  const auto target = [&](UserId who, std::uint64_t seq) {
    const auto got = ask<Snapshot<MarkTarget>>([&](auto done) { bench_->reader().mark_target(who, group, Seq{seq}, std::move(done)); }).value;
    return std::tuple(got.standing, got.seq.value, got.number.value);
  };
  using T = std::tuple<Standing, std::uint64_t, std::uint64_t>;
  EXPECT_EQ(target(kBob, 2), (T{Standing::member, 2, 1}));
  EXPECT_EQ(target(kBob, 4), (T{Standing::member, 3, 1}));
  EXPECT_EQ(target(kBob, 5), (T{Standing::member, 5, 2}));
  EXPECT_EQ(target(kBob, 900), (T{Standing::member, 7, 3}));
  EXPECT_EQ(target(kBob, ~0ull), (T{Standing::member, 7, 3}));
  EXPECT_EQ(target(kCat, 3), (T{Standing::member, 7, 3}));  // before his first
  EXPECT_EQ(target(kBob, 0), (T{Standing::member, 1, 0}));
  EXPECT_EQ(std::get<0>(target(kDan, 1)), Standing::stranger);
  const auto standing = ask<Snapshot<Standing>>([&](auto done) { bench_->reader().standing(kBob, group, std::move(done)); }).value;
  EXPECT_EQ(standing, Standing::member);
}

TEST_P(StoreContract, MembersPageByPage) {
  const auto created = bench_->wait<void>([&](auto done) { bench_->accounts().create_user({kBob, "bob", "Bob B."}, "hash", std::move(done)); });
  ASSERT_TRUE(created) << created.error().message;
  const ConversationId group = feed_.group(kAnn, {kBob, kCat});
  feed_.say(group, kAnn, chat::op::Mute{kCat, TimeMs{9'000'000}, false}, feed_.fresh());
  commit();
  const auto members = [&](UserId who, std::string cursor, std::uint32_t limit) {
    return ask<Snapshot<MemberPage>>([&](auto done) { bench_->reader().members(who, group, cursor, limit, std::move(done)); }).value;
  };
  auto page = members(kBob, "", 2);
  ASSERT_EQ(page.items.size(), 2u);
  EXPECT_EQ(page.items[0].user, kAnn);
  EXPECT_EQ(page.items[0].role, chat::Role::owner);
  EXPECT_EQ(page.items[1].username, "bob");
  EXPECT_EQ(page.items[1].display_name, "Bob B.");
  page = members(kBob, page.next_cursor, 2);
  ASSERT_EQ(page.items.size(), 1u);
  EXPECT_EQ(page.items[0].user, kCat);
  EXPECT_EQ(page.items[0].muted_until, TimeMs{9'000'000});
  EXPECT_TRUE(page.next_cursor.empty());
  EXPECT_TRUE(members(kDan, "", 2).items.empty());
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
