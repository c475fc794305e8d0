#include "gateway/server/outbox.h"

#include <gtest/gtest.h>

#include <array>
#include <random>

#include "gateway/server/encoding.h"

namespace parley::gateway {
namespace {

OutgoingPtr frame(std::string wire, bool ephemeral = false) {
  auto out = std::make_shared<Outgoing>(client::Frame{});
  out->wire_protobuf = std::move(wire);
  out->ephemeral = ephemeral;
  return out;
}

bool push(Outbox& outbox, const OutgoingPtr& f, std::size_t max = 1'000'000) { return outbox.push(f, f->wire_protobuf, max); }

std::string drain(Outbox& outbox, std::size_t at_most) {
  std::array<iovec, 3> pieces;
  std::string out;
  auto n = outbox.gather(pieces);
  for (std::size_t i = 0; i < n; ++i) out.append(static_cast<char*>(pieces[i].iov_base), pieces[i].iov_len);
  out.resize(std::min(out.size(), at_most));
  outbox.written(out.size());
  return out;
}

TEST(Outbox, WritesOfAnyLengthKeepTheBytesInOrder) {
  std::mt19937 random(3);
  Outbox outbox;
  std::string pushed, taken;
  for (int i = 0; i < 5'000; ++i) {
    for (auto n = random() % 4; n > 0; --n) {
      std::string wire(1 + random() % 20, static_cast<char>('a' + random() % 26));
      pushed += wire;
      ASSERT_TRUE(push(outbox, frame(wire)));
    }
    taken += drain(outbox, random() % 60);
    ASSERT_EQ(outbox.bytes(), pushed.size() - taken.size());
  }
  while (!outbox.empty()) taken += drain(outbox, 7);
  EXPECT_EQ(taken, pushed);
}

TEST(Outbox, ShedsTheEphemeralFirstThenRefuses) {
  Outbox outbox;
  EXPECT_TRUE(push(outbox, frame("typing1", true), 20));
  EXPECT_TRUE(push(outbox, frame("event1"), 20));
  EXPECT_TRUE(push(outbox, frame("typing2", true), 20));
  EXPECT_TRUE(push(outbox, frame("typing3", true), 20));  // over the bound: not taken, not a fault
  EXPECT_EQ(outbox.shed(), 1u);
  EXPECT_TRUE(push(outbox, frame("event2"), 20));  // the two others make room
  EXPECT_EQ(outbox.shed(), 3u);
  EXPECT_EQ(outbox.bytes(), 12u);
  EXPECT_FALSE(push(outbox, frame("event3 is too long"), 20));
  EXPECT_EQ(drain(outbox, 100), "event1event2");
}

TEST(Outbox, WhatIsPartlyWrittenIsNotShed) {
  Outbox outbox;
  EXPECT_TRUE(push(outbox, frame("typing1", true), 10));
  EXPECT_EQ(drain(outbox, 3), "typ");
  EXPECT_TRUE(push(outbox, frame("event"), 10));
  EXPECT_FALSE(push(outbox, frame("event"), 10));
  EXPECT_EQ(drain(outbox, 100), "ing1event");

  EXPECT_TRUE(push(outbox, frame("typing1", true), 10));
  EXPECT_EQ(outbox.front(), "typing1");  // handed to TLS
  EXPECT_FALSE(push(outbox, frame("event"), 10));
}

TEST(Encoding, ChoosesTheFirstKnownSubprotocol) {  // D11
  EXPECT_EQ(choose_subprotocol("parley.v1.json"), Encoding::json);
  EXPECT_EQ(choose_subprotocol("x, parley.v1.pb ,parley.v1.json"), Encoding::protobuf);
  EXPECT_EQ(choose_subprotocol("parley.v1.json,parley.v1.pb"), Encoding::json);
  EXPECT_EQ(choose_subprotocol(""), std::nullopt);
  EXPECT_EQ(choose_subprotocol("parley.v2.json, PARLEY.V1.JSON,,"), std::nullopt);
}

TEST(Encoding, EncodesOncePerEncoding) {
  client::Frame ping;
  ping.mutable_ping()->set_t("x");
  Outgoing out(std::move(ping));
  Codec codec;
  auto text = codec.wire(out, Encoding::json);
  EXPECT_EQ(text.substr(2), R"({"ping":{"t":"x"}})");
  EXPECT_EQ(codec.wire(out, Encoding::json).data(), text.data());
  auto binary = codec.wire(out, Encoding::protobuf);
  EXPECT_EQ(static_cast<std::uint8_t>(binary[0]), 0x82);
}

TEST(Encoding, WrongOpcodeOrBytesAreNoFrame) {
  Codec codec;
  client::Frame ping;
  ping.mutable_ping()->set_t("x");
  auto bytes = ping.SerializeAsString();
  using websocket::Opcode;
  EXPECT_TRUE(std::holds_alternative<client::Frame>(codec.read(Encoding::protobuf, Opcode::binary, bytes)));
  EXPECT_TRUE(std::holds_alternative<json::NotJson>(codec.read(Encoding::protobuf, Opcode::text, bytes)));
  EXPECT_TRUE(std::holds_alternative<json::NotJson>(codec.read(Encoding::json, Opcode::binary, "{}")));
  EXPECT_TRUE(std::holds_alternative<json::NotJson>(codec.read(Encoding::protobuf, Opcode::binary, "\xff\xff")));
  ping.mutable_send()->set_client_msg_id("c");
  ping.mutable_send()->mutable_text()->set_body(std::string("\0", 1));
  ping.set_req_id(4);
  auto read = codec.read(Encoding::protobuf, Opcode::binary, ping.SerializeAsString());
  ASSERT_TRUE(std::holds_alternative<json::Invalid>(read));
  EXPECT_EQ(std::get<json::Invalid>(read).req_id, 4u);
  EXPECT_EQ(std::get<json::Invalid>(read).client_msg_id, "c");
}

}  // namespace
}  // namespace parley::gateway
