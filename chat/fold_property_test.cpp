// 100,000 random histories of one conversation against a naive model that keeps the whole history and looks everything up in it.
//
// The model shares no code with the fold beyond the types. Compiled with the small window, so that ids leave it all the time.
// After every record the state is taken out and put back as a store would do it; results must not depend on that.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>

#include "chat/testing.h"

namespace parley::chat {
namespace {

using testing::outcome;
using testing::request;
using testing::user;

constexpr std::uint32_t kGroupSize = 4;

// ---- the naive model ---------------------------------------------------------------------------------------------------

struct Naive {
  struct Used {
    int who;
    std::uint64_t id;
    std::uint64_t seq, offset, hash;
  };
  struct Person {
    bool in = false;
    int rank = 1;  // 3: owner
    bool muted = false;
    std::uint64_t muted_until = 0;  // 0: for ever
    std::uint64_t read_seq = 0, read_number = 0, delivered = 0;
  };

  ConversationId id;
  std::string kind;          // empty: not there
  std::vector<bool> events;  // is it a message? index = seq - 1
  std::uint64_t time = 0;
  Person people[6];
  bool all_muted = false;
  std::uint64_t all_muted_until = 0;
  bool members_may_add = false, mention_admins = false, history = false;
  std::string texts[4];
  bool blocks[6] = {};
  std::set<std::pair<int, std::uint64_t>> pending;
  std::vector<Used> used;

  std::uint64_t seq() const { return events.size(); }
  std::uint64_t numbers() const { return static_cast<std::uint64_t>(std::ranges::count(events, true)); }
  int members() const {
    return static_cast<int>(std::ranges::count_if(people, [](const Person& p) { return p.in; }));
  }

  std::string event(const Record& r, int who, std::uint64_t rid, std::uint64_t offset, std::uint64_t t, bool message) {
    events.push_back(message);
    time = t;
    if (rid != 0) used.push_back({who, rid, seq(), offset, r.payload_hash});
    if (message) people[who].read_seq = people[who].delivered = seq(), people[who].read_number = numbers();
    return "event";
  }
  void enter(int who, int rank) {
    people[who] = Person{};
    people[who].in = true;
    people[who].rank = rank;
    people[who].read_seq = people[who].delivered = seq() + 1;
    people[who].read_number = numbers();
  }
  // Who speaks when: "" or the reason why not.
  std::string speak(int who, std::uint64_t t, bool all) const {
    if (kind == "direct") return std::ranges::count(blocks, true) > 0 ? "blocked" : "";
    if (kind == "self") return "";
    const Person& p = people[who];
    if (p.muted && (p.muted_until == 0 || t < p.muted_until)) return "muted";
    if (p.rank == 1 && all_muted && (all_muted_until == 0 || t < all_muted_until)) return "muted";
    if (p.rank == 1 && all && mention_admins) return "forbidden";
    return "";
  }

