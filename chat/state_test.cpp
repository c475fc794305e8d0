#include "chat/state.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <functional>
#include <random>

#include "chat/testing.h"

namespace parley::chat {
namespace {

using testing::request;
using testing::user;

ConversationState full() {
  ConversationState s;
  s.kind = Kind::group;
  s.last_seq = Seq{9};
  s.last_number = MessageNumber{7};
  s.last_message_seq = Seq{8};
  s.last_time = TimeMs{1234567890123};
  s.chain.fill(3);
  s.members[user(1)] = {
      .role = Role::owner, .stay_from = Seq{1}, .muted_until = {}, .read_seq = Seq{4}, .read_number = MessageNumber{3}, .delivered_seq = Seq{5}};
  s.members[user(2)] = {.role = Role::member, .stay_from = Seq{2}, .muted_until = TimeMs{0}, .read_seq = Seq{9}, .read_number = {}, .delivered_seq = {}};
  s.title = "title";
  s.notice = "notice";
  s.avatar = std::string("a\0b", 3);
  s.description = "description";
  s.settings = {.history_for_new_members = true, .members_may_add = false, .mention_all_admins = true};
  s.all_muted_until = TimeMs{77};
  s.dissolved = true;
  s.blockers = {user(1), user(2)};
  s.pending = {{user(2), request(1)}, {user(1), request(2)}};
  s.window.push({user(1), request(3), Seq{0}, Offset{5}, 6});
  s.window.push({user(2), request(4), Seq{9}, Offset{7}, 8});
  s.left = Offset{4};
  return s;
}

// The window with its oldest entry changed.
template <class Change>
Window with(const Window& window, Change change) {
  Window out;
  for (std::size_t i = 0; i < window.size(); ++i) {
    Consumed consumed = window[i];
    if (i == 0) change(consumed);
    out.push(consumed);
  }
  return out;
}

TEST(StateCodec, EveryFieldComesBack) {
  EXPECT_EQ(decode_state(encode_state(full())), full());
  EXPECT_EQ(decode_state(encode_state({})), ConversationState{});
}

TEST(StateCodec, EveryFieldCounts) {
  const std::string bytes = encode_state(full());
  std::vector<std::function<void(ConversationState&)>> changes = {
      [](auto& s) { s.kind = Kind::self; },
      [](auto& s) { ++s.last_seq; },
      [](auto& s) { ++s.last_number; },
      [](auto& s) { ++s.last_message_seq; },
      [](auto& s) { ++s.last_time; },
      [](auto& s) { s.chain[15] ^= 1; },
      [](auto& s) { s.members[user(3)]; },
      [](auto& s) { s.members[user(1)].role = Role::admin; },
      [](auto& s) { ++s.members[user(1)].stay_from; },
      [](auto& s) { s.members[user(2)].muted_until.reset(); },
      [](auto& s) { ++s.members[user(1)].read_seq; },
      [](auto& s) { ++s.members[user(1)].read_number; },
      [](auto& s) { ++s.members[user(1)].delivered_seq; },
      [](auto& s) { s.title += "x"; },
      [](auto& s) { s.notice += "x"; },
      [](auto& s) { s.avatar += "x"; },
      [](auto& s) { s.description += "x"; },
      [](auto& s) { s.settings.history_for_new_members = false; },
      [](auto& s) { s.settings.members_may_add = true; },
      [](auto& s) { s.settings.mention_all_admins = false; },
      [](auto& s) { s.all_muted_until.reset(); },
      [](auto& s) { s.dissolved = false; },
      [](auto& s) { s.blockers.pop_back(); },
      [](auto& s) { std::swap(s.pending[0], s.pending[1]); },
      [](auto& s) { s.window = with(s.window, [](Consumed& c) { c.user = user(9); }); },
      [](auto& s) { s.window = with(s.window, [](Consumed& c) { c.id = request(9); }); },
      [](auto& s) { s.window = with(s.window, [](Consumed& c) { ++c.seq; }); },
      [](auto& s) { s.window = with(s.window, [](Consumed& c) { ++c.offset; }); },
      [](auto& s) { s.window = with(s.window, [](Consumed& c) { ++c.payload_hash; }); },
      [](auto& s) { s.left.reset(); },
  };
  for (std::size_t i = 0; i < changes.size(); ++i) {
    ConversationState s = full();
    changes[i](s);
    EXPECT_NE(encode_state(s), bytes) << i;
    EXPECT_EQ(decode_state(encode_state(s)), s) << i;
  }
}

TEST(StateCodec, OneStateOneEncoding) {
  const std::string bytes = encode_state(full());
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    EXPECT_FALSE(decode_state(std::string_view(bytes).substr(0, i))) << i;
    for (const int bit : {1, 0x80}) {
      std::string other = bytes;
      other[i] = static_cast<char>(other[i] ^ bit);
      const auto state = decode_state(other);
      if (state) EXPECT_EQ(encode_state(*state), other) << i;
    }
  }
  EXPECT_FALSE(decode_state(bytes + '\0'));
}

TEST(Window, KeepsTheNewestAndRemembersWhatLeft) {
  ConversationState s;
  for (std::uint64_t i = 0; i < kWindow; ++i) consume(s, {user(1), request(i), Seq{i + 1}, Offset{10 * i}, 0});
  EXPECT_EQ(s.window.size(), kWindow);
  EXPECT_FALSE(s.left);
  consume(s, {user(1), request(kWindow), Seq{kWindow + 1}, Offset{10 * kWindow}, 0});
  EXPECT_EQ(s.window.size(), kWindow);
  EXPECT_EQ(s.window[0].offset, Offset{10});
  EXPECT_EQ(s.left, Offset{0});
}

TEST(MemoryOf, CountsWhatGrows) {
  ConversationState s;
  const std::size_t empty = memory_of(s);
  EXPECT_GE(empty, sizeof s);
  for (std::size_t i = 0; i < kWindow; ++i) consume(s, {user(1), request(i), Seq{i + 1}, Offset{i}, 0});
  const std::size_t full = memory_of(s);
  EXPECT_GE(full, empty + kWindow * sizeof(Consumed));
  for (std::uint8_t i = 0; i < 200; ++i) s.members[user(i)] = {};
  EXPECT_GE(memory_of(s), full + 200 * sizeof(Member));
  const std::size_t before_text = memory_of(s);
  s.notice = std::string(4'000, 'x');
  EXPECT_GE(memory_of(s), before_text + 3'900);
}

// Ids that share their last bytes, and with them their tag, are told apart; of two entries with one id the newer is found.
TEST(Window, FindsWhatASearchFromTheNewestFinds) {
  std::mt19937 random(7);
  Window window;
  std::deque<Consumed> plain;
  for (std::uint64_t step = 0; step < 20'000; ++step) {
    Consumed consumed{user(1 + random() % 2), request(random() % 400), Seq{step}, Offset{step}, 0};
    consumed.id.bytes[0] = static_cast<std::uint8_t>(random() % 2);
    if (random() % 8 != 0) {
      const auto fell = window.push(consumed);
      plain.push_back(consumed);
      ASSERT_EQ(fell.has_value(), plain.size() > kWindow);
      if (fell) {
        ASSERT_EQ(*fell, plain.front());
        plain.pop_front();
      }
    }
    const auto expected = std::find_if(plain.rbegin(), plain.rend(), [&](const Consumed& c) { return c.id == consumed.id && c.user == consumed.user; });
    const Consumed* found = window.find(consumed.user, consumed.id);
    ASSERT_EQ(found != nullptr, expected != plain.rend());
    if (found != nullptr) ASSERT_EQ(*found, *expected);
  }
}

TEST(Names, OfRolesAndKinds) {
  for (const Role role : {Role::member, Role::admin, Role::owner}) EXPECT_EQ(parse_role(name(role)), role);
  EXPECT_FALSE(parse_role("Owner"));
  EXPECT_EQ(name(Kind::direct), "direct");
  EXPECT_EQ(name(Kind::group), "group");
  EXPECT_EQ(name(Kind::self), "self");
}

}  // namespace
}  // namespace parley::chat
