// Access tokens: JWT (RFC 7519) with exactly one algorithm, HS256, and the secret from the configuration.
//
// The algorithm is pinned by comparing the header, never chosen by it (RFC 8725 section 3.1); the signature is compared in
// constant time and before any claim is believed. Claims: sub (user), sid (login session, D13), iat, exp.
// Immutable after construction: any thread.
#pragma once

#include <string>
#include <string_view>

#include "gateway/core/core.h"

namespace parley::gateway {

class JwtTokens final : public Tokens {
 public:
  static constexpr std::size_t kLeastSecretBytes = 32;  // RFC 7518 section 3.2

  explicit JwtTokens(std::string secret) : secret_(std::move(secret)) {}

  std::string issue(const Identity& identity, chat::TimeMs now) const;
  std::expected<Identity, TokenFault> verify(std::string_view token, chat::TimeMs now) const override;

 private:
  std::string sign(std::string_view text) const;
  std::string secret_;
};

// RFC 4648 section 5, without padding.
std::string base64url(std::string_view bytes);
// Nothing for padding, foreign characters, impossible lengths or stray bits.
std::optional<std::string> from_base64url(std::string_view text);

// Refresh tokens: 32 random bytes, base64url; kept as SHA-256 only.
std::string new_refresh_token();
store::TokenHash hash_token(std::string_view token);

}  // namespace parley::gateway
