#include "gateway/auth/tokens.h"

#include <gtest/gtest.h>
#include <openssl/hmac.h>

namespace parley::gateway {
namespace {

using chat::TimeMs;

const std::string kSecret = "0123456789abcdef0123456789abcdef";
const TimeMs kNow{1'763'690'000'000};
const std::string kUser = "01920000-0000-7000-8000-000000000001", kLogin = "01920000-0000-7000-8000-000000000002";

Identity identity(std::uint64_t expires = kNow.value + 900'000) {
  return {*chat::parse_id<chat::UserId>(kUser), *chat::parse_id<chat::LoginId>(kLogin), TimeMs{expires}};
}

// A token with any header and claims, rightly signed with any secret and digest.
std::string forge(std::string_view header, std::string_view claims, const std::string& secret = kSecret, const EVP_MD* digest = EVP_sha256()) {
  auto text = base64url(header) + "." + base64url(claims);
  unsigned char mac[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  HMAC(digest, secret.data(), static_cast<int>(secret.size()), reinterpret_cast<const unsigned char*>(text.data()), text.size(), mac, &size);
  return text + "." + base64url({reinterpret_cast<char*>(mac), size});
}

const std::string kHeader = R"({"alg":"HS256","typ":"JWT"})";
const std::string kClaims = R"({"sub":")" + kUser + R"(","sid":")" + kLogin + R"(","iat":1763690000,"exp":1763690900})";

TEST(JwtTokens, WhatIsIssuedVerifies) {
  JwtTokens tokens(kSecret);
  auto token = tokens.issue(identity(), kNow);
  EXPECT_EQ(token, forge(kHeader, kClaims));
  auto back = tokens.verify(token, kNow);
  ASSERT_TRUE(back);
  EXPECT_EQ(back->user, identity().user);
  EXPECT_EQ(back->login, identity().login);
  EXPECT_EQ(back->expires, identity().expires);
}

TEST(JwtTokens, ExampleOfTheRfc) {
  // RFC 7515 appendix A.1: the signature verifies with its key; the claims are not ours.
  auto key = from_base64url("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow").value();
  EXPECT_EQ(forge("{\"typ\":\"JWT\",\r\n \"alg\":\"HS256\"}", "{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}", key),
            "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ."
            "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
}

TEST(JwtTokens, ExpiryIsExact) {
  JwtTokens tokens(kSecret);
  auto token = tokens.issue(identity(), kNow);
  EXPECT_TRUE(tokens.verify(token, TimeMs{identity().expires.value - 1}));
  auto late = tokens.verify(token, identity().expires);
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error(), TokenFault::expired);
}

TEST(JwtTokens, ConfusionTable) {
  JwtTokens tokens(kSecret);
  auto good = forge(kHeader, kClaims);
  ASSERT_TRUE(tokens.verify(good, kNow));
  auto dot = good.rfind('.');
  std::string other_bit = good;
  other_bit[5] = other_bit[5] == 'a' ? 'b' : 'a';
  std::string last_bits = good;  // the signature's last digit has two bits that mean nothing
  last_bits.back() = kHeader.empty() ? 'A' : static_cast<char>(last_bits.back() + 1);
  struct {
    const char* name;
    std::string token;
  } cases[] = {
      {"empty", ""},
      {"dots", ".."},
      {"one part", "x"},
      {"two parts", good.substr(0, dot)},
      {"four parts", good + ".x"},
      {"no signature", good.substr(0, dot + 1)},
      {"cut signature", good.substr(0, good.size() - 4)},
      {"padded signature", good + "="},
      {"changed header", other_bit},
      {"stray bits in the signature", last_bits},
      {"space", " " + good},
      {"alg none, unsigned", base64url(R"({"alg":"none"})") + "." + base64url(kClaims) + "."},
      {"alg None, signed", forge(R"({"alg":"None"})", kClaims)},
      {"alg none, signed", forge(R"({"alg":"none"})", kClaims)},
      {"alg missing", forge(R"({"typ":"JWT"})", kClaims)},
      {"alg lower case", forge(R"({"alg":"hs256"})", kClaims)},
      {"alg RS256, HMAC signed", forge(R"({"alg":"RS256"})", kClaims)},
      {"alg HS512, HS512 signed", forge(R"({"alg":"HS512"})", kClaims, kSecret, EVP_sha512())},
      {"alg HS256, HS512 signed", forge(kHeader, kClaims, kSecret, EVP_sha512())},
      {"alg twice", forge(R"({"alg":"HS256","alg":"HS256"})", kClaims)},
      {"critical extension", forge(R"({"alg":"HS256","crit":["b64"],"b64":false})", kClaims)},
      {"another type", forge(R"({"alg":"HS256","typ":"JWE"})", kClaims)},
      {"header not JSON", forge("alg=HS256", kClaims)},
      {"another secret", forge(kHeader, kClaims, "another secret, also 32 bytes long")},
      {"empty secret", forge(kHeader, kClaims, "")},
      {"no exp", forge(kHeader, R"({"sub":")" + kUser + R"(","sid":")" + kLogin + R"("})")},
      {"exp zero", forge(kHeader, R"({"sub":")" + kUser + R"(","sid":")" + kLogin + R"(","exp":0})")},
      {"exp negative", forge(kHeader, R"({"sub":")" + kUser + R"(","sid":")" + kLogin + R"(","exp":-1})")},
      {"exp beyond 32 bits", forge(kHeader, R"({"sub":")" + kUser + R"(","sid":")" + kLogin + R"(","exp":99999999999})")},
      {"exp not a number", forge(kHeader, R"({"sub":")" + kUser + R"(","sid":")" + kLogin + R"(","exp":"soon"})")},
      {"no user", forge(kHeader, R"({"sid":")" + kLogin + R"(","exp":1763690900})")},
      {"no login", forge(kHeader, R"({"sub":")" + kUser + R"(","exp":1763690900})")},
      {"user not a UUID", forge(kHeader, R"({"sub":"root","sid":")" + kLogin + R"(","exp":1763690900})")},
      {"nil user", forge(kHeader, R"({"sub":"00000000-0000-0000-0000-000000000000","sid":")" + kLogin + R"(","exp":1763690900})")},
      {"claims an array", forge(kHeader, "[" + kClaims + "]")},
      {"a refresh token", new_refresh_token()},
      {"huge", std::string(1 << 20, 'a')},
  };
  for (auto& [name, token] : cases) {
    auto verified = tokens.verify(token, kNow);
    ASSERT_FALSE(verified) << name;
    EXPECT_EQ(verified.error(), TokenFault::bad) << name;
  }
  // Expiry is told only of tokens that are ours.
  EXPECT_EQ(tokens.verify(forge(kHeader, kClaims, "another secret, also 32 bytes long"), TimeMs{kNow.value * 2}).error(), TokenFault::bad);
}

TEST(Base64Url, BothWays) {
  for (auto& [bytes, text] : std::vector<std::pair<std::string, std::string>>{{"", ""}, {"f", "Zg"}, {"fo", "Zm8"}, {"foo", "Zm9v"}, {"\xfb\xff", "-_8"}}) {
    EXPECT_EQ(base64url(bytes), text);
    EXPECT_EQ(from_base64url(text), bytes);
  }
  for (auto bad : {"Z", "Zg==", "Zh", "Zm9v!", "+/8", "Zg\n"}) EXPECT_EQ(from_base64url(bad), std::nullopt) << bad;
}

TEST(RefreshTokens, RandomAndHashed) {
  auto a = new_refresh_token(), b = new_refresh_token();
  EXPECT_NE(a, b);
  EXPECT_EQ(from_base64url(a)->size(), 32u);
  EXPECT_NE(hash_token(a), hash_token(b));
  EXPECT_EQ(hash_token(a), hash_token(a));
}

}  // namespace
}  // namespace parley::gateway
