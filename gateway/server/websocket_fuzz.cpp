// libFuzzer target (cmake -DPARLEY_FUZZ=ON): any bytes, cut anywhere, mean the same; nothing handed out exceeds the limit.
#include <cstdlib>
#include <string>
#include <vector>

#include "gateway/server/websocket.h"

namespace {

using namespace parley::gateway::websocket;

struct Seen {
  std::vector<std::pair<Opcode, std::string>> messages;
  int fault = -1;
  bool operator==(const Seen&) const = default;
};

constexpr std::uint32_t kMax = 512;

Seen run(std::string bytes, std::size_t piece) {
  Decoder decoder(Side::server, kMax);
  Seen seen;
  for (std::size_t at = 0; at < bytes.size(); at += piece) {
    auto in = std::span(bytes).subspan(at, std::min(piece, bytes.size() - at));
    for (;;) {
      auto message = decoder.next(in);
      if (!message) {
        seen.fault = static_cast<int>(message.error());
        return seen;
      }
      if (!*message) break;
      auto& [opcode, payload] = **message;
      if (payload.size() > kMax) std::abort();
      if (opcode == Opcode::text && !valid_utf8(payload)) std::abort();
      seen.messages.emplace_back(opcode, std::string(payload));
    }
    if (!in.empty()) std::abort();
  }
  return seen;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) return 0;
  std::string bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  auto whole = run(bytes, bytes.size() + 1);
  if (run(bytes, 1) != whole || run(bytes, 1 + data[0] % 64) != whole) std::abort();
  return 0;
}
