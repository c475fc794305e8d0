// What every store keeps, second part: what a resuming device is owed, lists, marks and members.
#include <map>

#include "chat/limits.h"
#include "store/contract_case.h"
#include "store/pages.h"

namespace parley::store {
namespace {

class StoreReads : public StoreContract {};

INSTANTIATE_TEST_SUITE_P(Stores, StoreReads, ::testing::Bool(), [](const auto& run) { return run.param ? "postgres" : "memory"; });

TEST_P(StoreReads, ResumeGivesWhatIsOwedAndTheMarks) {  // R25, D26, D28, D32
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

TEST_P(StoreReads, AReplayIsBoundedByBytesToo) {
  const ConversationId direct = feed_.direct(kAnn, kBob, std::string(1'000, 'a'));
  for (int i = 0; i < 4; ++i) feed_.send(direct, kAnn, std::string(1'000, 'b'));
  commit();
  ResumeQuery query;
  query.user = kBob;
  query.cursors = {{direct, Seq{0}}};
  std::size_t bytes = 0;
  for (const StoredEvent& event : resume(query).events) bytes += page_bytes(event);
  query.max_bytes = static_cast<std::uint32_t>(bytes);
  EXPECT_EQ(resume(query).events.size(), 5u);
  for (const std::uint32_t less : {static_cast<std::uint32_t>(bytes - 1), 1'500u, 0u}) {
    query.max_bytes = less;
    EXPECT_TRUE(resume(query).too_many) << less;
    EXPECT_TRUE(resume(query).events.empty()) << less;
  }
  query.cursors = {{direct, Seq{5}}};
  EXPECT_FALSE(resume(query).too_many);  // nothing is owed
}

TEST_P(StoreReads, AnEventLargerThanAPageIsOneAndThereIsMore) {  // D6
  const ConversationId direct = feed_.direct(kAnn, kBob, "a");
  for (int i = 0; i < 3; ++i) feed_.send(direct, kAnn, std::string(chat::kPageBytes + 1, 'b'));
  commit();
  HistoryQuery query{.user = kBob, .conversation = direct, .before = {}, .after = {}, .around = {}};
  EXPECT_EQ(history(query).events.size(), 1u);
  EXPECT_TRUE(history(query).more);
  query.after = Seq{1};
  EXPECT_EQ(history(query).events.size(), 1u);
  EXPECT_TRUE(history(query).more);
  query.after = Seq{3};
  EXPECT_EQ(history(query).events.size(), 1u);
  EXPECT_FALSE(history(query).more);
}

TEST_P(StoreReads, ResumeReplaysEveryStayBehindTheCursor) {  // D26, D27
  const ConversationId group = feed_.group(kAnn, {kBob});    // 1
  feed_.remove(group, kAnn, kBob);                           // 2
  feed_.send(group, kAnn, "not for him");                    // 3
  feed_.add(group, kAnn, kBob);                              // 4
  feed_.remove(group, kAnn, kBob);                           // 5
  feed_.send(group, kAnn, "nor this");                       // 6
  feed_.add(group, kAnn, kBob);                              // 7
  feed_.send(group, kAnn, "this is");                        // 8
  commit();
  for (const auto& [cursor, owed] :
       std::map<std::uint64_t, Seqs>{{0, {1, 2, 4, 5, 7, 8}}, {1, {2, 4, 5, 7, 8}}, {2, {4, 5, 7, 8}}, {5, {7, 8}}, {7, {8}}, {8, {}}}) {
    ResumeQuery query;
    query.user = kBob;
    query.cursors = {{group, Seq{cursor}}};
    query.max_events = static_cast<std::uint32_t>(owed.size());  // what one may not see does not count
    EXPECT_EQ(seqs(resume(query).events), owed) << "cursor " << cursor;
    EXPECT_FALSE(resume(query).too_many);
  }
}

TEST_P(StoreReads, ChangedAreThoseNotHeldThatMovedSinceTheToken) {
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

TEST_P(StoreReads, ChangedIsBounded) {  // D6
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

TEST_P(StoreReads, SummariesNewestFirstPageByPage) {
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
    return ask<Snapshot<Details>>([&](auto done) { bench_->reader().details(who, which, std::move(done)); }).value;
  };
  EXPECT_EQ(one(kBob, group).standing, Standing::member);
  EXPECT_TRUE(one(kBob, group).summary);
  EXPECT_EQ(one(kCat, group).standing, Standing::stranger);
  EXPECT_FALSE(one(kCat, group).summary);
  EXPECT_EQ(one(kBob, id_of<ConversationId>(99)).standing, Standing::stranger);
  feed_.send(self, kBob, "a note");
  feed_.remove(group, kDan, kBob);
  commit();
  EXPECT_EQ(one(kBob, group).standing, Standing::former);
  EXPECT_FALSE(one(kBob, group).summary);
  EXPECT_EQ(summaries(kBob).items.at(0).conversation, self);
  EXPECT_EQ(summaries(kBob).items.size(), 3u);
}

TEST_P(StoreReads, MarksAreClampedIntoWhatOneMaySee) {     // D30, D56
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

TEST_P(StoreReads, MembersPageByPage) {
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

}  // namespace
}  // namespace parley::store