  std::string operator()(const Record& r, std::uint64_t offset, std::uint64_t log_time, int who, std::uint64_t rid);
};

int number_of(const UserId& id) { return id.bytes[15]; }

// What the model thinks the record does; the same words as testing::outcome.
std::string Naive::operator()(const Record& r, std::uint64_t offset, std::uint64_t log_time, int who, std::uint64_t rid) {
  const std::uint64_t t = std::max(log_time, time);
  const bool mark = std::holds_alternative<op::MarkRead>(r.op) || std::holds_alternative<op::Delivered>(r.op);
  const bool fire = std::holds_alternative<op::Fire>(r.op), cancel = std::holds_alternative<op::Cancel>(r.op), block = std::holds_alternative<op::Block>(r.op);
  const std::size_t gone = used.size() > kWindow ? used.size() - kWindow : 0;
  if (!mark && !fire && !cancel && !block) {
    for (std::size_t i = used.size(); i > gone; --i) {
      const Used& u = used[i - 1];
      if (u.who == who && u.id == rid) return u.hash != 0 && r.payload_hash != 0 && u.hash != r.payload_hash ? "conflict" : "duplicate";
    }
    if (gone > 0 && used[gone - 1].offset >= r.since.value) return "stale";
  }
  if (std::holds_alternative<op::Unsupported>(r.op)) return "unsupported";
  if (const auto* create = std::get_if<op::Create>(&r.op)) {
    if (id != group_conversation(r.actor, r.id)) return "invalid";
    if (!kind.empty()) return "duplicate";
    std::set<int> in{who};
    for (const UserId& u : create->members) in.insert(number_of(u));
    if (in.size() > kGroupSize) return "groupFull";
    kind = "group";
    for (const int u : in) enter(u, u == who ? 3 : 1);
    texts[0] = create->title;
    return event(r, who, rid, offset, t, false);
  }
  if (fire) {
    if (pending.erase({who, rid}) == 0) return "nothing";
    if (!people[who].in || !speak(who, t, false).empty()) return "nothing";
    return event(r, who, rid, offset, t, true);
  }
  if (std::holds_alternative<op::Account>(r.op)) {
    if (id != direct_conversation(r.actor, r.actor)) return "forbidden";
    if (kind.empty()) kind = "self", people[who].in = true;
    return event(r, who, rid, offset, t, false);
  }

  std::optional<UserId> peer;
  if (const auto* send = std::get_if<op::Send>(&r.op)) peer = send->peer;
  if (const auto* later = std::get_if<op::Schedule>(&r.op)) peer = later->peer;
  if (const auto* b = std::get_if<op::Block>(&r.op)) peer = b->peer;
  if (peer && direct_conversation(r.actor, *peer) != id) return "invalid";
  const bool comes_to_be = kind.empty() && peer;
  if (!comes_to_be && kind.empty()) return "notFound";
  if (!comes_to_be && !people[who].in) return "notMember";
  const auto become = [&] {
    if (!comes_to_be) return;
    kind = *peer == r.actor ? "self" : "direct";
    people[who].in = people[number_of(*peer)].in = true;
  };

  if (const auto* send = std::get_if<op::Send>(&r.op)) {
    if (!comes_to_be && !speak(who, t, send->mention_all).empty()) return speak(who, t, send->mention_all);
    become();
    return event(r, who, rid, offset, t, true);
  }
  if (std::holds_alternative<op::Schedule>(r.op)) {
    if (!comes_to_be && !speak(who, t, false).empty()) return speak(who, t, false);
    become();
    pending.insert({who, rid});
    used.push_back({who, rid, 0, offset, r.payload_hash});
    return "nothing";
  }
  if (const auto* b = std::get_if<op::Block>(&r.op)) {
    if (kind == "group" || kind == "self" || (peer && *peer == r.actor)) return "forbidden";
    if (comes_to_be && b->off) return "nothing";
    become();
    blocks[who] = !b->off;
    return "nothing";
  }
  if (const auto* c = std::get_if<op::Cancel>(&r.op)) {
    std::uint64_t which = 0;
    for (std::size_t i = 8; i < 16; ++i) which = which << 8 | c->scheduled.bytes[i];
    return pending.erase({who, which}) == 0 ? "notFound" : "nothing";
  }
  Person& me = people[who];
  if (const auto* m = std::get_if<op::MarkRead>(&r.op)) {
    me.read_seq = std::max(me.read_seq, std::min(m->seq.value, seq()));
    me.read_number = std::max(me.read_number, std::min(m->number.value, numbers()));
    me.delivered = std::max(me.delivered, me.read_seq);
    return "mark";
  }
  if (const auto* d = std::get_if<op::Delivered>(&r.op)) {
    me.delivered = std::max(me.delivered, std::min(d->seq.value, seq()));
    return "mark";
  }

  // Group operations.
  if (kind != "group") return "forbidden";
  if (const auto* a = std::get_if<op::Add>(&r.op)) {
    if (me.rank == 1 && !members_may_add) return "forbidden";
    std::set<int> fresh;
    for (const UserId& u : a->users) {
      if (!people[number_of(u)].in) fresh.insert(number_of(u));
    }
    if (fresh.empty()) return "nothing";
    if (members() + static_cast<int>(fresh.size()) > static_cast<int>(kGroupSize)) return "groupFull";
    for (const int u : fresh) enter(u, 1);
    return event(r, who, rid, offset, t, false);
  }
  if (const auto* rem = std::get_if<op::Remove>(&r.op)) {
    if (me.rank == 1) return "forbidden";
    std::set<int> out;
    for (const UserId& u : rem->users) {
      const int n = number_of(u);
      if (!people[n].in) continue;
      if (n == who || people[n].rank >= me.rank) return "forbidden";
      out.insert(n);
    }
    if (out.empty()) return "nothing";
    for (const int u : out) people[u] = Person{};
    return event(r, who, rid, offset, t, false);
  }
  if (const auto* s = std::get_if<op::SetRole>(&r.op)) {
    if (me.rank != 3) return "forbidden";
    Person& target = people[number_of(s->user)];
    if (!target.in) return "notFound";
    if (target.rank == static_cast<int>(s->role)) return "nothing";
    if (number_of(s->user) == who) return "forbidden";
    target.rank = static_cast<int>(s->role);
    if (target.rank == 3) me.rank = 2;
    return event(r, who, rid, offset, t, false);
  }
  if (const auto* m = std::get_if<op::Mute>(&r.op)) {
    if (me.rank == 1) return "forbidden";
    bool* muted = &all_muted;
    std::uint64_t* until = &all_muted_until;
    if (m->user) {
      const int n = number_of(*m->user);
      if (!people[n].in) return "notFound";
      if (n == who || people[n].rank >= me.rank) return "forbidden";
      muted = &people[n].muted;
      until = &people[n].muted_until;
    }
    const bool now_muted = *muted && (*until == 0 || t < *until);
    if (m->off) {
      if (!now_muted) return "nothing";
      *muted = false;
      return event(r, who, rid, offset, t, false);
    }
    if (m->until.value != 0 && m->until.value <= t) return "invalid";
    if (*muted && *until == m->until.value) return "nothing";
    *muted = true;
    *until = m->until.value;
    return event(r, who, rid, offset, t, false);
  }
  if (std::holds_alternative<op::Leave>(r.op)) {
    if (me.rank == 3 && members() > 1) return "forbidden";
    me = Person{};
    return event(r, who, rid, offset, t, false);
  }
  if (std::holds_alternative<op::Dissolve>(r.op)) {
    if (me.rank != 3) return "forbidden";
    for (Person& p : people) p = Person{};
    return event(r, who, rid, offset, t, false);
  }
  const auto& u = std::get<op::Update>(r.op);
  const bool settings = u.history_for_new_members || u.members_may_add || u.mention_all_admins;
  if (me.rank == 1 || (settings && me.rank != 3)) return "forbidden";
  bool changes = false;
  const auto set = [&](auto& mine, const auto& wanted) {
    if (!wanted || mine == *wanted) return;
    mine = *wanted;
    changes = true;
  };
  set(texts[0], u.title);
  set(texts[1], u.notice);
  set(texts[2], u.avatar);
  set(texts[3], u.description);
  set(history, u.history_for_new_members);
  set(members_may_add, u.members_may_add);
  set(mention_admins, u.mention_all_admins);
  if (!changes) return "nothing";
  return event(r, who, rid, offset, t, false);
}

// ---- random histories --------------------------------------------------------------------------------------------------

class History {
 public:
  explicit History(std::uint64_t seed) : rng_(seed) {
    kind_ = below(10);  // of ten: 7 groups, 2 direct, 1 self
    creator_ = 1 + below(2);
    id_ = kind_ < 7   ? group_conversation(user(creator_), request(1))
          : kind_ < 9 ? direct_conversation(user(1), user(2))
                      : direct_conversation(user(1), user(1));
    naive_.id = id_;
  }

