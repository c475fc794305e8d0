#include "gateway/json/json.h"

#include <google/protobuf/util/json_util.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>
#include <simdjson.h>

#include <cmath>
#include <limits>
#include <random>

#include "parley/rest/v1/rest.pb.h"

namespace parley::gateway::json {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::util::MessageDifferencer;

client::Frame frame_of(std::string_view text) {
  Reader reader;
  auto read = reader.frame(text);
  if (auto* frame = std::get_if<client::Frame>(&read)) return *frame;
  ADD_FAILURE() << text << ": " << (std::holds_alternative<NotJson>(read) ? "not JSON" : std::get<Invalid>(read).message);
  return {};
}

// "frame", "notJson" or "invalid reqId clientMsgId opId".
std::string outcome(std::string_view text) {
  Reader reader;
  auto read = reader.frame(text);
  if (std::holds_alternative<client::Frame>(read)) return "frame";
  if (std::holds_alternative<NotJson>(read)) return "notJson";
  auto& invalid = std::get<Invalid>(read);
  EXPECT_FALSE(invalid.message.empty());
  std::string out = "invalid";
  if (invalid.req_id) out += " " + std::to_string(invalid.req_id);
  if (!invalid.client_msg_id.empty()) out += " " + invalid.client_msg_id;
  if (!invalid.op_id.empty()) out += " " + invalid.op_id;
  return out;
}

std::string written(const Message& message, EmptyLists empty = EmptyLists::omit) {
  Writer writer;
  std::string out;
  writer.write(message, out, empty);
  return out;
}

TEST(JsonReader, TheProtocolsExamples) {
  auto hello = frame_of(R"({"hello":{"token":"eyJ...","deviceId":"web-1","platform":"web","cursors":[]}})");
  EXPECT_EQ(hello.hello().device_id(), "web-1");
  auto send = frame_of(R"( {"reqId":1,"send":{"directTo":"0192","clientMsgId":"0193","text":{"body":"hi"}}} )");
  EXPECT_EQ(send.req_id(), 1u);
  EXPECT_EQ(send.send().direct_to(), "0192");
  EXPECT_EQ(send.send().text().body(), "hi");
}

TEST(JsonReader, NumbersAsNumberOrString) {  // D3
  for (auto text : {R"({"reqId":7,"markRead":{"seq":"18446744073709551615"}})", R"({"reqId":"7","markRead":{"seq":18446744073709551615}})",
                    R"({"reqId":7.0,"markRead":{"seq":"18446744073709551615"}})", R"({"reqId":70e-1,"markRead":{"seq":"18446744073709551615"}})"}) {
    auto frame = frame_of(text);
    EXPECT_EQ(frame.req_id(), 7u) << text;
    EXPECT_EQ(frame.mark_read().seq(), 18446744073709551615ull) << text;
  }
  EXPECT_EQ(outcome(R"({"reqId":4294967296,"markRead":{}})"), "invalid");
  EXPECT_EQ(outcome(R"({"reqId":-1,"markRead":{}})"), "invalid");
  EXPECT_EQ(outcome(R"({"reqId":1.5,"markRead":{}})"), "invalid");
  EXPECT_EQ(outcome(R"({"reqId":3,"markRead":{"seq":"18446744073709551616"}})"), "invalid 3");
  EXPECT_EQ(outcome(R"({"reqId":3,"markRead":{"seq":""}})"), "invalid 3");
  EXPECT_EQ(outcome(R"({"reqId":3,"markRead":{"seq":" 1"}})"), "invalid 3");
  EXPECT_EQ(outcome(R"({"reqId":3,"markRead":{"seq":"0x1"}})"), "invalid 3");
  EXPECT_EQ(outcome(R"({"reqId":3,"markRead":{"seq":1e400}})"), "invalid 3");
  EXPECT_EQ(outcome(R"({"reqId":3,"markRead":{"seq":true}})"), "invalid 3");
  EXPECT_EQ(outcome(R"({"reqId":3,"markRead":{"seq":123456789012345678901234567890}})"), "invalid 3");
}

TEST(JsonReader, NullAndAbsentAreDefaultAndUnknownIsIgnored) {
  EXPECT_EQ(frame_of(R"({"reqId":null,"send":null,"ping":{"t":null}})").body_case(), client::Frame::kPing);
  EXPECT_EQ(frame_of(R"({})").body_case(), client::Frame::BODY_NOT_SET);
  EXPECT_EQ(frame_of(R"({"reqId":1})").req_id(), 1u);
  auto frame =
      frame_of(R"({"tomorrow":{"a":[1,{"b":"}"},-2.5e3,true,null,"\ud800"]},"ping":{"t":"x","n":1e999,"big":123456789012345678901234567890},"reqId":2})");
  EXPECT_EQ(frame.ping().t(), "x");
  EXPECT_EQ(frame.req_id(), 2u);
  // The schema's own spelling is read too, as proto3 JSON wants.
  EXPECT_EQ(frame_of(R"({"req_id":5,"mark_read":{"seq":1}})").mark_read().seq(), 1u);
}

