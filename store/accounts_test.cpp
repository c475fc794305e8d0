// Users and logins, over memory/ and postgres/ alike.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "store/contract_bench.h"
#include "store/contract_feed.h"

namespace parley::store {
namespace {

TokenHash token(std::uint8_t n) {
  TokenHash out{};
  out[0] = n;
  return out;
}

class AccountsContract : public ::testing::TestWithParam<bool> {
 protected:
  template <class T, class Call>
  T ask(Call call) {
    auto got = bench_->wait<T>(call);
    EXPECT_TRUE(got) << got.error().message;
    return got ? std::move(*got) : T{};
  }
  template <class Call>
  std::optional<Errc> act(Call call) {
    const auto got = bench_->wait<void>(call);
    return got ? std::nullopt : std::optional(got.error().code);
  }
  std::optional<Errc> create(std::uint64_t n, std::string name) {
    return act([&](auto done) { accounts_.create_user({user(n), name, "D " + name}, "hash of " + name, std::move(done)); });
  }
  std::optional<Errc> open_login(std::uint64_t n, LoginId login, TokenHash refresh, std::uint64_t expires = 1'000) {
    return act([&](auto done) { accounts_.open_login(user(n), login, "phone", refresh, TimeMs{expires}, std::move(done)); });
  }
  Rotation rotate(TokenHash old_token, TokenHash fresh, std::uint64_t now = 0) {
    return ask<Rotation>([&](auto done) { accounts_.rotate(old_token, fresh, TimeMs{now}, TimeMs{now + 1'000}, std::move(done)); });
  }
  bool is_open(LoginId login) {
    return ask<bool>([&](auto done) { accounts_.login_open(login, std::move(done)); });
  }
  std::vector<std::string> search(std::string prefix) {
    std::vector<std::string> out;
    for (const User& one : ask<std::vector<User>>([&](auto done) { accounts_.search(prefix, 10, std::move(done)); })) out.push_back(one.username);
    return out;
  }
  using Outcome = Rotation::Outcome;
  using Names = std::vector<std::string>;

  std::unique_ptr<Bench> bench_ = make_bench(GetParam());
  Accounts& accounts_ = bench_->accounts();
  const LoginId first_ = id_of<LoginId>(501), second_ = id_of<LoginId>(502);
};

INSTANTIATE_TEST_SUITE_P(Stores, AccountsContract, ::testing::Bool(), [](const auto& run) { return run.param ? "postgres" : "memory"; });

TEST_P(AccountsContract, NamesAreUniqueWhateverTheirCase) {
  EXPECT_EQ(create(1, "Ann"), std::nullopt);
  EXPECT_EQ(create(2, "aNN"), Errc::conflict);
  EXPECT_EQ(create(2, "bob"), std::nullopt);
  const auto found = ask<std::optional<Credentials>>([&](auto done) { accounts_.credentials("ANN", std::move(done)); });
  ASSERT_TRUE(found);
  EXPECT_EQ(found->user.id, user(1));
  EXPECT_EQ(found->user.username, "Ann");
  EXPECT_EQ(found->user.display_name, "D Ann");
  EXPECT_EQ(found->password_hash, "hash of Ann");
  EXPECT_FALSE(ask<std::optional<Credentials>>([&](auto done) { accounts_.credentials("nobody", std::move(done)); }));
}

TEST_P(AccountsContract, UsersAreFoundAndRenamed) {
  for (const auto& [n, name] : std::map<std::uint64_t, std::string>{{1, "ann"}, {2, "anna"}, {3, "an_x"}, {4, "bob"}, {5, "a.b"}, {6, "Annika"}})
    create(n, name);
  EXPECT_EQ(search("ann"), (Names{"ann", "anna", "Annika"}));
  EXPECT_EQ(search("ANNA"), (Names{"anna"}));
  EXPECT_EQ(search("an_"), (Names{"an_x"}));  // nothing in a prefix has a meaning of its own
  EXPECT_EQ(search("%"), Names{});
  EXPECT_EQ(search("a'; drop table users; --"), Names{});
  EXPECT_EQ(search("").size(), 6u);
  const auto some = ask<std::vector<User>>([&](auto done) { accounts_.users({user(4), user(99), user(1)}, std::move(done)); });
  ASSERT_EQ(some.size(), 2u);
  EXPECT_EQ(some[0].username, "bob");
  const auto renamed = ask<std::optional<User>>([&](auto done) { accounts_.rename(user(1), "New \xc3\xa9 '", std::move(done)); });
  ASSERT_TRUE(renamed);
  EXPECT_EQ(renamed->display_name, "New \xc3\xa9 '");
  EXPECT_EQ(ask<std::optional<User>>([&](auto done) { accounts_.user(user(1), std::move(done)); })->display_name, "New \xc3\xa9 '");
  EXPECT_FALSE(ask<std::optional<User>>([&](auto done) { accounts_.rename(user(99), "x", std::move(done)); }));
  EXPECT_FALSE(ask<std::optional<User>>([&](auto done) { accounts_.user(user(99), std::move(done)); }));
}

TEST_P(AccountsContract, RefreshTokensRotateAndReuseEndsTheFamily) {  // D13
  create(1, "ann");
  std::vector<std::tuple<UserId, std::optional<LoginId>, bool>> ended;
  accounts_.on_login_ended([&](UserId who, std::optional<LoginId> login, bool revoked) { ended.emplace_back(who, login, revoked); });
  EXPECT_EQ(open_login(1, first_, token(1)), std::nullopt);
  EXPECT_TRUE(is_open(first_));
  EXPECT_EQ(rotate(token(9), token(2)).outcome, Outcome::unknown);
  EXPECT_EQ(rotate(token(1), token(2), 1'000).outcome, Outcome::expired);
  const Rotation good = rotate(token(1), token(2), 999);
  EXPECT_EQ(good.outcome, Outcome::rotated);
  EXPECT_EQ(good.user, user(1));
  EXPECT_EQ(good.login, first_);
  EXPECT_EQ(rotate(token(2), token(3), 500).outcome, Outcome::rotated);
  EXPECT_TRUE(is_open(first_));
  EXPECT_EQ(rotate(token(1), token(4), 500).outcome, Outcome::reused);
  EXPECT_FALSE(is_open(first_));
  EXPECT_EQ(rotate(token(3), token(5), 500).outcome, Outcome::unknown);  // the whole family is over
  EXPECT_TRUE(bench_->run_until([&] { return !ended.empty(); }));
  EXPECT_EQ(ended[0], (std::tuple(user(1), std::optional(first_), true)));
}

TEST_P(AccountsContract, LoginsEndOneByOneOrAllAtOnce) {
  create(1, "ann");
  create(2, "bob");
  std::set<std::tuple<UserId, std::optional<LoginId>, bool>> ended;
  accounts_.on_login_ended([&](UserId who, std::optional<LoginId> login, bool revoked) { ended.emplace(who, login, revoked); });
  open_login(1, first_, token(1));
  open_login(1, second_, token(2));
  const auto end = [&](std::uint64_t who, LoginId login) { return act([&](auto done) { accounts_.end_login(user(who), login, std::move(done)); }); };
  EXPECT_EQ(end(2, first_), std::nullopt);  // not his
  EXPECT_TRUE(is_open(first_));
  EXPECT_EQ(end(1, first_), std::nullopt);
  EXPECT_FALSE(is_open(first_));
  EXPECT_EQ(rotate(token(1), token(3)).outcome, Outcome::unknown);
  EXPECT_TRUE(is_open(second_));
  EXPECT_EQ(act([&](auto done) { accounts_.end_all_logins(user(1), std::move(done)); }), std::nullopt);
  EXPECT_FALSE(is_open(second_));
  EXPECT_FALSE(is_open(id_of<LoginId>(999)));
  EXPECT_TRUE(bench_->run_until([&] { return ended.contains({user(1), std::nullopt, false}); }));
  EXPECT_TRUE(ended.contains({user(1), std::optional(first_), false}));
}

TEST_P(AccountsContract, OfTwoWhoBringOneTokenOneRotates) {
  create(1, "ann");
  open_login(1, first_, token(1));
  std::vector<Outcome> outcomes;
  for (std::uint8_t n = 2; n < 4; ++n)
    accounts_.rotate(token(1), token(n), TimeMs{1}, TimeMs{1'000}, [&](Result<Rotation> done) { outcomes.push_back(done->outcome); });
  ASSERT_TRUE(bench_->run_until([&] { return outcomes.size() == 2; }));
  std::ranges::sort(outcomes);
  EXPECT_EQ(outcomes, (std::vector{Outcome::rotated, Outcome::reused}));
  EXPECT_FALSE(is_open(first_));
}

}  // namespace
}  // namespace parley::store