  void run(int steps) {
    if (kind_ < 7 && below(8) != 0) step(op::Create{.title = "t", .members = some_users()}, creator_, 1);
    for (int i = 0; i < steps && !::testing::Test::HasFatalFailure(); ++i) {
      const int who = 1 + below(below(4) == 0 ? 5 : 3);
      step(random_operation(who), who, 1 + below(9));
    }
  }

  std::uint64_t seen_stale = 0, seen_duplicate = 0, seen_event = 0;

 private:
  int below(int n) { return static_cast<int>(rng_() % static_cast<std::uint64_t>(n)); }
  UserId someone() { return user(static_cast<std::uint8_t>(1 + below(5))); }
  std::vector<UserId> some_users() {
    std::vector<UserId> users;
    for (int n = below(4); n > 0; --n) users.push_back(someone());
    return users;
  }
  template <class T>
  std::optional<T> maybe(T value) {
    return below(3) == 0 ? std::optional(value) : std::nullopt;
  }

  Operation random_operation(int who) {
    static constexpr std::string_view kTexts[] = {"", "a", "b"};
    const auto text = [&] { return kTexts[below(3)]; };
    // directTo, right or wrong; without it where there already is something to write into.
    const auto peer = [&]() -> std::optional<UserId> {
      if (kind_ >= 7) return below(3) == 0 ? std::nullopt : std::optional(kind_ == 9 ? user(1) : user(who == 1 ? 2 : 1));
      return below(40) == 0 ? std::optional(someone()) : std::nullopt;
    };
    switch (below(27)) {
      case 0:
      case 1:
        return op::MarkRead{{static_cast<std::uint64_t>(below(20))}, {static_cast<std::uint64_t>(below(15))}};
      case 2:
        return op::Delivered{{static_cast<std::uint64_t>(below(20))}};
      case 3:
        return op::Create{.title = "t", .members = some_users()};
      case 4:
      case 5:
        return op::Add{some_users()};
      case 6:
      case 7:
        return op::Remove{some_users()};
      case 8:
      case 9:
        return op::SetRole{someone(), static_cast<Role>(1 + below(3))};
      case 10:
      case 11:
        return op::Mute{.user = below(2) == 0 ? std::nullopt : std::optional(someone()),
                        .until = {below(2) == 0 ? 0 : now_ + 900 + static_cast<std::uint64_t>(below(3)) * 100},
                        .off = below(3) == 0};
      case 12:
        return below(4) == 0 ? Operation(op::Dissolve{}) : Operation(op::Leave{});
      case 13:
        return op::Block{.off = below(2) == 0, .peer = peer()};
      case 14:
        return op::Schedule{.peer = peer(), .body = "later", .due = {5}};
      case 15:
        return op::Fire{"later"};
      case 16:
        return op::Cancel{request(static_cast<std::uint64_t>(1 + below(9)))};
      case 17:
        return op::Account{"account"};
      case 18:
        return op::Update{.title = maybe(text()), .notice = maybe(text()), .avatar = maybe(text()), .description = maybe(text())};
      case 19:
        return op::Update{.history_for_new_members = maybe(below(2) == 0), .members_may_add = maybe(below(2) == 0), .mention_all_admins = maybe(below(2) == 0)};
      case 20:
        return below(10) == 0 ? Operation(op::Unsupported{}) : Operation(op::Leave{});
      default:
        return op::Send{.peer = peer(), .body = text(), .mention_all = below(4) == 0};
    }
  }

