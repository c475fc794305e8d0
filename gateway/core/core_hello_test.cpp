// From the socket to `welcome`: what a client may say there, and what it may cost.
#include "gateway/core/session_bed.h"

namespace parley::gateway {
namespace {

using F = client::Frame;

class CoreHello : public SessionBed {};

TEST_F(CoreHello, a_long_platform_is_cut_between_characters) {
  start();
  auto frame = hello_frame(1);
  frame.mutable_hello()->set_platform(std::string(31, 'x') + "\u00e9");
  hello(frame);
  EXPECT_EQ(opened_devices.at(0).platform(), std::string(31, 'x'));
}

// A router's parser refuses a `string` that is not UTF-8, and then everybody's stream is broken.
TEST_F(CoreHello, no_text_of_a_client_breaks_a_stream) {
  link::HomeRequest request;
  request.mutable_device_open()->set_device("\xff");
  request.mutable_device_open()->set_platform("\xff");
  EXPECT_TRUE(link::HomeRequest().ParseFromString(request.SerializeAsString()));
  link::Delivery delivery;
  delivery.set_device("\xff");
  delivery.set_traceparent("\xff");
  EXPECT_TRUE(link::Delivery().ParseFromString(delivery.SerializeAsString()));
}

// A device without cursors needs nothing of the store, and so is not among those who wait for it (R25).
TEST_F(CoreHello, a_login_is_asked_about_until_there_is_an_answer) {
  start();
  store.set_away(true);
  auto id = connect(1), other = connect(2);
  store.set_away(false);
  accounts->end_login(user(1), login(1), [](auto) {});
  store.step();
  pass(200);
  EXPECT_EQ(of(id).close, 4502);
  EXPECT_FALSE(of(other).close);
}

TEST_F(CoreHello, auth_has_its_rate) {
  start();
  auto id = connect(1);
  client::Frame auth;
  auth.set_req_id(1);
  auth.mutable_auth()->set_token("u1");
  for (int i = 0; i < 201; ++i) give(id, auth);
  EXPECT_EQ(of(id).count(F::kAuth), 200u);
  EXPECT_EQ(of(id).last(F::kNack).nack().code(), "rateLimited");
  EXPECT_TRUE(of(id).last(F::kNack).nack().temporary());
}

TEST_F(CoreHello, a_malformed_frame_after_hello_is_nacked_after_welcome) {
  start();
  opening = false;
  auto id = hello(hello_frame(1));
  core->on_invalid(id, 4, "", uuid(9), "wrong type");
  EXPECT_TRUE(of(id).got.empty());
  opening = true;
  link::Down down;
  down.add_home()->set_user(std::string(user(1).view()));
  down.mutable_home(0)->mutable_device_opened()->set_connection(id.value);
  core->on_link_down({0}, down);
  run();
  ASSERT_GE(of(id).got.size(), 2u);
  EXPECT_TRUE(of(id).got.front().has_welcome());
  EXPECT_EQ(of(id).at(F::kNack).nack().code(), "invalid") << "D1";
  EXPECT_EQ(of(id).at(F::kNack).req_id(), 4u);
  EXPECT_EQ(of(id).at(F::kNack).nack().op_id(), uuid(9));
  EXPECT_FALSE(of(id).close);
  auto before = open();
  core->on_invalid(before, 4, "", "", "wrong type");
  EXPECT_EQ(of(before).close, 4500);
}

// A close would have it all sent again at once, and closed again.
TEST_F(CoreHello, frames_before_welcome_are_bounded_in_bytes) {
  start();
  connect(2);
  opening = false;
  auto id = hello(hello_frame(1));
  auto in_turn = [&](std::uint32_t n, const std::string& body) {
    auto frame = send_frame(n, 2, body);
    frame.mutable_send()->set_turn(1);
    return frame;
  };
  for (std::uint32_t i = 1; i <= 32; ++i) give(id, in_turn(i, std::string(32'768, 'x')));
  give(id, in_turn(33, "short"));
  client::Frame ping;
  ping.set_req_id(34);
  ping.mutable_ping()->set_t("t");
  give(id, ping);
  EXPECT_TRUE(of(id).got.empty());
  opening = true;
  link::Down down;
  down.add_home()->set_user(std::string(user(1).view()));
  down.mutable_home(0)->mutable_device_opened()->set_connection(id.value);
  core->on_link_down({0}, down);
  give(id, in_turn(35, "sent before it knew"));
  EXPECT_FALSE(of(id).close);
  EXPECT_EQ(of(id).count(F::kPong), 1u);
  EXPECT_EQ(of(id).count(F::kSendAck), 31u);
  ASSERT_EQ(of(id).count(F::kNack), 3u);
  const auto& first = of(id).at(F::kNack);
  EXPECT_EQ(first.req_id(), 32u);
  EXPECT_EQ(first.nack().client_msg_id(), uuid(32));
  EXPECT_EQ(first.nack().code(), "rateLimited");
  EXPECT_TRUE(first.nack().temporary());
  EXPECT_EQ(first.nack().turn(), 2u);
  EXPECT_EQ(of(id).at(F::kNack, 1).req_id(), 33u) << "R9: not before the one that was refused";
  EXPECT_EQ(of(id).at(F::kNack, 2).nack().code(), "outOfTurn");
  for (std::uint32_t i = 32; i <= 33; ++i) {
    auto again = in_turn(i, "again");
    again.mutable_send()->set_turn(2);
    again.mutable_send()->set_resend(true);
    give(id, again);
  }
  EXPECT_EQ(of(id).count(F::kSendAck), 33u);
}

TEST_F(CoreHello, frames_before_welcome_are_bounded_in_number) {
  start();
  opening = false;
  auto id = hello(hello_frame(1));
  for (std::uint32_t i = 1; i <= 256; ++i) give(id, send_frame(i, 2, std::string(32'768, 'x')));
  EXPECT_FALSE(of(id).close);
  give(id, send_frame(257, 2));
  EXPECT_EQ(of(id).close, 4008);
}

}  // namespace
}  // namespace parley::gateway
