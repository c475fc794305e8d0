// SHA-256 (FIPS 180-4) of some pieces one after the other. OpenSSL 3 looks the algorithm up again in each one-shot call, which costs
// three times the digest of a message; here it is looked up once.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string_view>

namespace parley::chat {

using Sha256 = std::array<std::uint8_t, 32>;

// Throws std::bad_alloc only.
Sha256 sha256(std::initializer_list<std::string_view> pieces);

}  // namespace parley::chat
