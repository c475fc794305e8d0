// What the tests of this folder share: names for ids, and a conversation that is folded record by record.
#pragma once

#include <ostream>

#include "chat/fold.h"

namespace parley::chat::testing {

inline UserId user(std::uint8_t n) {
  UserId id;
  id.bytes[6] = 0x70;
  id.bytes[8] = 0x80;
  id.bytes[15] = n;
  return id;
}

inline RequestId request(std::uint64_t n) {
  RequestId id;
  id.bytes[0] = 1;
  for (std::size_t i = 0; i < 8; ++i) id.bytes[8 + i] = static_cast<std::uint8_t>(n >> (56 - 8 * i));
  return id;
}

// "event", "mark", "nothing", "duplicate", or the published name of the rejection.
inline std::string outcome(const Verdict& verdict) {
  struct Name {
    std::string operator()(const Event&) const { return "event"; }
    std::string operator()(const Mark&) const { return "mark"; }
    std::string operator()(const Rejected& rejected) const { return rejected.code == Code::stale ? "stale" : std::string(name(rejected.code)); }
    std::string operator()(const Duplicate&) const { return "duplicate"; }
    std::string operator()(const Nothing&) const { return "nothing"; }
  };
  return std::visit(Name{}, verdict);
}

// One conversation and the log below it: every `act` is one record, a second apart.
struct Talk {
  ConversationId id;
  ConversationState state{};
  Offset next{0};
  TimeMs now{1'000'000};
  std::uint64_t ids = 0;
  Offset since{1'000'000};  // far above: nothing is stale unless a test lowers it

  Verdict act(const UserId& actor, Operation op) { return act(actor, std::move(op), request(1000 + ++ids)); }
  Verdict act(const UserId& actor, Operation op, const RequestId& request_id, std::uint64_t payload_hash = 0) {
    Record record;
    record.conversation = id;
    record.actor = actor;
    record.device = "phone";
    record.id = request_id;
    record.since = since;
    record.payload_hash = payload_hash;
    record.salt.fill(7);
    record.op = std::move(op);
    now.value += 1000;
    const Verdict verdict = fold(state, record, next, now);
    ++next;
    return verdict;
  }
  Event event(const UserId& actor, Operation op) { return std::get<Event>(act(actor, std::move(op))); }
};

inline Talk direct(const UserId& a, const UserId& b) { return {.id = direct_conversation(a, b)}; }

inline Talk group(const UserId& owner, std::vector<UserId> members) {
  Talk talk{.id = group_conversation(owner, request(1))};
  talk.act(owner, op::Create{.title = "team", .members = std::move(members)}, request(1));
  return talk;
}

inline op::Send text(std::string_view body = "hello") { return {.peer = std::nullopt, .body = body}; }

}  // namespace parley::chat::testing

namespace parley::chat {
inline void PrintTo(Code code, std::ostream* out) { *out << name(code); }
template <class Tag>
void PrintTo(const Id<Tag>& id, std::ostream* out) {
  *out << to_text(id);
}
template <class Tag, class Rep>
void PrintTo(const Number<Tag, Rep>& number, std::ostream* out) {
  *out << number.value;
}
inline void PrintTo(const Verdict& verdict, std::ostream* out) { *out << testing::outcome(verdict); }
}  // namespace parley::chat