  void step(Operation operation, int who, int rid) {
    Record r;
    r.conversation = id_;
    r.actor = user(static_cast<std::uint8_t>(who));
    r.device = "d";
    r.id = request(static_cast<std::uint64_t>(rid));
    // Once in a while a brand-new id, so that ids move through the window.
    if (!std::holds_alternative<op::Create>(operation) && below(2) == 0) r.id = request(static_cast<std::uint64_t>(rid = 100 + ++fresh_));
    if (std::holds_alternative<op::Create>(operation)) r.id = request(static_cast<std::uint64_t>(rid = below(3) == 0 ? rid : 1));
    r.payload_hash = static_cast<std::uint64_t>(below(3) == 0 ? below(3) : 0);
    r.since = below(3) == 0 ? Offset{static_cast<std::uint64_t>(below(static_cast<int>(offset_) + 1))} : Offset{offset_};
    r.limits.group_size = kGroupSize;
    r.op = std::move(operation);
    offset_ += 1 + static_cast<std::uint64_t>(below(3) == 0);  // gaps, as Kafka leaves them
    now_ += static_cast<std::uint64_t>(below(400));
    const std::uint64_t log_time = below(5) == 0 ? now_ - 300 : now_;

    const ConversationState before = state_;
    const Verdict verdict = fold(state_, r, Offset{offset_}, TimeMs{log_time});
    const std::string expected = naive_(r, offset_, log_time, who, static_cast<std::uint64_t>(rid));
    ASSERT_EQ(outcome(verdict), expected) << "operation " << r.op.index() << " by " << who << " at " << offset_;
    seen_stale += expected == "stale";
    seen_duplicate += expected == "duplicate";
    seen_event += expected == "event";
    if (std::holds_alternative<Rejected>(verdict) || std::holds_alternative<Duplicate>(verdict)) ASSERT_EQ(state_, before);
    if (const auto* event = std::get_if<Event>(&verdict)) follow(*event, before);
    if (const auto* mark = std::get_if<Mark>(&verdict)) {
      const auto& p = naive_.people[who];
      ASSERT_EQ(*mark, (Mark{r.actor, Seq{p.read_seq}, MessageNumber{p.read_number}, Seq{p.delivered}}));
    }
    if (const auto* duplicate = std::get_if<Duplicate>(&verdict); duplicate != nullptr && duplicate->of_seq.value > 0) {
      ASSERT_LE(duplicate->of_seq, state_.last_seq);
    }
    compare();
    reload();
  }

