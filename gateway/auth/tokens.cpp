#include "gateway/auth/tokens.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

#include <algorithm>
#include <cstdlib>

#include "gateway/json/json.h"
#include "parley/rest/v1/rest.pb.h"

namespace parley::gateway {

namespace {

constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
constexpr std::size_t kMostTokenBytes = 4096;

std::string json_of(const google::protobuf::Message& message) {
  std::string out;
  json::Writer().write(message, out);
  return out;
}

bool read_json(std::string_view text, google::protobuf::Message& out) { return std::holds_alternative<std::monostate>(json::Reader().message(text, out)); }

}  // namespace

std::string base64url(std::string_view bytes) {
  std::string out;
  std::uint32_t bits = 0;
  int have = 0;
  for (char c : bytes) {
    bits = bits << 8 | static_cast<std::uint8_t>(c);
    for (have += 8; have >= 6; have -= 6) out.push_back(kDigits[bits >> (have - 6) & 63]);
  }
  if (have > 0) out.push_back(kDigits[bits << (6 - have) & 63]);
  return out;
}

std::optional<std::string> from_base64url(std::string_view text) {
  if (text.size() % 4 == 1) return std::nullopt;
  std::string out;
  std::uint32_t bits = 0;
  int have = 0;
  for (char c : text) {
    auto digit = kDigits.find(c);
    if (digit == kDigits.npos) return std::nullopt;
    bits = bits << 6 | static_cast<std::uint32_t>(digit);
    if ((have += 6) >= 8) {
      have -= 8;
      out.push_back(static_cast<char>(bits >> have));
    }
  }
  if (bits & ((1u << have) - 1)) return std::nullopt;
  return out;
}

std::string JwtTokens::sign(std::string_view text) const {
  std::array<unsigned char, EVP_MAX_MD_SIZE> mac;
  unsigned size = 0;
  if (!HMAC(EVP_sha256(), secret_.data(), static_cast<int>(secret_.size()), reinterpret_cast<const unsigned char*>(text.data()), text.size(), mac.data(),
            &size)) {
    std::abort();  // OpenSSL without SHA-256: nothing can be trusted any more
  }
  return std::string(reinterpret_cast<const char*>(mac.data()), size);
}

std::string JwtTokens::issue(const Identity& identity, chat::TimeMs now) const {
  rest::v1::TokenClaims claims;
  claims.set_sub(chat::to_text(identity.user));
  claims.set_sid(chat::to_text(identity.login));
  claims.set_iat(static_cast<std::uint32_t>(now.value / 1000));
  claims.set_exp(static_cast<std::uint32_t>(identity.expires.value / 1000));
  std::string token = base64url(R"({"alg":"HS256","typ":"JWT"})") + "." + base64url(json_of(claims));
  auto signature = base64url(sign(token));
  return token + "." + signature;
}

std::expected<Identity, TokenFault> JwtTokens::verify(std::string_view token, chat::TimeMs now) const {
  constexpr auto bad = std::unexpected(TokenFault::bad);
  if (token.size() > kMostTokenBytes) return bad;
  auto first = token.find('.');
  auto second = first == token.npos ? token.npos : token.find('.', first + 1);
  if (second == token.npos || token.find('.', second + 1) != token.npos) return bad;
  auto signature = from_base64url(token.substr(second + 1));
  auto expected = sign(token.substr(0, second));
  if (!signature || signature->size() != expected.size() || CRYPTO_memcmp(signature->data(), expected.data(), expected.size()) != 0) return bad;

  auto header_text = from_base64url(token.substr(0, first)), claims_text = from_base64url(token.substr(first + 1, second - first - 1));
  rest::v1::TokenHeader header;
  rest::v1::TokenClaims claims;
  if (!header_text || !claims_text || !read_json(*header_text, header) || !read_json(*claims_text, claims)) return bad;
  if (header.alg() != "HS256" || (!header.typ().empty() && header.typ() != "JWT") || header.crit_size() > 0) return bad;
  auto user = chat::parse_id<chat::UserId>(claims.sub());
  auto login = chat::parse_id<chat::LoginId>(claims.sid());
  if (!user || !login || !*user || !*login || claims.exp() == 0) return bad;
  Identity identity{*user, *login, {std::uint64_t{claims.exp()} * 1000}};
  if (now >= identity.expires) return std::unexpected(TokenFault::expired);
  return identity;
}

std::string new_refresh_token() {
  std::array<unsigned char, 32> bytes;
  if (RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) != 1) std::abort();  // no randomness, no tokens
  return base64url({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

store::TokenHash hash_token(std::string_view token) {
  store::TokenHash hash;
  SHA256(reinterpret_cast<const unsigned char*>(token.data()), token.size(), hash.data());
  return hash;
}

}  // namespace parley::gateway
