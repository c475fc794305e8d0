// The hand-written codec against protobuf, which is the definition.
#include "chat/record.h"

#include <gtest/gtest.h>

#include <random>

#include "chat/testing.h"
#include "chat/wire.h"
#include "parley/log/v1/record.pb.h"

namespace parley::chat {
namespace {

namespace pb = parley::log::v1;
using testing::request;
using testing::user;

// Protobuf tells of every invalid string it meets; here they are meant.
const auto kQuiet = google::protobuf::SetLogHandler(nullptr);

const std::string kKey = to_text(direct_conversation(user(1), user(2)));

Record sample(Operation op) {
  Record r;
  r.conversation = *parse_id<ConversationId>(kKey);
  r.actor = user(1);
  r.device = "web-1";
  r.origin = {.gateway = 0x1122334455667788, .connection = 7, .attempt = 300};
  r.id = request(9);
  r.id_is_op = true;
  r.since = Offset{1'234'567'890'123};
  r.salt.fill(0xab);
  r.payload_hash = ~0ull;
  r.limits = {.recall_window_ms = 1, .edit_window_ms = 2, .group_size = 3};
  r.op = std::move(op);
  return r;
}

std::vector<Operation> operations() {
  return {
      op::Unsupported{},
      op::Send{.peer = user(2), .body = "body\0with zero", .mention_all = true},
      op::Send{},
      op::MarkRead{Seq{5}, MessageNumber{4}},
      op::MarkRead{},
      op::Delivered{Seq{1ull << 63}},
      op::Create{.title = "Grüße 🎉", .members = {user(2), user(3)}},
      op::Create{},
      op::Update{},
      op::Update{
          .title = "", .notice = "n", .avatar = "", .description = "d", .history_for_new_members = false, .members_may_add = true, .mention_all_admins = false},
      op::Add{{user(2), user(3)}},
      op::Remove{{user(4)}},
      op::Remove{},
      op::SetRole{user(2), Role::owner},
      op::Mute{},
      op::Mute{.user = user(3), .until = TimeMs{99}, .off = true},
      op::Leave{},
      op::Dissolve{},
      op::Block{},
      op::Block{.off = true, .peer = user(9)},
      op::Schedule{.peer = user(2), .body = "later", .due = TimeMs{123}},
      op::Fire{"now"},
      op::Cancel{request(3)},
      op::Account{"account"},
  };
}

TEST(RecordCodec, WritesWhatProtobufWrites) {
  for (const Operation& operation : operations()) {
    const std::string ours = encode_record(sample(operation));
    pb::Record message;
    ASSERT_TRUE(message.ParseFromString(ours)) << operation.index();
    EXPECT_EQ(message.SerializeAsString(), ours) << message.DebugString();
  }
}

TEST(RecordCodec, WritesEveryFieldWhereItBelongs) {
  pb::Record message;
  ASSERT_TRUE(message.ParseFromString(encode_record(sample(op::Send{.peer = user(2), .body = "b", .mention_all = true}))));
  EXPECT_EQ(message.fold_version(), kStampedFold);
  EXPECT_EQ(message.actor(), user(1).view());
  EXPECT_EQ(message.device(), "web-1");
  EXPECT_EQ(message.origin().gateway(), 0x1122334455667788u);
  EXPECT_EQ(message.origin().connection(), 7u);
  EXPECT_EQ(message.origin().attempt(), 300u);
  EXPECT_EQ(message.id(), request(9).view());
  EXPECT_TRUE(message.id_is_op());
  EXPECT_EQ(message.since(), 1'234'567'890'123u);
  EXPECT_EQ(message.salt(), std::string(16, '\xab'));
  EXPECT_EQ(message.payload_hash(), ~0ull);
  EXPECT_EQ(message.limits().recall_window_ms(), 1u);
  EXPECT_EQ(message.limits().edit_window_ms(), 2u);
  EXPECT_EQ(message.limits().group_size(), 3u);
  EXPECT_EQ(message.send().peer(), user(2).view());
  EXPECT_EQ(message.send().body(), "b");
  EXPECT_TRUE(message.send().mention_all());
}

TEST(RecordCodec, ReadsBackWhatItWrote) {
  for (const Operation& operation : operations()) {
    const std::string bytes = encode_record(sample(operation));
    const auto record = decode_record(kKey, bytes);
    ASSERT_TRUE(record) << operation.index();
    EXPECT_EQ(record->op.index(), operation.index());
    EXPECT_EQ(to_text(record->conversation), kKey);
    EXPECT_EQ(record->origin, (Origin{0x1122334455667788, 7, 300}));
    EXPECT_EQ(encode_record(*record), bytes);
  }
}

TEST(RecordCodec, WithoutIdAndOrigin) {
  Record r;
  r.actor = user(1);
  r.op = op::Block{};
  const std::string bytes = encode_record(r);
  const auto record = decode_record(kKey, bytes);
  ASSERT_TRUE(record);
  EXPECT_FALSE(record->id);
  EXPECT_EQ(record->origin, Origin{});
}

TEST(RecordCodec, OperationsOfLaterVersionsOfTheSchemaAreUnsupported) {
  pb::Record message;
  message.set_fold_version(1);
  message.set_actor(std::string(user(1).view()));
  message.mutable_recall()->mutable_target()->set_seq(3);
  const std::string bytes = message.SerializeAsString();
  const auto record = decode_record(kKey, bytes);
  ASSERT_TRUE(record);
  EXPECT_TRUE(std::holds_alternative<op::Unsupported>(record->op));
}

TEST(RecordCodec, UnknownFieldsAreSkipped) {
  std::string bytes = encode_record(sample(op::Leave{}));
  wire::Writer w(bytes);
  w.number(900, 5);
  w.bytes(901, "later");
  w.fixed64(902, 3);
  EXPECT_TRUE(decode_record(kKey, bytes));
}

// R6: told apart from a malformed one even where its shape is not ours.
TEST(RecordCodec, ANewerVersionIsRecognisedFirst) {
  std::string bytes;
  wire::Writer w(bytes);
  w.number(1, kFoldVersion + 1);
  w.number(2, 5);  // an actor that is a number
  EXPECT_EQ(decode_record(kKey, bytes).error(), DecodeError::newer_version);
}

TEST(RecordCodec, MalformedIsAnErrorAndNothingWorse) {
  const auto malformed = [](std::string_view key, const std::string& bytes) {
    const auto record = decode_record(key, bytes);
    return !record && record.error() == DecodeError::malformed;
  };
  const std::string good = encode_record(sample(op::Create{.title = "team", .members = {user(2)}}));
  EXPECT_TRUE(malformed("not a uuid", good));
  EXPECT_TRUE(malformed(kKey, ""));
  EXPECT_TRUE(malformed(kKey, "\xff\xff\xff"));

  pb::Record message;
  ASSERT_TRUE(message.ParseFromString(good));
  const auto changed = [&](auto&& change) {
    pb::Record copy = message;
    change(copy);
    return copy.SerializeAsString();
  };
  EXPECT_FALSE(malformed(kKey, changed([](pb::Record&) {})));
  EXPECT_TRUE(malformed(kKey, changed([](pb::Record& m) { m.set_fold_version(0); })));
  // D9; PostgreSQL takes no U+0000, and a record it cannot store would stop its partition.
  EXPECT_TRUE(malformed(kKey, changed([](pb::Record& m) { m.mutable_create()->set_title(std::string("a\0b", 3)); })));
  EXPECT_TRUE(malformed(kKey, changed([](pb::Record& m) { m.set_actor("short"); })));
  EXPECT_TRUE(malformed(kKey, changed([](pb::Record& m) { m.clear_actor(); })));
  EXPECT_TRUE(malformed(kKey, changed([](pb::Record& m) { m.set_id("short"); })));
  EXPECT_TRUE(malformed(kKey, changed([](pb::Record& m) { m.set_salt("short"); })));
  EXPECT_TRUE(malformed(kKey, changed([](pb::Record& m) { m.mutable_create()->add_members("short"); })));
  EXPECT_TRUE(malformed(kKey, changed([](pb::Record& m) { m.mutable_send()->set_peer("short"); })));
  EXPECT_TRUE(malformed(kKey, changed([](pb::Record& m) { m.mutable_set_role()->set_user(std::string(16, 'a')); })));  // role 0
  EXPECT_TRUE(malformed(kKey, changed([](pb::Record& m) {
                          m.mutable_set_role()->set_user(std::string(16, 'a'));
                          m.mutable_set_role()->set_role(4);
                        })));
  std::string bad_text = good;
  bad_text.replace(bad_text.find("team"), 4, "t\xc0\xaf!");
  EXPECT_TRUE(malformed(kKey, bad_text));
}

// Whatever the bytes: an answer, and never a record where protobuf sees none.
TEST(RecordCodec, RandomDamage) {
  std::mt19937_64 rng(7);
  std::size_t read = 0;
  for (int round = 0; round < 2000; ++round) {
    for (const Operation& operation : operations()) {
      std::string bytes = encode_record(sample(operation));
      switch (rng() % 3) {
        case 0:
          bytes.resize(rng() % bytes.size());
          break;
        case 1:
          bytes[rng() % bytes.size()] = static_cast<char>(rng());
          break;
        default:
          bytes.insert(rng() % bytes.size(), 1, static_cast<char>(rng()));
          break;
      }
      const auto record = decode_record(kKey, bytes);
      pb::Record message;
      // Protobuf looks into the operations that this fold leaves unread.
      if (!record || std::holds_alternative<op::Unsupported>(record->op)) continue;
      ++read;
      ASSERT_TRUE(message.ParseFromString(bytes)) << message.DebugString();
    }
  }
  EXPECT_GT(read, 1000u);
}

TEST(Utf8, AsProtobufJudgesIt) {
  std::mt19937_64 rng(3);
  const std::string_view pieces[] = {"a",
                                     "é",
                                     "€",
                                     "🎉",
                                     "\x80",
                                     "\xc0\x80",
                                     "\xc1",
                                     "\xe0\x9f\xbf",
                                     "\xed\xa0\x80",
                                     "\xed\x9f\xbf",
                                     "\xf0\x8f\xbf\xbf",
                                     "\xf4\x90\x80\x80",
                                     "\xf4\x8f\xbf\xbf",
                                     "\xf5",
                                     "\xe2\x82",
                                     "\xf0\x9f\x8e"};
  for (int i = 0; i < 20'000; ++i) {
    std::string text;
    for (std::uint64_t n = 1 + rng() % 3; n > 0; --n) text += pieces[rng() % std::size(pieces)];
    pb::Record message;
    std::string bytes;
    wire::Writer(bytes).bytes(3, text);
    EXPECT_EQ(wire::valid_utf8(text), message.ParseFromString(bytes));
  }
}

}  // namespace
}  // namespace parley::chat