  void follow(const Event& event, const ConversationState& before) {
    ASSERT_EQ(event.seq, before.last_seq.next());
    ASSERT_EQ(event.chain, chain_next(before.chain, event));
    ASSERT_EQ(event.body_hash, body_hash(event.salt, event.body));
    ASSERT_GE(event.time, before.last_time);
    if (event.number) ASSERT_EQ(*event.number, before.last_number.next());
    // The stays, told event by event, are who is in.
    for (const StayChange& change : event.stays) {
      if (change.begins) {
        ASSERT_TRUE(inside_.insert(change.user).second);
      } else {
        ASSERT_EQ(inside_.erase(change.user), 1u);
      }
    }
    std::set<UserId> members;
    for (const auto& [member, unused] : state_.members) members.insert(member);
    ASSERT_EQ(inside_, members);
  }

  void compare() {
    ASSERT_EQ(state_.last_seq.value, naive_.seq());
    ASSERT_EQ(state_.last_number.value, naive_.numbers());
    ASSERT_EQ(name(state_.kind), naive_.kind);
    for (int u = 0; u < 6; ++u) {
      const Naive::Person& p = naive_.people[u];
      const Member* m = state_.member(user(static_cast<std::uint8_t>(u)));
      ASSERT_EQ(m != nullptr, p.in) << u;
      if (m == nullptr) continue;
      ASSERT_EQ(static_cast<int>(m->role), p.rank) << u;
      ASSERT_EQ(m->read_seq.value, p.read_seq) << u;
      ASSERT_EQ(m->delivered_seq.value, p.delivered) << u;
      // P5, counted one by one: the messages above the read mark.
      std::uint64_t count = 0, number = 0;
      for (const bool message : naive_.events) count += message && ++number > p.read_number;
      ASSERT_EQ(unread(state_.last_number, m->read_number), count) << u;
    }
  }

  // Cold load: from bytes, and with the window made of what stored rows tell.
  void reload() {
    const std::string bytes = encode_state(state_);
    auto loaded = decode_state(bytes);
    ASSERT_TRUE(loaded);
    ASSERT_EQ(*loaded, state_);
    std::vector<Consumed> rows;
    for (std::size_t i = naive_.used.size() - std::min(naive_.used.size(), kWindow + 1); i < naive_.used.size(); ++i) {
      const Naive::Used& u = naive_.used[i];
      rows.push_back({user(static_cast<std::uint8_t>(u.who)), request(u.id), Seq{u.seq}, Offset{u.offset}, u.hash});
    }
    restore_window(*loaded, rows);
    ASSERT_EQ(encode_state(*loaded), bytes);
    state_ = *std::move(loaded);
  }

  std::mt19937_64 rng_;
  int kind_, creator_;
  ConversationId id_;
  ConversationState state_;
  Naive naive_;
  std::set<UserId> inside_;
  std::uint64_t offset_ = 0, now_ = 10'000, fresh_ = 0;
};

TEST(FoldProperty, AgreesWithTheNaiveModel) {
  std::uint64_t stale = 0, duplicate = 0, events = 0;
  for (std::uint64_t seed = 0; seed < 100'000; ++seed) {
    SCOPED_TRACE(seed);
    History history(seed);
    history.run(seed % 100 == 0 ? 200 : 25);
    if (HasFatalFailure()) return;
    stale += history.seen_stale;
    duplicate += history.seen_duplicate;
    events += history.seen_event;
  }
  // The histories are worth something only if they get there.
  EXPECT_GT(stale, 10'000u);
  EXPECT_GT(duplicate, 50'000u);
  EXPECT_GT(events, 300'000u);
}

}  // namespace
}  // namespace parley::chat
