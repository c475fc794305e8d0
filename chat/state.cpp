#include "chat/state.h"

#include <algorithm>
#include <type_traits>

namespace parley::chat {
namespace {

// First byte of an encoded state. A change of layout takes a new number.
constexpr std::uint8_t kLayout = 1;

// Numbers are big-endian and of fixed width, lengths are 4 bytes: one state has one encoding.
class Encoder {
 public:
  void put(std::uint8_t value) { out_.push_back(static_cast<char>(value)); }
  void put(bool value) { put(static_cast<std::uint8_t>(value)); }
  void put(std::uint64_t value) {
    for (int shift = 56; shift >= 0; shift -= 8) out_.push_back(static_cast<char>(value >> shift));
  }
  void put_size(std::size_t size) {
    for (int shift = 24; shift >= 0; shift -= 8) out_.push_back(static_cast<char>(size >> shift));
  }
  template <class Tag, class Rep>
  void put(const Number<Tag, Rep>& number) {
    put(static_cast<std::uint64_t>(number.value));
  }
  void put(const std::array<std::uint8_t, 16>& bytes) { out_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size()); }
  template <class Tag>
  void put(const Id<Tag>& id) {
    put(id.bytes);
  }
  void put(const std::string& text) {
    put_size(text.size());
    out_.append(text);
  }
  template <class T>
  void put(const std::optional<T>& value) {
    put(value.has_value());
    if (value) put(*value);
  }
  std::string take() { return std::move(out_); }

 private:
  std::string out_;
};

class Decoder {
 public:
  explicit Decoder(std::string_view bytes) : rest_(bytes) {}

  bool good() const { return good_; }
  bool finished() const { return good_ && rest_.empty(); }
  void fail() { good_ = false; }

  void get(std::uint8_t& value) { value = static_cast<std::uint8_t>(integer(1)); }
  void get(bool& value) {
    const auto byte = integer(1);
    if (byte > 1) fail();
    value = byte == 1;
  }
  void get(std::uint64_t& value) { value = integer(8); }
  // A count of things of at least `each` bytes: what could not fit into the rest is malformed, before anything is allocated.
  std::size_t get_size(std::size_t each) {
    const auto size = static_cast<std::size_t>(integer(4));
    if (size * each > rest_.size()) fail();
    return good_ ? size : 0;
  }
  template <class Tag, class Rep>
  void get(Number<Tag, Rep>& number) {
    number.value = static_cast<Rep>(integer(8));
  }
  void get(std::array<std::uint8_t, 16>& bytes) {
    const auto raw = take(bytes.size());
    std::copy(raw.begin(), raw.end(), bytes.begin());
  }
  template <class Tag>
  void get(Id<Tag>& id) {
    get(id.bytes);
  }
  void get(std::string& text) { text = take(get_size(1)); }
  template <class T>
  void get(std::optional<T>& value) {
    bool there = false;
    get(there);
    if (there) get(value.emplace());
  }

 private:
  std::string_view take(std::size_t size) {
    if (!good_ || rest_.size() < size) {
      fail();
      return {};
    }
    const auto raw = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return raw;
  }
  std::uint64_t integer(std::size_t size) {
    std::uint64_t value = 0;
    for (const char c : take(size)) value = value << 8 | static_cast<std::uint8_t>(c);
    return value;
  }

  std::string_view rest_;
  bool good_ = true;
};

// The one list of fields, walked by the encoder and by the decoder.
template <class State, class Visit>
void each_plain_field(State& s, Visit&& visit) {
  visit(s.last_seq);
  visit(s.last_number);
  visit(s.last_message_seq);
  visit(s.last_time);
  visit(s.chain);
  visit(s.title);
  visit(s.notice);
  visit(s.avatar);
  visit(s.description);
  visit(s.settings.history_for_new_members);
  visit(s.settings.members_may_add);
  visit(s.settings.mention_all_admins);
  visit(s.all_muted_until);
  visit(s.dissolved);
  visit(s.left);
}

template <class M, class Visit>
void each_member_field(M& member, Visit&& visit) {
  visit(member.stay_from);
  visit(member.muted_until);
  visit(member.read_seq);
  visit(member.read_number);
  visit(member.delivered_seq);
}

template <class C, class Visit>
void each_consumed_field(C& consumed, Visit&& visit) {
  visit(consumed.user);
  visit(consumed.id);
  visit(consumed.seq);
  visit(consumed.offset);
  visit(consumed.payload_hash);
}

}  // namespace

