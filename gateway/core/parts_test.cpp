// The parts that decide alone: timing wheel, progress, sync token, operations.
#include <gtest/gtest.h>

#include <random>
#include <set>

#include "gateway/core/operation.h"
#include "gateway/core/progress.h"
#include "gateway/core/sync_token.h"
#include "gateway/core/timing_wheel.h"

namespace parley::gateway {
namespace {

// ---- timing wheel ----

TEST(TimingWheel, never_early_and_at_most_a_tick_late_whatever_the_delay) {
  std::mt19937_64 random(1);
  TimingWheel wheel({1'000});
  std::vector<std::unique_ptr<TimingWheel::Node>> nodes;
  for (int i = 0; i < 2'000; ++i) {
    nodes.push_back(std::make_unique<TimingWheel::Node>());
    wheel.schedule(*nodes.back(), {1'000 + random() % 300'000});
  }
  std::size_t due = 0;
  for (std::uint64_t now = 1'000; now <= 301'200; now += 50)
    wheel.advance({now}, [&](TimingWheel::Node& node) {
      ++due;
      EXPECT_LE(node.at, now);
      EXPECT_GE(node.at + TimingWheel::kTickMs + 50, now);
    });
  EXPECT_EQ(due, nodes.size());
}

TEST(TimingWheel, a_due_node_may_come_back_and_others_may_go) {
  TimingWheel wheel({0});
  auto a = std::make_unique<TimingWheel::Node>(), b = std::make_unique<TimingWheel::Node>();
  wheel.schedule(*a, {100});
  wheel.schedule(*b, {100});
  int times = 0;
  for (std::uint64_t now = 0; now <= 1'000; now += 50)
    wheel.advance({now}, [&](TimingWheel::Node& node) {
      ++times;
      b.reset();  // destroyed while it is due in the same tick
      wheel.schedule(node, {now + 300});
    });
  EXPECT_EQ(times, 3);
}

TEST(TimingWheel, a_long_pause_loses_nothing) {
  TimingWheel wheel({0});
  TimingWheel::Node near, far, later;
  wheel.schedule(near, {500});
  wheel.schedule(far, {400'000});
  wheel.schedule(later, {2'000'000});
  int due = 0;
  wheel.advance({1'000'000}, [&](TimingWheel::Node&) { ++due; });
  EXPECT_EQ(due, 2);
  EXPECT_TRUE(later.linked());
}

// ---- progress (R21) ----

constexpr chat::Partition kP{0};

TEST(Progress, follows_a_stream_that_begins_at_or_below_it) {
  Progress progress({{10}, {0}}, {0});
  progress.on_from(0, kP, {8}, {0});
  progress.on_upto(0, kP, {15}, {0});
  progress.advance();
  EXPECT_EQ(progress.at()[0].value, 15u);
  EXPECT_FALSE(progress.gaps({5'000}));
}

TEST(Progress, streams_are_joined) {
  Progress progress({{0}}, {0});
  progress.on_from(0, kP, {10}, {0});  // the new owner
  progress.on_upto(0, kP, {20}, {0});
  progress.advance();
  EXPECT_EQ(progress.at()[0].value, 0u);
  EXPECT_FALSE(progress.gaps({900}));
  progress.on_from(1, kP, {0}, {900});  // the old one goes on until then
  progress.on_upto(1, kP, {12}, {900});
  progress.advance();
  EXPECT_EQ(progress.at()[0].value, 20u);
  EXPECT_FALSE(progress.gaps({5'000}));
}

TEST(Progress, a_gap_that_nobody_cures_is_told_once) {
  Progress progress({{0}}, {0});
  progress.on_from(0, kP, {10}, {100});
  progress.on_upto(0, kP, {20}, {100});
  progress.advance();
  EXPECT_FALSE(progress.gaps({1'000}));
  EXPECT_TRUE(progress.gaps({1'100}));
  EXPECT_EQ(progress.at()[0].value, 20u);
  EXPECT_FALSE(progress.gaps({9'000}));
}

TEST(Progress, a_closed_stream_says_nothing_any_more) {
  Progress progress({{0}}, {0});
  progress.on_from(0, kP, {10}, {0});
  progress.on_closed(0);
  progress.on_upto(0, kP, {20}, {0});
  progress.advance();
  EXPECT_FALSE(progress.gaps({5'000}));
  EXPECT_EQ(progress.at()[0].value, 0u);
  EXPECT_EQ(progress.silent({5'000}), 1u);
}

TEST(Progress, partitions_that_do_not_exist_are_ignored) {
  Progress progress({{0}}, {0});
  progress.on_from(0, {7}, {10}, {0});
  progress.on_upto(3, {7}, {10}, {0});
  progress.advance();
  EXPECT_FALSE(progress.gaps({5'000}));
}

// ---- sync token ----

TEST(SyncToken, reads_back_and_refuses_everything_else) {
  eventlog::Topic topic{"topic-a", 3};
  std::vector<chat::Offset> positions{{0}, {300}, {~std::uint64_t{0}}};
  std::string token = sync_token(topic, positions);
  EXPECT_EQ(read_sync_token(topic, token), positions);
  EXPECT_FALSE(read_sync_token({"topic-b", 3}, token));
  EXPECT_FALSE(read_sync_token({"topic-a", 4}, token));
  EXPECT_FALSE(read_sync_token({"topic-a", 2}, token));
  EXPECT_FALSE(read_sync_token(topic, ""));
  EXPECT_FALSE(read_sync_token(topic, "!!!"));
  for (std::size_t i = 0; i < token.size(); ++i) {
    std::string other = token;
    other[i] = other[i] == 'A' ? 'Q' : 'A';
    EXPECT_FALSE(read_sync_token(topic, other)) << i;
    EXPECT_FALSE(read_sync_token(topic, token.substr(0, i))) << i;
  }
}

// ---- operations: the shape checks of D57 ----

class Operations : public ::testing::Test {
 protected:
  chat::UserId me = *chat::parse_id<chat::UserId>("00000000-0000-7000-8000-000000000001");
  std::string peer = "00000000-0000-7000-8000-000000000002", group = "11111111-0000-7000-8000-000000000003", id = "22222222-0000-7000-8000-000000000004";
  chat::Limits limits;
  bool scheduled = false;

  std::expected<std::unique_ptr<Operation>, Fault> read(client::Frame frame) { return operation(std::move(frame), {me, {1'000}, limits, scheduled}); }
  chat::Code fault(client::Frame frame) {
    auto result = read(std::move(frame));
    return result ? chat::Code::ok : result.error().code;
  }
  client::Frame send() {
    client::Frame frame;
    frame.mutable_send()->set_conversation(group);
    frame.mutable_send()->set_client_msg_id(id);
    frame.mutable_send()->mutable_text()->set_body("hi");
    return frame;
  }
  template <class Change>
  chat::Code send_with(Change change) {
    auto frame = send();
    change(*frame.mutable_send());
    return fault(std::move(frame));
  }
};

using chat::Code;

TEST_F(Operations, the_body_is_what_protobuf_would_write) {
  for (std::size_t size : {1u, 100u, 200u, 20'000u}) {
    auto frame = send();
    frame.mutable_send()->mutable_text()->set_body(std::string(size, 'x'));
    frame.mutable_send()->mutable_reply_to()->set_seq(7);
    frame.mutable_send()->set_expires_in_ms(500);
    client::Event event;
    *event.mutable_message()->mutable_text() = frame.send().text();
    event.mutable_message()->mutable_reply_to()->set_seq(7);
    event.mutable_message()->set_expires_at_ms(1'500);
    auto op = read(std::move(frame));
    ASSERT_TRUE(op);
    EXPECT_EQ((*op)->body, event.SerializeAsString());
    EXPECT_EQ(std::get<chat::op::Send>((*op)->record.op).body, (*op)->body);
  }
}

TEST_F(Operations, direct_to) {
  auto frame = send();
  frame.mutable_send()->clear_conversation();
  frame.mutable_send()->set_direct_to("00000000-0000-7000-8000-000000000002");
  auto op = read(frame);
  ASSERT_TRUE(op);
  EXPECT_EQ(chat::to_text((*op)->record.conversation), "37a46966-99c5-8f33-91c1-c31c091a59b7");
  EXPECT_EQ((*op)->must_exist.size(), 1u);
  frame.mutable_send()->set_direct_to(chat::to_text(me));
  op = read(frame);
  ASSERT_TRUE(op);
  EXPECT_EQ(chat::to_text((*op)->record.conversation), "5ccbbbd4-eeba-866a-9383-5a5c50e8b1a2");
  EXPECT_TRUE((*op)->must_exist.empty());
}

TEST_F(Operations, ids_are_normalised) {
  auto frame = send();
  frame.mutable_send()->set_conversation("AAAAAAAA-0000-7000-8000-00000000000B");
  frame.mutable_send()->mutable_text()->add_mentions("AAAAAAAA-0000-7000-8000-00000000000C");
  auto op = read(frame);
  ASSERT_TRUE(op);
  client::Event event;
  ASSERT_TRUE(event.ParseFromString((*op)->body));
  EXPECT_EQ(event.message().text().mentions(0), "aaaaaaaa-0000-7000-8000-00000000000c");
}

TEST_F(Operations, malformed_sends) {
  EXPECT_EQ(send_with([](auto&) {}), Code::ok);
  EXPECT_EQ(send_with([](auto& s) { s.set_client_msg_id("x"); }), Code::invalid);
  EXPECT_EQ(send_with([](auto& s) { s.clear_client_msg_id(); }), Code::invalid);
  EXPECT_EQ(send_with([](auto& s) { s.clear_conversation(); }), Code::invalid);
  EXPECT_EQ(send_with([&](auto& s) { s.set_direct_to(peer); }), Code::invalid);
  EXPECT_EQ(send_with([](auto& s) { s.set_conversation("x"); }), Code::invalid);
  EXPECT_EQ(send_with([](auto& s) { s.clear_text(); }), Code::invalid);
  EXPECT_EQ(send_with([](auto& s) { s.mutable_text()->clear_body(); }), Code::invalid);
  EXPECT_EQ(send_with([](auto& s) { s.mutable_text()->set_body(std::string("a\0b", 3)); }), Code::invalid);
  EXPECT_EQ(send_with([](auto& s) { s.mutable_text()->add_mentions("x"); }), Code::invalid);
  EXPECT_EQ(send_with([](auto& s) { s.mutable_text()->add_mentions("all"); }), Code::ok);
  EXPECT_EQ(send_with([](auto& s) { s.mutable_text()->set_body(std::string(32 * 1024, 'x')); }), Code::ok);
  EXPECT_EQ(send_with([](auto& s) { s.mutable_text()->set_body(std::string(32 * 1024 + 1, 'x')); }), Code::too_large);
  EXPECT_EQ(send_with([](auto& s) { s.mutable_reply_to(); }), Code::invalid);
  EXPECT_EQ(send_with([](auto& s) { s.mutable_forward_of()->set_seq(1); }), Code::invalid);
  EXPECT_EQ(send_with([&](auto& s) { s.mutable_forward_of()->set_conversation(group); }), Code::invalid);
  EXPECT_EQ(send_with([](auto& s) { s.mutable_location()->set_latitude(91); }), Code::invalid);
  EXPECT_EQ(send_with([](auto& s) { s.mutable_location()->set_longitude(-180.5); }), Code::invalid);
  EXPECT_EQ(send_with([](auto& s) { s.mutable_location()->set_latitude(std::numeric_limits<double>::quiet_NaN()); }), Code::invalid);
  EXPECT_EQ(send_with([](auto& s) { s.mutable_location()->set_latitude(89.5); }), Code::ok);
  EXPECT_EQ(send_with([](auto& s) { s.mutable_card()->set_type("t"); }), Code::invalid);
  auto card = [](std::size_t size) {
    return [size](auto& s) {
      s.mutable_card()->set_type("t");
      s.mutable_card()->set_json(std::string(size, '1'));
    };
  };
  EXPECT_EQ(send_with(card(16 * 1024)), Code::ok);
  EXPECT_EQ(send_with(card(16 * 1024 + 1)), Code::too_large);
  EXPECT_EQ(send_with([](auto& s) { s.mutable_cipher()->set_payload("p"); }), Code::invalid);
  EXPECT_EQ(send_with([](auto& s) { s.mutable_image()->set_file_id("f"); }), Code::unsupported);
  EXPECT_EQ(send_with([](auto& s) { s.set_online_only(true); }), Code::unsupported);
  EXPECT_EQ(send_with([](auto& s) { s.set_send_at_ms(5); }), Code::unsupported);
  scheduled = true;
  EXPECT_EQ(send_with([](auto& s) { s.set_send_at_ms(5); }), Code::ok);
}

TEST_F(Operations, the_payload_hash_is_content_and_reply) {
  auto hash = [&](auto change) {
    auto frame = send();
    change(*frame.mutable_send());
    return (*read(std::move(frame)))->record.payload_hash;
  };
  auto plain = hash([](auto&) {});
  EXPECT_NE(plain, 0u);
  EXPECT_EQ(plain, hash([](auto& s) { s.set_resend(true); }));
  EXPECT_EQ(plain, hash([](auto& s) { s.set_turn(9); }));
  EXPECT_EQ(plain, hash([](auto& s) { s.set_expires_in_ms(9); })) << "the moment of expiry differs with each transmission";
  EXPECT_NE(plain, hash([](auto& s) { s.mutable_text()->set_body("ho"); }));
  EXPECT_NE(plain, hash([](auto& s) { s.mutable_reply_to()->set_seq(1); }));
}

TEST_F(Operations, malformed_operations) {
  client::Frame frame;
  auto& create = *frame.mutable_create_conversation();
  create.set_op_id(id);
  create.set_kind("group");
  create.set_title("t");
  create.add_members(peer);
  create.add_members(chat::to_text(me));
  auto op = read(frame);
  ASSERT_TRUE(op);
  EXPECT_EQ(std::get<chat::op::Create>((*op)->record.op).members.size(), 1u) << "D37: the creator is ignored";
  EXPECT_EQ((*op)->record.conversation, chat::group_conversation(me, *chat::parse_id<chat::RequestId>(id)));
  auto bad = [&](auto change) {
    client::Frame other = frame;
    change(*other.mutable_create_conversation());
    return fault(std::move(other));
  };
  EXPECT_EQ(bad([](auto& c) { c.set_op_id("x"); }), Code::invalid);
  EXPECT_EQ(bad([](auto& c) { c.set_kind("direct"); }), Code::invalid);
  EXPECT_EQ(bad([](auto& c) { c.clear_title(); }), Code::invalid);
  EXPECT_EQ(bad([](auto& c) { c.set_title(std::string(129, 'x')); }), Code::invalid);
  EXPECT_EQ(bad([](auto& c) {
              std::string title;
              for (int i = 0; i < 128; ++i) title += "\xC3\xA4";
              c.set_title(title);
            }),
            Code::ok)
      << "characters, not bytes";
  EXPECT_EQ(bad([](auto& c) { c.add_members("x"); }), Code::invalid);

  client::Frame add;
  add.mutable_add_members()->set_conversation(group);
  add.mutable_add_members()->set_op_id(id);
  EXPECT_EQ(fault(add), Code::invalid);
  add.mutable_add_members()->add_users(peer);
  EXPECT_EQ((*read(add))->must_exist.size(), 1u);
  client::Frame remove;
  *remove.mutable_remove_members() = add.add_members();
  EXPECT_TRUE((*read(remove))->must_exist.empty()) << "D49";

  client::Frame role;
  role.mutable_set_role()->set_conversation(group);
  role.mutable_set_role()->set_op_id(id);
  role.mutable_set_role()->set_user(peer);
  EXPECT_EQ(fault(role), Code::invalid);
  role.mutable_set_role()->set_role("admin");
  EXPECT_EQ(fault(role), Code::ok);

  client::Frame mute;
  mute.mutable_mute()->set_conversation(group);
  mute.mutable_mute()->set_op_id(id);
  EXPECT_EQ(fault(mute), Code::ok);
  mute.mutable_mute()->set_user("x");
  EXPECT_EQ(fault(mute), Code::invalid);

  client::Frame update;
  update.mutable_update_conversation()->set_op_id(id);
  EXPECT_EQ(fault(update), Code::invalid);
  update.mutable_update_conversation()->set_conversation(group);
  update.mutable_update_conversation()->set_title("");
  EXPECT_EQ(fault(update), Code::invalid);
  update.mutable_update_conversation()->set_title("t");
  EXPECT_EQ(fault(update), Code::ok);

  client::Frame leave;
  leave.mutable_leave()->set_conversation(group);
  EXPECT_EQ(fault(leave), Code::invalid);
  client::Frame typing;
  typing.mutable_typing();
  EXPECT_EQ(fault(typing), Code::unsupported);
}

TEST_F(Operations, a_failed_one_still_tells_its_ids) {
  client::Frame frame = send();
  frame.mutable_send()->clear_text();
  EXPECT_FALSE(operation(std::move(frame), {me, {1'000}, limits, false}));
  EXPECT_EQ(request_ids(frame).client_msg_id, id);
}

TEST(Traceparent, w3c_form) {
  EXPECT_TRUE(valid_traceparent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
  EXPECT_TRUE(valid_traceparent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"));
  EXPECT_FALSE(valid_traceparent("00-00000000000000000000000000000000-b7ad6b7169203331-01"));
  EXPECT_FALSE(valid_traceparent("00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
  EXPECT_FALSE(valid_traceparent("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
  EXPECT_FALSE(valid_traceparent(""));
}

}  // namespace
}  // namespace parley::gateway