TEST(JsonReader, WhatIsNotOneJsonObject) {  // D1: close
  for (auto text : {"",
                    " ",
                    "null",
                    "1",
                    "\"a\"",
                    "[]",
                    "[{}]",
                    "{",
                    "}",
                    "{}}",
                    "{}{}",
                    "{} x",
                    R"({"a":1,})",
                    R"({,"a":1})",
                    R"({a:1})",
                    R"({'a':1})",
                    R"({"a" 1})",
                    R"({"a":01})",
                    R"({"a":+1})",
                    R"({"a":.5})",
                    R"({"a":1.})",
                    R"({"a":1e})",
                    R"({"a":-})",
                    R"({"a":NaN})",
                    R"({"a":tru})",
                    R"({"a":"\x"})",
                    R"({"a":"\u12g4"})",
                    R"({"a":"\u123"})",
                    "{\"a\":\"\n\"}",
                    "{\"a\":\"\x01\"}",
                    R"({"a":"b)",
                    R"({"a":[1,2})",
                    R"({"a":[1 2]})",
                    R"({"a":[,]})",
                    R"({"ping":{"t":"x"})",
                    R"({"ping":{"t":"x",}})",
                    R"({"ping":{"t":"\x"}})",
                    R"({"reqId":01,"ping":{}})",
                    R"({"reqId":1x,"ping":{}})",
                    "\xEF\xBB\xBF{}",
                    R"({"a":/**/1})"}) {
    EXPECT_EQ(outcome(text), "notJson") << text;
  }
  // A wrong value does not hide that the rest is no JSON.
  EXPECT_EQ(outcome(R"({"reqId":"x","ping":{"t":1}} trailing)"), "notJson");
}

TEST(JsonReader, WhatIsNoFrameKeepsItsIds) {  // D1: nack
  EXPECT_EQ(outcome(R"({"reqId":9,"send":{"clientMsgId":"c-1","text":{"body":5}}})"), "invalid 9 c-1");
  EXPECT_EQ(outcome(R"({"send":{"text":"no object","clientMsgId":"c-2"},"reqId":9})"), "invalid 9 c-2");
  EXPECT_EQ(outcome(R"({"reqId":4,"leave":{"opId":"o-1","conversation":[]}})"), "invalid 4 o-1");
  EXPECT_EQ(outcome(R"({"reqId":4,"send":[]})"), "invalid 4");
  EXPECT_EQ(outcome(R"({"reqId":4,"ping":{},"pong":{}})"), "invalid 4");                // two known bodies
  EXPECT_EQ(outcome(R"({"reqId":4,"ping":{"t":"a"},"ping":{"t":"b"}})"), "invalid 4");  // the same one twice
  EXPECT_EQ(outcome(R"({"reqId":4,"reqId":5,"ping":{}})"), "invalid 4");
  EXPECT_EQ(outcome(R"({"reqId":4,"send":{"text":{"body":"a"},"card":{"type":"t"}}})"), "invalid 4");  // D9: two contents
  EXPECT_EQ(outcome(R"({"reqId":4,"hello":{"features":["a",null]}})"), "invalid 4");
  EXPECT_EQ(outcome(R"({"reqId":4,"hello":{"features":"a"}})"), "invalid 4");
  EXPECT_EQ(outcome(R"({"reqId":4,"send":{"resend":"true"}})"), "invalid 4");
  EXPECT_EQ(outcome(R"({"reqId":4,"send":{"resend":1}})"), "invalid 4");
}

