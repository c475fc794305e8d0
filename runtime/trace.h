// W3C Trace Context (https://www.w3.org/TR/trace-context/): the `traceparent` that travels in client frames and log headers.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace parley::runtime {

struct TraceContext {
  std::array<std::uint8_t, 16> trace_id{};  // never all zero
  std::array<std::uint8_t, 8> span_id{};    // never all zero
  bool sampled = false;

  std::string trace_id_text() const;  // 32 hex digits
  std::string span_id_text() const;   // 16 hex digits
  std::string traceparent() const;    // "00-<trace>-<span>-01"
};

// Section 3.2: nothing for what the standard calls invalid; a version above 00 is read as far as 00 goes.
std::optional<TraceContext> parse_traceparent(std::string_view text);

// A span of its own in the same trace, or a new trace.
TraceContext child_of(const TraceContext& parent);
TraceContext new_trace(bool sampled);

}  // namespace parley::runtime
