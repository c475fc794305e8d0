#include "runtime/trace.h"

#include <random>
#include <span>

namespace parley::runtime {
namespace {

constexpr char kHex[] = "0123456789abcdef";

std::string hex(std::span<const std::uint8_t> bytes) {
  std::string text;
  for (auto byte : bytes) {
    text += kHex[byte >> 4];
    text += kHex[byte & 15];
  }
  return text;
}

// Lower case only, as the standard demands.
bool parse_hex(std::string_view text, std::span<std::uint8_t> out) {
  auto digit = [](char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1; };
  for (std::size_t i = 0; i < out.size(); ++i) {
    int high = digit(text[2 * i]), low = digit(text[2 * i + 1]);
    if (high < 0 || low < 0) return false;
    out[i] = static_cast<std::uint8_t>(high << 4 | low);
  }
  return true;
}

template <std::size_t N>
std::array<std::uint8_t, N> random_id() {
  thread_local std::mt19937_64 generator{std::random_device{}()};
  std::array<std::uint8_t, N> id{};
  while (id == std::array<std::uint8_t, N>{})
    for (auto& byte : id) byte = static_cast<std::uint8_t>(generator());
  return id;
}

}  // namespace

std::string TraceContext::trace_id_text() const { return hex(trace_id); }
std::string TraceContext::span_id_text() const { return hex(span_id); }
std::string TraceContext::traceparent() const { return "00-" + trace_id_text() + "-" + span_id_text() + (sampled ? "-01" : "-00"); }

std::optional<TraceContext> parse_traceparent(std::string_view text) {
  constexpr std::size_t kLength = 55;  // 2 + 1 + 32 + 1 + 16 + 1 + 2
  if (text.size() < kLength || text[2] != '-' || text[35] != '-' || text[52] != '-') return std::nullopt;
  TraceContext context;
  std::array<std::uint8_t, 1> version{}, flags{};
  if (!parse_hex(text, version) || !parse_hex(text.substr(3), context.trace_id) || !parse_hex(text.substr(36), context.span_id) ||
      !parse_hex(text.substr(53), flags))
    return std::nullopt;
  if (version[0] == 0xff) return std::nullopt;
  if (text.size() > kLength && (version[0] == 0 || text[kLength] != '-')) return std::nullopt;
  if (context.trace_id == decltype(context.trace_id){} || context.span_id == decltype(context.span_id){}) return std::nullopt;
  context.sampled = flags[0] & 1;
  return context;
}

TraceContext child_of(const TraceContext& parent) { return {parent.trace_id, random_id<8>(), parent.sampled}; }

TraceContext new_trace(bool sampled) { return {random_id<16>(), random_id<8>(), sampled}; }

}  // namespace parley::runtime