TEST(JsonReader, TextIsKeptByteForByte) {  // D9
  auto body = [](std::string_view escaped) { return frame_of(R"({"send":{"text":{"body":")" + std::string(escaped) + R"("}}})").send().text().body(); };
  EXPECT_EQ(body(R"( a\"\\\/\b\f\n\r\t )"), " a\"\\/\b\f\n\r\t ");
  EXPECT_EQ(body(R"(\u00e9\u20AC\ud83d\ude00)"), "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
  EXPECT_EQ(body("\xc3\xa9\xf0\x9f\x98\x80\x7f"), "\xc3\xa9\xf0\x9f\x98\x80\x7f");
  EXPECT_EQ(body(R"(\uFFFE\uFFFF)"), "\xef\xbf\xbe\xef\xbf\xbf");
  for (std::size_t n = 0; n < 40; ++n) EXPECT_EQ(body(std::string(n, 'a') + R"(\n)" + std::string(n, 'b')), std::string(n, 'a') + "\n" + std::string(n, 'b'));
  for (auto bad : {R"(\u0000)", R"(\ud800)", R"(\udc00)", R"(\ud800\ud800)", R"(\ud800x)", R"(\udc00\ud800)", R"(a\ud83d)", R"(\ud800\n)", R"(\ud800\u0041)"}) {
    EXPECT_EQ(outcome(R"({"reqId":1,"send":{"clientMsgId":"c","text":{"body":")" + std::string(bad) + R"("}}})"), "invalid 1 c") << bad;
  }
  // A key may hold such things; it is then one that nobody knows.
  EXPECT_EQ(outcome(R"({"\ud800":1,"\u0000":2,"ping":{}})"), "frame");
}

TEST(JsonReader, BytesAreBase64) {
  auto preview = [](std::string_view text) { return frame_of(R"({"send":{"image":{"preview":")" + std::string(text) + R"("}}})").send().image().preview(); };
  EXPECT_EQ(preview(""), "");
  EXPECT_EQ(preview("AA=="), std::string(1, '\0'));
  EXPECT_EQ(preview("AA"), std::string(1, '\0'));
  EXPECT_EQ(preview("+/+/"), "\xfb\xff\xbf");
  EXPECT_EQ(preview("-_-_"), "\xfb\xff\xbf");
  for (auto bad : {"A", "AAAAA", "AB==", "A A=", "====", "AA=A", "*AAA"}) {
    EXPECT_EQ(outcome(R"({"reqId":1,"send":{"image":{"preview":")" + std::string(bad) + R"("}}})"), "invalid 1") << bad;
  }
}

TEST(JsonReader, DepthCostsNothing) {
  auto bomb = [](std::string_view open, std::string_view close, std::size_t n) {
    std::string text = R"({"reqId":1,"x":)";
    for (std::size_t i = 0; i < n; ++i) text += open;
    text += "1";
    for (std::size_t i = 0; i < n; ++i) text += close;
    return text + R"(,"ping":{"t":"alive"}})";
  };
  EXPECT_EQ(frame_of(bomb("[", "]", 1'000'000)).ping().t(), "alive");
  EXPECT_EQ(frame_of(bomb(R"({"a":)", "}", 200'000)).ping().t(), "alive");
  EXPECT_EQ(outcome(bomb("[", "", 1'000'000)), "notJson");
  EXPECT_EQ(outcome(R"({"reqId":1,"send":)" + std::string(100'000, '[') + std::string(100'000, ']') + "}"), "invalid 1");
}

TEST(JsonReader, LengthsAcrossTheVarintBoundary) {
  for (std::size_t n : {0, 1, 100, 110, 115, 120, 121, 122, 123, 124, 125, 126, 127, 128, 129, 16'000, 16'380, 16'383, 16'384, 60'000}) {
    std::string body(n, 'b');
    auto frame = frame_of(R"({"send":{"text":{"body":")" + body + R"(","mentions":["all","x"]},"turn":3}})");
    EXPECT_EQ(frame.send().text().body(), body);
    EXPECT_EQ(frame.send().text().mentions_size(), 2);
    EXPECT_EQ(frame.send().turn(), 3u);
  }
}

TEST(JsonReader, RestMessagesAndTheirBadUtf8) {
  Reader reader;
  rest::v1::Register body;
  EXPECT_TRUE(std::holds_alternative<std::monostate>(reader.message(R"({"username":"ann","displayName":"Ann"})", body)));
  EXPECT_EQ(body.display_name(), "Ann");
  EXPECT_TRUE(std::holds_alternative<NotJson>(reader.message("{\"username\":\"\xff\"}", body)));
  EXPECT_TRUE(std::holds_alternative<NotJson>(reader.message("{\"x\":\"\xff\"}", body)));
  EXPECT_TRUE(std::holds_alternative<Invalid>(reader.message(R"({"username":1})", body)));
}

TEST(JsonWriter, Canonical) {
  client::Frame frame;
  frame.set_req_id(1);
  auto* ack = frame.mutable_send_ack();
  ack->set_conversation("7f3a");
  ack->set_seq(12345678901234567890ull);
  ack->set_chain(std::string("\x00\xff\x10", 3));
  ack->set_duplicate(true);
  EXPECT_EQ(written(frame), R"({"reqId":1,"sendAck":{"conversation":"7f3a","seq":"12345678901234567890","chain":"AP8Q","duplicate":true}})");
  frame.mutable_ping();
  EXPECT_EQ(written(frame), R"({"reqId":1,"ping":{}})");
  frame.mutable_ping()->set_t("\"\\\b\n\x1f\x7f\xe2\x82\xac/<");
  EXPECT_EQ(written(frame), "{\"reqId\":1,\"ping\":{\"t\":\"\\\"\\\\\\u0008\\n\\u001f\x7f\xe2\x82\xac/<\"}}");
}

TEST(JsonWriter, ListsAndPresence) {
  client::ConversationPage page;
  EXPECT_EQ(written(page), "{}");
  EXPECT_EQ(written(page, EmptyLists::show), R"({"items":[]})");
  page.set_next_cursor("n");
  EXPECT_EQ(written(page, EmptyLists::show), R"({"nextCursor":"n","items":[]})");
  client::Account account;
  account.add_seqs(1);
  account.add_seqs(300);
  account.set_muted(false);  // optional: present although false
  EXPECT_EQ(written(account), R"({"muted":false,"seqs":["1","300"]})");
}

// ---- protobuf's own JSON as the oracle ------------------------------------------------------------------------------

void fill(Message& message, std::mt19937_64& random, int depth) {
  auto* reflection = message.GetReflection();
  auto* type = message.GetDescriptor();
  static const std::string kStrings[] = {"",
                                         "a",
                                         "0192aaaa-0000-7000-8000-000000000001",
                                         "quote\"back\\slash/\n\t",
                                         "\xe4\xbd\xa0\xe5\xa5\xbd",
                                         "\xf0\x9f\x98\x80",
                                         std::string(130, 'x'),
                                         "\x01\x1f\x7f",
                                         "\xe2\x80\xa8<>&'"};
  static const std::uint64_t kNumbers[] = {0, 1, 127, 128, 300, 1u << 31, 0xFFFFFFFFull, 1ull << 53, (1ull << 53) + 1, 0xFFFFFFFFFFFFFFFFull};
  static const double kReals[] = {0.0, 1.0, -0.1, 48.20817, 1e-300, 1.7976931348623157e308, 5e-324};
  for (int i = 0; i < type->field_count(); ++i) {
    auto* field = type->field(i);
    if (random() % 3 == 0 || (field->real_containing_oneof() && random() % 8 != 0)) continue;
    int count = field->is_repeated() ? static_cast<int>(random() % 4) : 1;
    for (int n = 0; n < count; ++n) {
      auto number = kNumbers[random() % std::size(kNumbers)];
      auto& string = kStrings[random() % std::size(kStrings)];
      bool list = field->is_repeated();
      switch (field->cpp_type()) {
        case FieldDescriptor::CPPTYPE_UINT32:
          list ? reflection->AddUInt32(&message, field, static_cast<std::uint32_t>(number))
               : reflection->SetUInt32(&message, field, static_cast<std::uint32_t>(number));
          break;
        case FieldDescriptor::CPPTYPE_UINT64:
          list ? reflection->AddUInt64(&message, field, number) : reflection->SetUInt64(&message, field, number);
          break;
        case FieldDescriptor::CPPTYPE_BOOL:
          reflection->SetBool(&message, field, random() % 2);
          break;
        case FieldDescriptor::CPPTYPE_DOUBLE:
          reflection->SetDouble(&message, field, kReals[random() % std::size(kReals)]);
          break;
        case FieldDescriptor::CPPTYPE_STRING: {
          std::string value = string;
          if (field->type() == FieldDescriptor::TYPE_BYTES && random() % 2) value = std::string("\x00\xff\xfe\x80", random() % 5);
          list ? reflection->AddString(&message, field, value) : reflection->SetString(&message, field, value);
          break;
        }
        case FieldDescriptor::CPPTYPE_MESSAGE: {
          auto* inner = list ? reflection->AddMessage(&message, field) : reflection->MutableMessage(&message, field);
          if (depth < 5) fill(*inner, random, depth + 1);
          break;
        }
        default:
          FAIL() << "a type this test does not know";
      }
    }
  }
}

TEST(JsonAgainstProtobuf, RandomFramesBothWays) {
  std::mt19937_64 random(7);
  Reader reader;
  std::map<int, int> bodies;
  for (int round = 0; round < 20'000; ++round) {
    client::Frame frame;
    auto* type = frame.GetDescriptor();
    if (random() % 2) frame.set_req_id(static_cast<std::uint32_t>(random()));
    auto* body = type->oneof_decl(0)->field(static_cast<int>(random() % static_cast<std::uint64_t>(type->oneof_decl(0)->field_count())));
    fill(*frame.GetReflection()->MutableMessage(&frame, body), random, 0);
    ++bodies[body->number()];

    auto ours = written(frame);
    client::Frame back;
    auto status = google::protobuf::util::JsonStringToMessage(ours, &back);
    ASSERT_TRUE(status.ok()) << status.ToString() << ours;
    ASSERT_EQ(back.SerializeAsString(), frame.SerializeAsString()) << ours;

    std::string theirs;
    google::protobuf::util::JsonPrintOptions options;
    options.always_print_primitive_fields = random() % 2;
    options.add_whitespace = random() % 2;
    options.preserve_proto_field_names = random() % 4 == 0;
    ASSERT_TRUE(google::protobuf::util::MessageToJsonString(frame, &theirs, options).ok());
    for (auto& text : {ours, theirs}) {
      auto read = reader.frame(text);
      ASSERT_TRUE(std::holds_alternative<client::Frame>(read)) << text;
      ASSERT_EQ(std::get<client::Frame>(read).SerializeAsString(), frame.SerializeAsString()) << text << "\n" << frame.DebugString();
    }
  }
  EXPECT_EQ(static_cast<int>(bodies.size()), client::Frame::descriptor()->oneof_decl(0)->field_count());
}

// The grammar against simdjson: frames with a byte changed, dropped or doubled are JSON for both or for neither.
TEST(JsonAgainstSimdjson, MutatedTexts) {
  std::mt19937_64 random(11);
  simdjson::dom::parser parser;
  int json = 0, not_json = 0;
  for (int round = 0; round < 50'000; ++round) {
    client::Frame frame;
    auto* oneof = frame.GetDescriptor()->oneof_decl(0);
    fill(*frame.GetReflection()->MutableMessage(&frame, oneof->field(static_cast<int>(random() % static_cast<std::uint64_t>(oneof->field_count())))), random,
         3);
    auto text = written(frame);
    static constexpr std::string_view kBytes = "{}[]\",:\\u0123456789-+.eEtfn x\x01";
    for (auto n = random() % 3; n > 0; --n) {
      auto at = random() % text.size();
      switch (random() % 4) {
        case 0:
          text[at] = kBytes[random() % kBytes.size()];
          break;
        case 1:
          text.erase(at, 1);
          break;
        case 2:
          text.insert(at, 1, kBytes[random() % kBytes.size()]);
          break;
        default:
          text.insert(at, text.substr(at, random() % 12));
      }
      if (text.empty()) break;
    }
    simdjson::dom::element element;
    auto error = parser.parse(simdjson::padded_string(text)).get(element);
    // Half surrogates and numbers beyond 64 bits are JSON, though simdjson's DOM cannot hold them; and not UTF-8 is for
    // the WebSocket decoder to see.
    if (error == simdjson::STRING_ERROR || error == simdjson::NUMBER_ERROR || error == simdjson::UTF8_ERROR) continue;
    bool theirs = error == simdjson::SUCCESS && element.is_object();
    ASSERT_EQ(outcome(text) != "notJson", theirs) << text << " " << simdjson::error_message(error);
    ++(theirs ? json : not_json);
  }
  EXPECT_GT(json, 10'000);
  EXPECT_GT(not_json, 10'000);
}

TEST(JsonHasNul, FindsItInStringsOnly) {
  client::Frame frame;
  auto& type = *client::Frame::descriptor();
  frame.mutable_send()->mutable_text()->set_body("fine");
  frame.mutable_send()->mutable_image()->set_preview(std::string("\0\0", 2));
  EXPECT_FALSE(has_nul(type, frame.SerializeAsString()));
  frame.mutable_send()->mutable_text()->add_mentions(std::string("a\0", 2));
  EXPECT_TRUE(has_nul(type, frame.SerializeAsString()));
  EXPECT_TRUE(has_nul(type, "\xd3\x3e\xd4\x3e"));  // an unknown group
}

}  // namespace
}  // namespace parley::gateway::json
