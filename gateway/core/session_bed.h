// The test bed with what tests of connections share: frames, a conversation to read, closes.
#pragma once

#include "gateway/core/test_bed.h"

namespace parley::gateway {

class SessionBed : public TestBed {
 protected:
  // A direct conversation of users 1 and 2 with n messages by 1.
  std::string conversation(std::uint32_t n) {
    auto a = connect(1, "writer");
    for (std::uint32_t i = 1; i <= n; ++i) give(a, send_frame(1000 + i, 2, "m" + std::to_string(i)));
    core->on_closed(a);
    return chat::to_text(chat::direct_conversation(user(1), user(2)));
  }
  ConnectionId hello(client::Frame frame) {
    auto id = open();
    give(id, std::move(frame));
    return id;
  }
  client::Frame with_cursor(client::Frame frame, const std::string& conversation_id, std::uint64_t seq) {
    auto& cursor = *frame.mutable_hello()->add_cursors();
    cursor.set_conversation(conversation_id);
    cursor.set_seq(seq);
    return frame;
  }
  client::Frame ack_frame(const std::string& conversation_id, std::uint64_t seq) {
    client::Frame frame;
    frame.mutable_ack()->add_cursors()->set_conversation(conversation_id);
    frame.mutable_ack()->mutable_cursors(0)->set_seq(seq);
    return frame;
  }
  client::Frame resume_frame(std::uint32_t req_id = 0) {
    client::Frame frame;
    frame.set_req_id(req_id);
    frame.mutable_resume();
    return frame;
  }
  void expect_closed(ConnectionId id, std::uint16_t code, const std::string& reason, const std::string& error, const std::string& reconnect) {
    EXPECT_EQ(of(id).close, code);
    EXPECT_EQ(of(id).close_reason, reason);
    ASSERT_FALSE(of(id).got.empty());
    const auto& last = of(id).got.back();
    ASSERT_TRUE(last.has_error()) << "D10: error comes before every close";
    EXPECT_EQ(last.error().code(), error);
    EXPECT_EQ(last.error().reconnect(), reconnect);
  }
};

}  // namespace parley::gateway
