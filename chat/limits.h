// Limits of protocol.md, announced in `welcome.limits`; the values here are the defaults of the settings.
#pragma once

#include <cstdint>

namespace parley::chat {

struct Limits {
  std::uint32_t frame_bytes = 64 * 1024;
  std::uint32_t text_bytes = 32 * 1024;
  std::uint32_t unacked_sends = 256;
  std::uint32_t sends_per_second = 20;  // 0: off
  std::uint32_t send_burst = 40;
  std::uint32_t devices = 16;
  std::uint32_t resume_events = 1000;
  std::uint32_t cursors = 1000;
};

inline constexpr std::uint32_t kTitleChars = 128;  // D37
inline constexpr std::uint32_t kHistoryDefault = 50;
inline constexpr std::uint32_t kHistoryMax = 200;        // D25
inline constexpr std::uint32_t kPageBytes = 512 * 1024;  // D6
inline constexpr std::uint32_t kChangedMax = 200;        // D6
inline constexpr std::uint32_t kReceiptMembers = 32;     // R22: receipts go to others in groups up to this size
inline constexpr std::uint32_t kFanoutThreshold = 500;   // R22

}  // namespace parley::chat