std::string_view name(Kind kind) {
  switch (kind) {
    case Kind::none:
      return "";
    case Kind::direct:
      return "direct";
    case Kind::group:
      return "group";
    case Kind::self:
      return "self";
  }
  return "";
}

std::string_view name(Role role) {
  switch (role) {
    case Role::member:
      return "member";
    case Role::admin:
      return "admin";
    case Role::owner:
      return "owner";
  }
  return "";
}

std::optional<Role> parse_role(std::string_view text) {
  for (const Role role : {Role::member, Role::admin, Role::owner}) {
    if (text == name(role)) return role;
  }
  return std::nullopt;
}

std::size_t memory_of(const ConversationState& state) {
  constexpr std::size_t kNode = sizeof(std::pair<const UserId, Member>) + 4 * sizeof(void*);  // of a red-black tree
  std::size_t bytes = sizeof state + state.members.size() * kNode + state.window.memory();
  bytes += state.blockers.capacity() * sizeof state.blockers[0] + state.pending.capacity() * sizeof state.pending[0];
  for (const std::string* text : {&state.title, &state.notice, &state.avatar, &state.description}) bytes += text->capacity();
  return bytes;
}

std::string encode_state(const ConversationState& state) {
  Encoder e;
  const auto put = [&](const auto& value) { e.put(value); };
  e.put(kLayout);
  e.put(static_cast<std::uint8_t>(state.kind));
  each_plain_field(state, put);
  e.put_size(state.members.size());
  for (const auto& [user, member] : state.members) {
    e.put(user);
    e.put(static_cast<std::uint8_t>(member.role));
    each_member_field(member, put);
  }
  e.put_size(state.blockers.size());
  for (const UserId& user : state.blockers) e.put(user);
  e.put_size(state.pending.size());
  for (const auto& [user, id] : state.pending) {
    e.put(user);
    e.put(id);
  }
  e.put_size(state.window.size());
  for (std::size_t i = 0; i < state.window.size(); ++i) each_consumed_field(state.window[i], put);
  return e.take();
}

std::optional<ConversationState> decode_state(std::string_view bytes) {
  Decoder d(bytes);
  const auto get = [&](auto& value) { d.get(value); };
  ConversationState state;
  std::uint8_t layout = 0, kind = 0;
  d.get(layout);
  d.get(kind);
  if (layout != kLayout || kind > static_cast<std::uint8_t>(Kind::self)) return std::nullopt;
  state.kind = static_cast<Kind>(kind);
  each_plain_field(state, get);
  for (std::size_t n = d.get_size(50); n > 0 && d.good(); --n) {
    UserId user;
    std::uint8_t role = 0;
    Member member;
    d.get(user);
    d.get(role);
    each_member_field(member, get);
    if (role < 1 || role > 3) d.fail();
    member.role = static_cast<Role>(role);
    if (!state.members.empty() && state.members.rbegin()->first >= user) d.fail();
    state.members.emplace_hint(state.members.end(), user, member);
  }
  for (std::size_t n = d.get_size(16); n > 0 && d.good(); --n) {
    d.get(state.blockers.emplace_back());
    if (state.blockers.size() > 1 && state.blockers.end()[-2] >= state.blockers.back()) d.fail();
  }
  for (std::size_t n = d.get_size(32); n > 0 && d.good(); --n) {
    auto& [user, id] = state.pending.emplace_back();
    d.get(user);
    d.get(id);
  }
  for (std::size_t n = d.get_size(56); n > 0 && d.good(); --n) {
    Consumed consumed;
    each_consumed_field(consumed, get);
    if (state.window.push(consumed)) d.fail();  // more than a window holds
  }
  if (!d.finished() || state.pending.size() > kPendingSchedules) return std::nullopt;
  return state;
}

void consume(ConversationState& state, const Consumed& consumed) {
  if (const auto fell = state.window.push(consumed)) state.left = fell->offset;
}

void restore_window(ConversationState& state, std::span<const Consumed> newest) {
  state.window = {};
  state.left.reset();
  for (const Consumed& consumed : newest) consume(state, consumed);
}

}  // namespace parley::chat
