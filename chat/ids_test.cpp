#include "chat/ids.h"

#include <gtest/gtest.h>

#include <set>

#include "chat/codes.h"

namespace parley::chat {
namespace {

const UserId kA = *parse_id<UserId>("00000000-0000-7000-8000-000000000001");
const UserId kB = *parse_id<UserId>("00000000-0000-7000-8000-000000000002");

TEST(Uuid, TextIsLowerCaseAndReadBack) {
  const auto id = parse_uuid("0192FFAB-cdef-7123-89AB-0123456789aB");
  ASSERT_TRUE(id);
  EXPECT_EQ(uuid_text(*id), "0192ffab-cdef-7123-89ab-0123456789ab");
}

TEST(Uuid, NothingButTheLongFormIsTaken) {
  const std::string good = "0192ffab-cdef-7123-89ab-0123456789ab";
  for (std::size_t i = 0; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] = bad[i] == '-' ? 'a' : '-';
    EXPECT_FALSE(parse_uuid(bad)) << bad;
    bad[i] = 'g';
    EXPECT_FALSE(parse_uuid(bad)) << bad;
    EXPECT_FALSE(parse_uuid(good.substr(0, i))) << i;
  }
  EXPECT_FALSE(parse_uuid(good + "0"));
  EXPECT_FALSE(parse_uuid("{" + good + "}"));
  EXPECT_FALSE(parse_uuid("0192ffabcdef712389ab0123456789ab"));
}

// The vectors of D5.
TEST(DirectConversation, PublishedVectors) {
  EXPECT_EQ(to_text(direct_conversation(kA, kB)), "37a46966-99c5-8f33-91c1-c31c091a59b7");
  EXPECT_EQ(to_text(direct_conversation(kB, kA)), "37a46966-99c5-8f33-91c1-c31c091a59b7");
  EXPECT_EQ(to_text(direct_conversation(kA, kA)), "5ccbbbd4-eeba-866a-9383-5a5c50e8b1a2");
}

TEST(DirectConversation, IdsAreComparedAsUnsignedBytes) {
  UserId high = kA;
  high.bytes[0] = 0xff;
  EXPECT_EQ(direct_conversation(high, kB), direct_conversation(kB, high));
  EXPECT_EQ(direct_conversation(kB, high), group_conversation(kB, RequestId{high.bytes}));  // kB is the lower: hashed first
}

TEST(GroupConversation, CreatorComesFirstWhateverTheOrder) {
  EXPECT_EQ(to_text(group_conversation(kA, RequestId{kB.bytes})), "37a46966-99c5-8f33-91c1-c31c091a59b7");
  EXPECT_NE(group_conversation(kB, RequestId{kA.bytes}), group_conversation(kA, RequestId{kB.bytes}));
}

// A change here moves every conversation of every installation to another partition.
TEST(Placement, GoldenVectors) {
  const ConversationId ab = direct_conversation(kA, kB), aa = direct_conversation(kA, kA);
  const std::uint32_t counts[] = {1, 4, 16, 64};
  const std::uint32_t of_ab[] = {0, 3, 11, 59}, of_aa[] = {0, 2, 6, 54};
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(partition_of(ab, counts[i]).value, of_ab[i]);
    EXPECT_EQ(partition_of(aa, counts[i]).value, of_aa[i]);
  }
}

TEST(IdGenerator, MakesVersionSevenWithTheTimeInFront) {
  IdGenerator ids(1);
  const auto id = ids.next(TimeMs{0x0123456789ab});
  EXPECT_EQ(uuid_text(id).substr(0, 15), "01234567-89ab-7");
  EXPECT_EQ(id[8] & 0xc0, 0x80);
}

TEST(IdGenerator, RisesStrictlyWhateverTheClockDoes) {
  IdGenerator ids(42);
  auto last = ids.next(TimeMs{1'000'000});
  for (std::uint64_t i = 0; i < 20'000; ++i) {
    const auto id = ids.next(TimeMs{1'000'000 - i % 7 + i / 10'000});
    ASSERT_LT(last, id);
    ASSERT_EQ(id[6] & 0xf0, 0x70);
    ASSERT_EQ(id[8] & 0xc0, 0x80);
    last = id;
  }
}

TEST(IdGenerator, OtherSeedsMakeOtherIds) {
  std::set<std::array<std::uint8_t, 16>> seen;
  for (std::uint64_t seed = 0; seed < 1000; seed += 2) {
    IdGenerator ids(seed);
    EXPECT_TRUE(seen.insert(ids.next(TimeMs{5})).second);
  }
}

TEST(Codes, PublishedNamesAreDistinct) {
  std::set<std::string_view> names;
  for (int i = 0; i <= static_cast<int>(Code::internal); ++i) EXPECT_TRUE(names.insert(name(static_cast<Code>(i))).second);
  EXPECT_EQ(name(Code::stale), "internal");  // never shown
  EXPECT_EQ(name(static_cast<Code>(200)), "internal");
}

// D48.
TEST(Codes, HttpStatus) {
  const std::pair<Code, int> table[] = {{Code::invalid, 400},      {Code::unsupported, 400}, {Code::unauthenticated, 401}, {Code::forbidden, 403},
                                        {Code::not_member, 403},   {Code::muted, 403},       {Code::blocked, 403},         {Code::recall_expired, 403},
                                        {Code::not_found, 404},    {Code::conflict, 409},    {Code::group_full, 409},      {Code::too_large, 413},
                                        {Code::rate_limited, 429}, {Code::internal, 500},    {Code::unavailable, 503}};
  for (const auto& [code, status] : table) EXPECT_EQ(http_status(code), status) << name(code);
}

// D10, row by row.
TEST(Close, ErrorCodeAndReconnect) {
  struct Row {
    std::uint16_t close;
    std::string_view reason, code, reconnect;
  };
  const Row rows[] = {
      {4000, "unknown", "unavailable", "backoff"},          {4001, "goawayDeadline", "unavailable", "now"},    {4003, "slowConsumer", "unavailable", "now"},
      {4004, "heartbeatTimeout", "unavailable", "backoff"}, {4005, "overloaded", "unavailable", "backoff"},    {4007, "resyncRequired", "unavailable", "now"},
      {4008, "rateLimited", "rateLimited", "backoff"},      {4009, "tokenExpired", "unauthenticated", "now"},  {4500, "badFrame", "invalid", "never"},
      {4501, "authFailed", "unauthenticated", "never"},     {4502, "authRevoked", "unauthenticated", "never"}, {4503, "banned", "forbidden", "never"},
      {4505, "versionUnsupported", "unsupported", "never"}, {4506, "frameTooLarge", "tooLarge", "never"},      {4507, "superseded", "conflict", "never"},
      {4508, "loggedOut", "unauthenticated", "never"},      {4509, "helloTimeout", "invalid", "never"},
  };
  for (const Row& row : rows) {
    const auto close = static_cast<Close>(row.close);
    EXPECT_EQ(name(close), row.reason);
    EXPECT_EQ(name(error_code(close)), row.code) << row.reason;
    EXPECT_EQ(reconnect(close), row.reconnect) << row.reason;
  }
}

}  // namespace
}  // namespace parley::chat
