// From the socket to `welcome`: what a client may say there, and what it may cost.
#include "gateway/session_bed.h"

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

}  // namespace
}  // namespace parley::gateway
