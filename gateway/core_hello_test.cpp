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

}  // namespace
}  // namespace parley::gateway
