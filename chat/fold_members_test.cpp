// Every operation against every standing: who may do what (P9, D35), and what group operations do (D36, D37).
#include <gtest/gtest.h>

#include <sstream>

#include "chat/testing.h"
#include "parley/client/v1/client.pb.h"

namespace parley::chat {
namespace {

namespace client = parley::client::v1;
using testing::group;
using testing::outcome;
using testing::request;
using testing::Talk;
using testing::text;
using testing::user;

const UserId kOwner = user(1), kAdmin = user(2), kMember = user(3), kOther = user(4), kSecondAdmin = user(5), kFormer = user(6), kStranger = user(7);

Talk team() {
  Talk t = group(kOwner, {kAdmin, kMember, kOther, kSecondAdmin, kFormer});
  t.act(kOwner, op::SetRole{kAdmin, Role::admin});
  t.act(kOwner, op::SetRole{kSecondAdmin, Role::admin});
  t.act(kOwner, op::Remove{{kFormer}});
  return t;
}

struct Standing {
  std::string_view name;
  UserId actor;
  Talk talk;
};

// The columns of the matrix below.
std::vector<Standing> standings() {
  Talk nowhere{.id = testing::direct(kMember, kOther).id};
  Talk direct = testing::direct(kMember, kOther);
  direct.act(kMember, op::Send{.peer = kOther, .body = "hi"});
  Talk self = testing::direct(kMember, kMember);
  self.act(kMember, op::Send{.peer = kMember, .body = "note"});
  Talk dissolved = team();
  dissolved.act(kOwner, op::Dissolve{});
  return {{"nowhere", kMember, nowhere},      {"direct", kMember, direct},           {"direct/stranger", kStranger, direct}, {"self", kMember, self},
          {"self/stranger", kStranger, self}, {"group/owner", kOwner, team()},       {"group/admin", kAdmin, team()},        {"group/member", kMember, team()},
          {"group/former", kFormer, team()},  {"group/stranger", kStranger, team()}, {"dissolved/owner", kOwner, dissolved}};
}

struct Row {
  std::string_view name;
  Operation op;
  std::string_view expected;  // one word per standing
};

const std::vector<Row>& matrix() {
  static const std::vector<Row> rows = {
      //                                                                 nowhere  direct    stranger  self      stranger  owner     admin     member    former
      //                                                                 stranger  dissolved
      {"send", text(), "notFound event     notMember event     notMember event     event     event     notMember notMember notMember"},
      {"send @all", op::Send{.peer = {}, .body = "b", .mention_all = true},
       "notFound event notMember event     notMember event     event     event     notMember notMember notMember"},
      {"send to peer", op::Send{.peer = kOther, .body = "b"},
       "event    event     invalid   invalid   invalid   invalid   invalid   invalid   invalid   invalid   invalid"},
      {"markRead", op::MarkRead{Seq{1}, MessageNumber{1}},
       "notFound mark      notMember mark      notMember mark      mark      mark      notMember notMember notMember"},
      {"delivered", op::Delivered{Seq{1}}, "notFound mark      notMember mark      notMember mark      mark      mark      notMember notMember notMember"},
      {"create", op::Create{.title = "t", .members = {}},
       "invalid  invalid   invalid   invalid   invalid   invalid   invalid   invalid   invalid   invalid   invalid"},
      {"rename", op::Update{.title = "new"}, "notFound forbidden notMember forbidden notMember event     event     forbidden notMember notMember notMember"},
      {"rename, same", op::Update{.title = "team"},
       "notFound forbidden notMember forbidden notMember nothing   nothing   forbidden notMember notMember notMember"},
      {"notice", op::Update{.notice = "n"}, "notFound forbidden notMember forbidden notMember event     event     forbidden notMember notMember notMember"},
      {"settings", op::Update{.members_may_add = true},
       "notFound forbidden notMember forbidden notMember event     forbidden forbidden notMember notMember notMember"},
      {"settings, same", op::Update{.members_may_add = false},
       "notFound forbidden notMember forbidden notMember nothing   forbidden forbidden notMember notMember notMember"},
      {"add", op::Add{{user(20)}}, "notFound forbidden notMember forbidden notMember event     event     forbidden notMember notMember notMember"},
      {"add, all in", op::Add{{kOther, kOwner}},
       "notFound forbidden notMember forbidden notMember nothing   nothing   forbidden notMember notMember notMember"},
      {"remove a member", op::Remove{{kOther}}, "notFound forbidden notMember forbidden notMember event     event     forbidden notMember notMember notMember"},
      {"remove an admin", op::Remove{{kSecondAdmin}},
       "notFound forbidden notMember forbidden notMember event     forbidden forbidden notMember notMember notMember"},
      {"remove the owner", op::Remove{{kOwner}},
       "notFound forbidden notMember forbidden notMember forbidden forbidden forbidden notMember notMember notMember"},
      {"remove both", op::Remove{{kOther, kSecondAdmin}},
       "notFound forbidden notMember forbidden notMember event     forbidden forbidden notMember notMember notMember"},
      {"remove, absent", op::Remove{{user(20)}},
       "notFound forbidden notMember forbidden notMember nothing   nothing   forbidden notMember notMember notMember"},
      {"promote", op::SetRole{kOther, Role::admin},
       "notFound forbidden notMember forbidden notMember event     forbidden forbidden notMember notMember notMember"},
      {"demote", op::SetRole{kSecondAdmin, Role::member},
       "notFound forbidden notMember forbidden notMember event     forbidden forbidden notMember notMember notMember"},
      {"transfer", op::SetRole{kOther, Role::owner},
       "notFound forbidden notMember forbidden notMember event     forbidden forbidden notMember notMember notMember"},
      {"setRole, same", op::SetRole{kOther, Role::member},
       "notFound forbidden notMember forbidden notMember nothing   forbidden forbidden notMember notMember notMember"},
      {"setRole, absent", op::SetRole{user(20), Role::admin},
       "notFound forbidden notMember forbidden notMember notFound  forbidden forbidden notMember notMember notMember"},
      {"setRole of the owner", op::SetRole{kOwner, Role::member},
       "notFound forbidden notMember forbidden notMember forbidden forbidden forbidden notMember notMember notMember"},
      {"mute a member", op::Mute{.user = kOther, .until = {}},
       "notFound forbidden notMember forbidden notMember event     event     forbidden notMember notMember notMember"},
      {"mute an admin", op::Mute{.user = kSecondAdmin, .until = {}},
       "notFound forbidden notMember forbidden notMember event     forbidden forbidden notMember notMember notMember"},
      {"mute the owner", op::Mute{.user = kOwner, .until = {}},
       "notFound forbidden notMember forbidden notMember forbidden forbidden forbidden notMember notMember notMember"},
      {"mute, absent", op::Mute{.user = user(20), .until = {}},
       "notFound forbidden notMember forbidden notMember notFound  notFound  forbidden notMember notMember notMember"},
      {"mute, over already", op::Mute{.user = kOther, .until = {5}},
       "notFound forbidden notMember forbidden notMember invalid   invalid   forbidden notMember notMember notMember"},
      {"mute everyone", op::Mute{.user = {}, .until = {}},
       "notFound forbidden notMember forbidden notMember event     event     forbidden notMember notMember notMember"},
      {"unmute, not muted", op::Mute{.user = kOther, .until = {}, .off = true},
       "notFound forbidden notMember forbidden notMember nothing nothing forbidden notMember notMember notMember"},
      {"unmute everyone", op::Mute{.user = {}, .until = {}, .off = true},
       "notFound forbidden notMember forbidden notMember nothing nothing   forbidden notMember notMember notMember"},
      {"leave", op::Leave{}, "notFound forbidden notMember forbidden notMember forbidden event     event     notMember notMember notMember"},
      {"dissolve", op::Dissolve{}, "notFound forbidden notMember forbidden notMember event     forbidden forbidden notMember notMember notMember"},
      {"block", op::Block{}, "notFound nothing   notMember forbidden notMember forbidden forbidden forbidden notMember notMember notMember"},
      {"block peer", op::Block{.off = false, .peer = kOther},
       "nothing  nothing   invalid   invalid   invalid   invalid   invalid   invalid   invalid   invalid   invalid"},
      {"schedule", op::Schedule{.peer = {}, .body = "b", .due = {}},
       "notFound nothing   notMember nothing   notMember nothing   nothing   nothing   notMember notMember notMember"},
      {"fire", op::Fire{"b"}, "nothing  nothing   nothing   nothing   nothing   nothing   nothing   nothing   nothing   nothing   nothing"},
      {"cancel", op::Cancel{request(5)}, "notFound notFound  notMember notFound  notMember notFound  notFound  notFound  notMember notMember notMember"},
      {"account", op::Account{"b"}, "forbidden forbidden forbidden event    forbidden forbidden forbidden forbidden forbidden forbidden forbidden"},
      {"unsupported", op::Unsupported{},
       "unsupported unsupported unsupported unsupported unsupported unsupported unsupported unsupported unsupported unsupported unsupported"},
  };
  return rows;
}

TEST(Rights, EveryOperationInEveryStanding) {
  const auto columns = standings();
  for (const Row& row : matrix()) {
    std::istringstream words{std::string(row.expected)};
    for (const Standing& standing : columns) {
      std::string expected;
      ASSERT_TRUE(words >> expected) << row.name;
      Talk talk = standing.talk;
      const Verdict verdict = talk.act(standing.actor, row.op);
      EXPECT_EQ(outcome(verdict), expected) << row.name << " by " << standing.name;
      const auto* event = std::get_if<Event>(&verdict);
      EXPECT_EQ(talk.state.last_seq.value, standing.talk.state.last_seq.value + (event != nullptr ? 1 : 0)) << row.name << " by " << standing.name;
      if (std::holds_alternative<Rejected>(verdict)) {
        EXPECT_EQ(talk.state, standing.talk.state) << row.name << " by " << standing.name << " was rejected and changed something";
      }
    }
    std::string rest;
    EXPECT_FALSE(words >> rest) << row.name << " has more columns than there are standings";
  }
}

// D60: what changed nothing leaves no trace, not even its id.
TEST(Rights, NoOpsLeaveTheStateAlone) {
  for (const Row& row : matrix()) {
    const bool remembers = row.name.starts_with("block") || row.name == "schedule";
    for (const Standing& standing : standings()) {
      Talk talk = standing.talk;
      if (remembers || !std::holds_alternative<Nothing>(talk.act(standing.actor, row.op))) continue;
      EXPECT_EQ(talk.state, standing.talk.state) << row.name << " by " << standing.name;
    }
  }
}

client::Event body_of(const Event& event) {
  client::Event message;
  EXPECT_TRUE(message.ParseFromString(event.body));
  EXPECT_EQ(message.SerializeAsString(), event.body) << "not what protobuf writes";
  return message;
}

std::vector<std::string> names(const std::vector<UserId>& users) {
  std::vector<std::string> out;
  for (const UserId& u : users) out.push_back(to_text(u));
  return out;
}
std::vector<std::string> users_in(const Event& event) {
  const client::Event body = body_of(event);
  return {body.membership().users().begin(), body.membership().users().end()};
}

TEST(Create, CreatorFirstThenMembersEachOnce) {
  Talk t{.id = group_conversation(kOwner, request(1))};
  const auto event = std::get<Event>(t.act(kOwner, op::Create{.title = "Team", .members = {kOther, kOwner, kMember, kOther}}, request(1)));
  EXPECT_EQ(event.seq, Seq{1});
  EXPECT_FALSE(event.number);
  EXPECT_EQ(event.kind, EventKind::membership);
  EXPECT_EQ(body_of(event).membership().change(), "created");
  EXPECT_EQ(body_of(event).membership().title(), "Team");
  EXPECT_EQ(users_in(event), names({kOwner, kOther, kMember}));
  EXPECT_EQ(event.stays, (std::vector<StayChange>{{kOwner, true}, {kMember, true}, {kOther, true}}));
  EXPECT_EQ(t.state.member(kOwner)->role, Role::owner);
  EXPECT_EQ(t.state.member(kOther)->role, Role::member);
  EXPECT_EQ(t.state.kind, Kind::group);
}

TEST(Create, IdMustBeDerivedFromCreatorAndOperation) {
  Talk t{.id = group_conversation(kOwner, request(1))};
  EXPECT_EQ(outcome(t.act(kOther, op::Create{}, request(1))), "invalid");
  EXPECT_EQ(outcome(t.act(kOwner, op::Create{}, request(2))), "invalid");
  EXPECT_EQ(outcome(t.act(kOwner, op::Create{}, RequestId{})), "invalid");
  EXPECT_EQ(t.state, ConversationState{});
}

TEST(Create, AgainIsADuplicateEvenWhenItsIdHasLeftTheWindow) {
  Talk t = group(kOwner, {kOther});
  EXPECT_EQ(std::get<Duplicate>(t.act(kOwner, op::Create{}, request(1))).of_seq, Seq{1});
  for (std::size_t i = 0; i <= kWindow; ++i) t.act(kOwner, text());
  EXPECT_EQ(std::get<Duplicate>(t.act(kOwner, op::Create{}, request(1))).of_seq, Seq{1});
}

TEST(Create, GroupSizeIsTheRecordsOwnLimit) {
  Talk t{.id = group_conversation(kOwner, request(1))};
  Record r;
  r.conversation = t.id;
  r.actor = kOwner;
  r.id = request(1);
  r.limits.group_size = 2;
  r.op = op::Create{.title = "t", .members = {kOther, kMember}};
  EXPECT_EQ(outcome(fold(t.state, r, Offset{0}, TimeMs{1})), "groupFull");
  r.op = op::Create{.title = "t", .members = {kOther, kOther, kOwner}};
  EXPECT_EQ(outcome(fold(t.state, r, Offset{1}, TimeMs{1})), "event");
  r.id = request(2);
  r.op = op::Add{{kMember}};
  EXPECT_EQ(outcome(fold(t.state, r, Offset{2}, TimeMs{1})), "groupFull");
  r.op = op::Add{{kOther}};  // nobody new: nothing to be full of
  EXPECT_EQ(outcome(fold(t.state, r, Offset{3}, TimeMs{1})), "nothing");
}

TEST(Add, OnlyThoseWhoAreNew) {
  Talk t = team();
  const Event event = t.event(kAdmin, op::Add{{kOther, user(21), kFormer, user(21), user(20)}});
  EXPECT_EQ(body_of(event).membership().change(), "added");
  EXPECT_EQ(users_in(event), names({user(21), kFormer, user(20)}));
  EXPECT_EQ(event.stays, (std::vector<StayChange>{{user(21), true}, {kFormer, true}, {user(20), true}}));
  EXPECT_EQ(t.state.member(kFormer)->stay_from, event.seq);
}

TEST(Add, NewcomersHaveNothingUnread) {
  Talk t = team();
  t.act(kOwner, text());
  t.act(kOwner, text());
  const Event event = t.event(kOwner, op::Add{{user(20)}});
  const Member* m = t.state.member(user(20));
  EXPECT_EQ(unread(t.state.last_number, m->read_number), 0u);
  EXPECT_EQ(m->read_seq, event.seq);  // within what he may see
  t.act(kOwner, text());
  EXPECT_EQ(unread(t.state.last_number, m->read_number), 1u);
}

TEST(Add, MembersMayWhereTheSettingSaysSo) {
  Talk t = team();
  t.act(kOwner, op::Update{.members_may_add = true});
  EXPECT_EQ(outcome(t.act(kMember, op::Add{{user(20)}})), "event");
  EXPECT_EQ(outcome(t.act(kMember, op::Remove{{user(20)}})), "forbidden");
  t.act(kOwner, op::Update{.members_may_add = false});
  EXPECT_EQ(outcome(t.act(kMember, op::Add{{user(21)}})), "forbidden");
}

TEST(Remove, EndsStaysAndForgetsTheMember) {
  Talk t = team();
  const Event event = t.event(kOwner, op::Remove{{kOther, user(20), kSecondAdmin, kOther}});
  EXPECT_EQ(body_of(event).membership().change(), "removed");
  EXPECT_EQ(users_in(event), names({kOther, kSecondAdmin}));
  EXPECT_EQ(event.stays, (std::vector<StayChange>{{kOther, false}, {kSecondAdmin, false}}));
  EXPECT_EQ(t.state.member(kOther), nullptr);
}

TEST(Role, TransferIsOneEvent) {
  Talk t = team();
  const Event event = t.event(kOwner, op::SetRole{kMember, Role::owner});
  EXPECT_EQ(body_of(event).membership().change(), "role");
  EXPECT_EQ(body_of(event).membership().role(), "owner");
  EXPECT_EQ(users_in(event), names({kMember}));
  EXPECT_EQ(t.state.member(kMember)->role, Role::owner);
  EXPECT_EQ(t.state.member(kOwner)->role, Role::admin);
  EXPECT_EQ(outcome(t.act(kOwner, op::Leave{})), "event");
}

TEST(Mute, OfOneEndsWhenTheLogsTimeSaysSo) {
  Talk t = team();
  const TimeMs until{t.now.value + 2500};
  const Event event = t.event(kAdmin, op::Mute{.user = kMember, .until = until});  // +1000
  EXPECT_EQ(body_of(event).membership().change(), "muted");
  EXPECT_EQ(body_of(event).membership().until_ms(), until.value);
  EXPECT_EQ(users_in(event), names({kMember}));
  EXPECT_EQ(outcome(t.act(kMember, text())), "muted");                                                // +2000
  EXPECT_EQ(outcome(t.act(kOther, text())), "event");                                                 // +3000
  EXPECT_EQ(outcome(t.act(kMember, text())), "event");                                                // over
  EXPECT_EQ(outcome(t.act(kAdmin, op::Mute{.user = kMember, .until = {}, .off = true})), "nothing");  // by itself
}

TEST(Mute, ExactlyAtTheEndOneMaySpeak) {
  Talk t = team();
  const TimeMs until{t.now.value + 2000};
  t.act(kAdmin, op::Mute{.user = kMember, .until = until});
  EXPECT_EQ(outcome(t.act(kMember, text())), "event");
}

TEST(Mute, AgainWithAnotherEndIsAChange) {
  Talk t = team();
  EXPECT_EQ(outcome(t.act(kAdmin, op::Mute{.user = kMember, .until = {}})), "event");
  EXPECT_EQ(outcome(t.act(kAdmin, op::Mute{.user = kMember, .until = {}})), "nothing");
  EXPECT_EQ(outcome(t.act(kAdmin, op::Mute{.user = kMember, .until = {t.now.value + 60'000}})), "event");
  const Event event = t.event(kAdmin, op::Mute{.user = kMember, .until = {}, .off = true});
  EXPECT_EQ(body_of(event).membership().change(), "unmuted");
  EXPECT_EQ(outcome(t.act(kMember, text())), "event");
}

TEST(Mute, OfEveryoneExemptsAdminsAndOwner) {
  Talk t = team();
  const Event event = t.event(kAdmin, op::Mute{});
  EXPECT_TRUE(users_in(event).empty());
  EXPECT_EQ(outcome(t.act(kMember, text())), "muted");
  EXPECT_EQ(outcome(t.act(kSecondAdmin, text())), "event");
  EXPECT_EQ(outcome(t.act(kOwner, text())), "event");
  EXPECT_EQ(outcome(t.act(kMember, op::MarkRead{Seq{1}, {}})), "mark");
  EXPECT_EQ(outcome(t.act(kOwner, op::Mute{.user = {}, .until = {}, .off = true})), "event");
  EXPECT_EQ(outcome(t.act(kMember, text())), "event");
}

TEST(Mute, OfAnAdminHoldsForTheAdmin) {
  Talk t = team();
  t.act(kOwner, op::Mute{.user = kAdmin, .until = {}});
  EXPECT_EQ(outcome(t.act(kAdmin, text())), "muted");
}

TEST(Mute, LeavingForgetsIt) {
  Talk t = team();
  t.act(kOwner, op::Mute{.user = kMember, .until = {}});
  t.act(kMember, op::Leave{});
  t.act(kOwner, op::Add{{kMember}});
  EXPECT_EQ(outcome(t.act(kMember, text())), "event");
}

TEST(MentionAll, AdminsOnlyWhereTheSettingSaysSo) {
  Talk t = team();
  t.act(kOwner, op::Update{.mention_all_admins = true});
  const op::Send all{.peer = {}, .body = "b", .mention_all = true};
  EXPECT_EQ(outcome(t.act(kMember, all)), "forbidden");
  EXPECT_EQ(outcome(t.act(kMember, text())), "event");
  EXPECT_EQ(outcome(t.act(kAdmin, all)), "event");
  EXPECT_EQ(outcome(t.act(kOwner, all)), "event");
}

TEST(Leave, TheLastOneMayGo) {
  Talk t = group(kOwner, {kMember});
  EXPECT_EQ(outcome(t.act(kOwner, op::Leave{})), "forbidden");
  const Event left = t.event(kMember, op::Leave{});
  EXPECT_EQ(body_of(left).membership().change(), "left");
  EXPECT_EQ(users_in(left), names({kMember}));
  EXPECT_EQ(left.stays, (std::vector<StayChange>{{kMember, false}}));
  EXPECT_EQ(outcome(t.act(kOwner, op::Leave{})), "event");
  EXPECT_EQ(outcome(t.act(kOwner, text())), "notMember");
  EXPECT_EQ(t.state.kind, Kind::group);
}

TEST(Dissolve, EveryoneIsAnExMemberAtThatEvent) {
  Talk t = group(kOwner, {kMember, kOther});
  const Event event = t.event(kOwner, op::Dissolve{});
  EXPECT_TRUE(body_of(event).conversation_changed().dissolved());
  EXPECT_EQ(event.kind, EventKind::conversation_changed);
  EXPECT_EQ(event.stays, (std::vector<StayChange>{{kOwner, false}, {kMember, false}, {kOther, false}}));
  EXPECT_TRUE(t.state.members.empty());
  EXPECT_TRUE(t.state.dissolved);
}

TEST(Update, TheEventHoldsWhatReallyChanged) {
  Talk t = team();
  t.act(kOwner, op::Update{.notice = "n"});
  const Event event = t.event(kOwner, op::Update{.title = "new",
                                                 .notice = "n",
                                                 .avatar = "",
                                                 .description = "d",
                                                 .history_for_new_members = false,
                                                 .members_may_add = true,
                                                 .mention_all_admins = {}});
  const client::ConversationChanged changed = body_of(event).conversation_changed();
  EXPECT_EQ(changed.title(), "new");
  EXPECT_FALSE(changed.has_notice());
  EXPECT_FALSE(changed.has_avatar());
  EXPECT_EQ(changed.description(), "d");
  EXPECT_FALSE(changed.settings().has_history_for_new_members());
  EXPECT_TRUE(changed.settings().members_may_add());
  EXPECT_FALSE(changed.settings().has_mention_all_admins());
  EXPECT_EQ(t.state.title, "new");
  EXPECT_TRUE(t.state.settings.members_may_add);

  const Event cleared = t.event(kOwner, op::Update{.notice = "", .members_may_add = false});
  EXPECT_TRUE(body_of(cleared).conversation_changed().has_notice());
  EXPECT_TRUE(body_of(cleared).conversation_changed().settings().has_members_may_add());
  EXPECT_EQ(t.state.notice, "");
}

}  // namespace
}  // namespace parley::chat
