// Messages, marks, duplicates, blocks, schedules, account events, time and chain.
#include "chat/fold.h"

#include <gtest/gtest.h>

#include "chat/testing.h"

namespace parley::chat {
namespace {

using testing::direct;
using testing::group;
using testing::outcome;
using testing::request;
using testing::Talk;
using testing::text;
using testing::user;

const UserId kA = user(1), kB = user(2), kC = user(3);

op::Send to(const UserId& peer, std::string_view body = "hi") { return {.peer = peer, .body = body}; }

TEST(Direct, TheFirstMessageFoundsIt) {
  Talk t = direct(kA, kB);
  const Event e = t.event(kA, to(kB));
  EXPECT_EQ(e.seq, Seq{1});
  EXPECT_EQ(e.number, MessageNumber{1});
  EXPECT_EQ(e.body, "hi");
  EXPECT_EQ(e.device, "phone");
  EXPECT_EQ(e.stays, (std::vector<StayChange>{{kA, true}, {kB, true}}));
  EXPECT_EQ(t.state.kind, Kind::direct);
  const Event answer = t.event(kB, to(kA));
  EXPECT_EQ(answer.seq, Seq{2});
  EXPECT_TRUE(answer.stays.empty());
  EXPECT_EQ(outcome(t.act(kB, text())), "event");
}

TEST(Direct, WithOneselfIsTheSelfConversation) {
  Talk t = direct(kA, kA);
  const Event e = t.event(kA, to(kA));
  EXPECT_EQ(t.state.kind, Kind::self);
  EXPECT_EQ(e.stays, (std::vector<StayChange>{{kA, true}}));
  EXPECT_EQ(t.state.members.size(), 1u);
}

TEST(Direct, NobodyFoundsAConversationThatIsNotHis) {
  Talk t = direct(kA, kB);
  EXPECT_EQ(outcome(t.act(kC, to(kB))), "invalid");
  EXPECT_EQ(outcome(t.act(kA, to(kC))), "invalid");
  EXPECT_EQ(outcome(t.act(kA, text())), "notFound");
  EXPECT_EQ(t.state, ConversationState{});
}

TEST(Send, MovesTheSendersMarkOnly) {
  Talk t = group(kA, {kB});
  t.act(kA, text());
  t.act(kB, text());
  t.act(kA, text());
  EXPECT_EQ(t.state.member(kA)->read_seq, Seq{4});
  EXPECT_EQ(t.state.member(kA)->read_number, MessageNumber{3});
  EXPECT_EQ(t.state.member(kB)->read_number, MessageNumber{2});
  EXPECT_EQ(unread(t.state.last_number, t.state.member(kB)->read_number), 1u);
}

TEST(Send, WithoutAnIdIsInvalid) {
  Talk t = group(kA, {kB});
  EXPECT_EQ(outcome(t.act(kA, text(), RequestId{})), "invalid");
}

TEST(Time, NeverGoesBack) {
  Talk t = group(kA, {kB});
  t.now = TimeMs{9'000'000};
  const Event late = t.event(kA, text());
  t.now = TimeMs{1};
  EXPECT_EQ(t.event(kA, text()).time, late.time);
}

TEST(MarkRead, OnlyForwardAndOnlyToWhatThereIs) {
  Talk t = group(kA, {kB});
  for (int i = 0; i < 5; ++i) t.act(kA, text());
  const auto mark = [&](std::uint64_t seq, std::uint64_t number) { return std::get<Mark>(t.act(kB, op::MarkRead{{seq}, {number}}, RequestId{})); };
  EXPECT_EQ(mark(3, 2), (Mark{kB, Seq{3}, MessageNumber{2}, Seq{3}}));
  EXPECT_EQ(mark(2, 1), (Mark{kB, Seq{3}, MessageNumber{2}, Seq{3}}));
  EXPECT_EQ(mark(99, 99), (Mark{kB, Seq{6}, MessageNumber{5}, Seq{6}}));
  EXPECT_EQ(std::get<Mark>(t.act(kA, op::Delivered{Seq{99}}, RequestId{})).delivered_seq, Seq{6});
}

TEST(Delivered, DoesNotRead) {
  Talk t = group(kA, {kB});
  for (int i = 0; i < 3; ++i) t.act(kA, text());
  EXPECT_EQ(std::get<Mark>(t.act(kB, op::Delivered{Seq{3}}, RequestId{})), (Mark{kB, Seq{1}, MessageNumber{0}, Seq{3}}));
  EXPECT_EQ(std::get<Mark>(t.act(kB, op::Delivered{Seq{2}}, RequestId{})).delivered_seq, Seq{3});
}

TEST(Duplicate, ComesBeforeEveryAuthorisation) {
  Talk t = group(kA, {kB});
  const auto first = std::get<Event>(t.act(kB, text(), request(50), 7));
  t.act(kA, op::Remove{{kB}});
  EXPECT_EQ(std::get<Duplicate>(t.act(kB, text(), request(50), 7)).of_seq, first.seq);
  EXPECT_EQ(outcome(t.act(kB, text(), request(51))), "notMember");
  t.act(kA, op::Dissolve{});
  EXPECT_EQ(std::get<Duplicate>(t.act(kB, text(), request(50), 7)).of_seq, first.seq);
}

TEST(Duplicate, AnotherPayloadIsAConflict) {
  Talk t = group(kA, {kB});
  t.act(kB, text(), request(50), 7);
  EXPECT_EQ(outcome(t.act(kB, text("other"), request(50), 8)), "conflict");
  EXPECT_EQ(outcome(t.act(kB, text("other"), request(50), 0)), "duplicate");  // 0: not known
  t.act(kB, text(), request(51), 0);
  EXPECT_EQ(outcome(t.act(kB, text(), request(51), 9)), "duplicate");
}

TEST(Duplicate, TheSameIdOfAnotherSenderIsAnotherId) {
  Talk t = group(kA, {kB});
  EXPECT_EQ(outcome(t.act(kA, text(), request(50))), "event");
  EXPECT_EQ(outcome(t.act(kB, text(), request(50))), "event");
}

TEST(Duplicate, ARejectedOrEmptyOperationIsNotRemembered) {
  Talk t = group(kA, {kB});
  EXPECT_EQ(outcome(t.act(kB, op::Update{.title = "x"}, request(50))), "forbidden");
  EXPECT_EQ(outcome(t.act(kA, op::Add{{kB}}, request(51))), "nothing");
  t.act(kA, op::Remove{{kB}});
  EXPECT_EQ(outcome(t.act(kA, op::Add{{kB}}, request(51))), "event");  // D60: the same id may act later
}

// R8: the bound of the window, exactly.
TEST(Stale, FromTheFirstOffsetThatLeftTheWindow) {
  Talk t = group(kA, {kB});  // offset 0
  t.act(kB, text(), request(50));
  for (std::size_t i = 0; i < kWindow - 1; ++i) t.act(kA, text());
  EXPECT_EQ(t.state.left, Offset{0});
  EXPECT_EQ(outcome(t.act(kB, text(), request(50))), "duplicate");
  t.act(kA, text());
  EXPECT_EQ(t.state.left, Offset{1});  // request(50) has left

  t.since = Offset{1};
  EXPECT_EQ(outcome(t.act(kB, text(), request(50))), "stale");
  EXPECT_EQ(outcome(t.act(kC, text(), request(60))), "stale");  // before membership: nobody knows who it was then
  t.since = Offset{2};
  EXPECT_EQ(outcome(t.act(kB, text(), request(50))), "event");  // the gateway vouches that there was none below 2
}

TEST(Block, HoldsForBothFromThatRecordOn) {
  Talk t = direct(kA, kB);
  t.act(kA, to(kB));
  EXPECT_EQ(outcome(t.act(kB, op::Block{}, RequestId{})), "nothing");
  EXPECT_EQ(outcome(t.act(kA, to(kB))), "blocked");
  EXPECT_EQ(outcome(t.act(kB, text())), "blocked");
  EXPECT_EQ(outcome(t.act(kA, op::MarkRead{Seq{1}, MessageNumber{1}}, RequestId{})), "mark");
  t.act(kA, op::Block{}, RequestId{});
  t.act(kB, op::Block{.off = true, .peer = {}}, RequestId{});
  EXPECT_EQ(outcome(t.act(kB, text())), "blocked");  // the other still blocks
  t.act(kA, op::Block{.off = true, .peer = kB}, RequestId{});
  EXPECT_EQ(outcome(t.act(kB, text())), "event");
}

TEST(Block, BeforeTheFirstMessage) {
  Talk t = direct(kA, kB);
  EXPECT_EQ(outcome(t.act(kB, op::Block{.off = false, .peer = kA}, RequestId{})), "nothing");
  EXPECT_EQ(t.state.kind, Kind::direct);
  EXPECT_EQ(t.state.last_seq, Seq{0});
  EXPECT_EQ(outcome(t.act(kA, to(kB))), "blocked");
  t.act(kB, op::Block{.off = true, .peer = kA}, RequestId{});
  EXPECT_EQ(t.event(kA, to(kB)).stays, (std::vector<StayChange>{{kA, true}, {kB, true}}));  // stays begin with event 1
}

TEST(Block, UnblockingNobodyFoundsNothing) {
  Talk t = direct(kA, kB);
  EXPECT_EQ(outcome(t.act(kB, op::Block{.off = true, .peer = kA}, RequestId{})), "nothing");
  EXPECT_EQ(t.state, ConversationState{});
  EXPECT_EQ(outcome(direct(kA, kA).act(kA, op::Block{.off = false, .peer = kA})), "forbidden");
}

op::Schedule later(std::string_view body = "later") { return {.peer = {}, .body = body, .due = TimeMs{5}}; }

TEST(Schedule, FiresOnce) {
  Talk t = group(kA, {kB});
  EXPECT_EQ(outcome(t.act(kB, later(), request(50), 3)), "nothing");
  EXPECT_EQ(std::get<Duplicate>(t.act(kB, later(), request(50), 3)).of_seq, Seq{0});
  const auto fired = std::get<Event>(t.act(kB, op::Fire{"later"}, request(50), 3));
  EXPECT_EQ(fired.kind, EventKind::message);
  EXPECT_EQ(fired.sender, kB);
  EXPECT_EQ(fired.id, request(50));
  EXPECT_EQ(t.state.member(kB)->read_number, *fired.number);  // an ordinary message of his (D29)
  EXPECT_EQ(outcome(t.act(kB, op::Fire{"later"}, request(50), 3)), "nothing");
  EXPECT_EQ(std::get<Duplicate>(t.act(kB, later(), request(50), 3)).of_seq, fired.seq);
  EXPECT_TRUE(t.state.pending.empty());
}

TEST(Schedule, CancelledNeverFires) {
  Talk t = group(kA, {kB});
  t.act(kB, later(), request(50));
  EXPECT_EQ(outcome(t.act(kA, op::Cancel{request(50)}, RequestId{})), "notFound");  // not his
  EXPECT_EQ(outcome(t.act(kB, op::Cancel{request(50)}, RequestId{})), "nothing");
  EXPECT_EQ(outcome(t.act(kB, op::Cancel{request(50)}, RequestId{})), "notFound");
  EXPECT_EQ(outcome(t.act(kB, op::Fire{"later"}, request(50))), "nothing");
  EXPECT_EQ(outcome(t.act(kB, later(), request(50))), "duplicate");  // R10: its id is consumed
  EXPECT_EQ(outcome(t.act(kB, op::Fire{"later"}, request(50))), "nothing");
}

TEST(Schedule, OneWhoMayNotSpeakAnyMoreSaysNothing) {
  Talk t = group(kA, {kB});
  t.act(kB, later(), request(50));
  t.act(kB, later(), request(51));
  t.act(kA, op::Mute{.user = kB, .until = {}});
  EXPECT_EQ(outcome(t.act(kB, op::Fire{"later"}, request(50))), "nothing");
  t.act(kA, op::Remove{{kB}});
  EXPECT_EQ(outcome(t.act(kB, op::Fire{"later"}, request(51))), "nothing");
  EXPECT_TRUE(t.state.pending.empty());
}

TEST(Schedule, AtMostSoManyPending) {
  Talk t = group(kA, {kB});
  for (std::size_t i = 0; i < kPendingSchedules; ++i) ASSERT_EQ(outcome(t.act(kA, later())), "nothing");
  EXPECT_EQ(outcome(t.act(kA, later(), request(50))), "rateLimited");
  EXPECT_EQ(outcome(t.act(kA, later(), request(50))), "rateLimited");  // not remembered
}

TEST(Schedule, FoundsADirectConversation) {
  Talk t = direct(kA, kB);
  EXPECT_EQ(outcome(t.act(kA, op::Schedule{.peer = kB, .body = "b", .due = {}}, request(50))), "nothing");
  const auto fired = std::get<Event>(t.act(kA, op::Fire{"b"}, request(50)));
  EXPECT_EQ(fired.seq, Seq{1});
  EXPECT_EQ(fired.stays.size(), 2u);
}

TEST(Account, HasASeqAndNoNumber) {
  Talk t = direct(kA, kA);
  const Event e = t.event(kA, op::Account{"body"});
  EXPECT_EQ(e.seq, Seq{1});
  EXPECT_FALSE(e.number);
  EXPECT_EQ(e.kind, EventKind::account);
  const Event message = t.event(kA, to(kA));
  EXPECT_EQ(message.seq, Seq{2});
  EXPECT_EQ(message.number, MessageNumber{1});
}

TEST(Chain, CoversEveryField) {
  Event e;
  e.conversation = direct_conversation(kA, kB);
  e.seq = Seq{5};
  e.number = MessageNumber{4};
  e.time = TimeMs{99};
  e.sender = kA;
  e.id = request(1);
  e.body_hash = body_hash({}, "body");
  const Digest base = chain_next({}, e);
  const auto differs = [&](auto&& change) {
    Event other = e;
    change(other);
    return chain_next({}, other) != base;
  };
  EXPECT_TRUE(differs([](Event& x) { ++x.seq; }));
  EXPECT_TRUE(differs([](Event& x) { x.number.reset(); }));
  EXPECT_TRUE(differs([](Event& x) { ++x.time; }));
  EXPECT_TRUE(differs([](Event& x) { x.sender = kB; }));
  EXPECT_TRUE(differs([](Event& x) { x.kind = EventKind::account; }));
  EXPECT_TRUE(differs([](Event& x) { x.id = request(2); }));
  EXPECT_TRUE(differs([](Event& x) { x.body_hash[0] ^= 1; }));
  Digest previous{};
  previous[3] = 1;
  EXPECT_NE(chain_next(previous, e), base);
  EXPECT_NE(body_hash({}, "body"), body_hash({1}, "body"));
}

// The layout is for ever: an auditor recomputes it from stored rows. SHA-256 by another implementation (python3 hashlib).
TEST(Chain, GoldenVector) {
  Talk t = direct(kA, kB);
  Record r;
  r.conversation = t.id;
  r.actor = kA;
  r.id = request(1);
  r.salt.fill(7);
  r.op = to(kB, "hello");
  const auto e = std::get<Event>(fold(t.state, r, Offset{0}, TimeMs{1'700'000'000'000}));
  EXPECT_EQ(uuid_text(e.body_hash), "12334499-295c-a815-9b85-12fc1924017a");
  EXPECT_EQ(uuid_text(e.chain), "10eff37c-d43b-98db-6e13-37e742a7e9df");
  EXPECT_EQ(t.state.chain, e.chain);
}

TEST(FoldEntry, WhatCannotBeReadIsRejectedAndChangesNothing) {
  Talk t = group(kA, {kB});
  const ConversationState before = t.state;
  EXPECT_EQ(fold_entry(t.state, to_text(t.id), "garbage", t.next, t.now), Verdict(Rejected{Code::internal}));
  EXPECT_EQ(fold_entry(t.state, "no id", "", t.next, t.now), Verdict(Rejected{Code::internal}));
  EXPECT_EQ(t.state, before);
}

TEST(FoldEntry, FoldsTheRecord) {
  Talk t = direct(kA, kB);
  Record r;
  r.conversation = t.id;
  r.actor = kA;
  r.id = request(1);
  r.op = to(kB);
  EXPECT_EQ(outcome(fold_entry(t.state, to_text(t.id), encode_record(r), Offset{0}, TimeMs{1})), "event");
}

}  // namespace
}  // namespace parley::chat
