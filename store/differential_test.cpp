// Random histories written to memory/ and postgres/ alike: every read must give the same. memory/ is the naive model that the SQL is
// judged by. The seed of a failing round is printed; PARLEY_SEED repeats it.
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdlib>
#include <random>
#include <set>

#include "store/contract_bench.h"
#include "store/contract_feed.h"
#include "store/pages.h"

namespace parley::store {
namespace {

// ---- what was read, as text ----
std::string show(const StoredEvent& e) {
  return fmt::format("{}#{}/{} {} {} {}", chat::to_text(e.event.conversation).substr(0, 4), e.event.seq.value, e.event.number ? e.event.number->value : 0,
                     e.offset.value, static_cast<int>(e.event.kind), e.event.body.size());
}
std::string show(const Summary& s) {
  return fmt::format("{} k{} {} peer {} r{} n{} first {} last {}/{} read {}/{} del {} t{} [{}]", chat::to_text(s.conversation), static_cast<int>(s.kind),
                     s.title, s.peer ? chat::to_text(*s.peer) : "-", static_cast<int>(s.role), s.member_count, s.first_seq.value, s.last_seq.value,
                     s.last_number.value, s.read_seq.value, s.read_number.value, s.delivered_seq.value, s.last_time.value,
                     s.last_message ? show(*s.last_message) : "-");
}
std::string show(const LookedUp& found) { return fmt::format("{} {} {}", found.event ? show(*found.event) : "-", found.schedule, found.payload_hash); }
std::string show(const Marks& m) {
  return fmt::format("{} {} {} {} {}", chat::to_text(m.conversation), chat::to_text(m.user), m.read_seq.value, m.read_number.value, m.delivered_seq.value);
}
template <class T>
std::string show(const std::vector<T>& all) {
  std::string out;
  for (const T& one : all) out += show(one) + "\n";
  return out;
}
std::string show(const Positions& positions) {
  std::string out;
  for (const Offset offset : positions) out += std::to_string(offset.value) + " ";
  return out;
}
std::string show(const ColdLoad& load) {
  std::string out = fmt::format("O {} {}\n", load.position.value, show(load.events));
  for (const auto& [who, stays] : load.stays) {
    out += chat::to_text(who);
    for (const Stay& stay : stays) out += fmt::format(" [{},{}]", stay.from.value, stay.to ? stay.to->value : 0);
    out += "\n";
  }
  return out + chat::encode_state(load.state);
}
std::string show(const ResumeResult& r) {
  return fmt::format("many {} ahead {} more {}\nmarks {}\nevents {}\nchanged {}", r.too_many, r.cursor_ahead, r.more, show(r.marks), show(r.events),
                     show(r.changed));
}
std::string show(const HistoryResult& r) { return fmt::format("{} {} {}", static_cast<int>(r.standing), r.more, show(r.events)); }
std::string show(const SummaryPage& page) { return fmt::format("{} next {}", show(page.items), page.next_cursor); }
std::string show(const MarkTarget& t) { return fmt::format("{} {} {}", static_cast<int>(t.standing), t.seq.value, t.number.value); }
std::string show(const Standing& s) { return std::to_string(static_cast<int>(s)); }
std::string show(const MemberPage& page) {
  std::string out = fmt::format("{} next {}\n", static_cast<int>(page.standing), page.next_cursor);
  for (const MemberRow& row : page.items)
    out += fmt::format("{} {} {}\n", chat::to_text(row.user), static_cast<int>(row.role), row.muted_until ? row.muted_until->value : 1);
  return out;
}
template <class T>
std::string show(const std::optional<T>& value) {
  return value ? show(*value) : "-";
}
std::string show(const Details& d) {
  return fmt::format("{} {} {} {} {} {}{}{}", show(d.standing), show(d.summary), d.notice, d.avatar, d.description, d.settings.history_for_new_members,
                     d.settings.members_may_add, d.settings.mention_all_admins);
}
template <class T>
std::string show(const Snapshot<T>& snapshot) {
  return show(snapshot.positions) + "\n" + show(snapshot.value);
}

class Round {
 public:
  Round(std::uint64_t seed, Bench& one, Bench& other) : random_(seed), one_(one), other_(other) {
    for (Bench* bench : {&one_, &other_}) {
      writers_.push_back(bench->writer());
      EXPECT_TRUE(writers_.back()->open("topic", 2));
    }
  }

  void run() {
    for (int batch = 0; batch < 25 && !::testing::Test::HasFailure(); ++batch) {
      Feed& feed = feeds_[below(2)];
      for (std::uint64_t n = 1 + below(20); n > 0; --n) say(feed);
      const Batch taken = feed.take();
      for (auto& writer : writers_) {
        const auto done = writer->commit(taken);
        ASSERT_TRUE(done) << done.error().message;
      }
      for (int reads = 0; reads < 12; ++reads) read();
      compare_states(feed);
    }
  }

 private:
  std::uint64_t below(std::uint64_t n) { return random_() % n; }
  UserId someone() { return user(below(6)); }
  Seq some_seq() { return Seq{below(14)}; }
  ConversationId known(Feed& feed) {
    if (feed.states().empty()) return id_of<ConversationId>(9);
    auto at = feed.states().begin();
    std::advance(at, static_cast<std::ptrdiff_t>(below(feed.states().size())));
    return at->first;
  }
  ConversationId anywhere() { return known(feeds_[below(2)]); }

  // The owner, so that groups live and their members come and go; else anybody who is in.
  UserId one_who_may(Feed& feed, const ConversationId& where) {
    const auto at = feed.states().find(where);
    if (at == feed.states().end() || at->second.members.empty()) return someone();
    for (const auto& [user, member] : at->second.members) {
      if (member.role == chat::Role::owner) return user;
    }
    return at->second.members.begin()->first;
  }

  void say(Feed& feed) {
    const ConversationId where = known(feed);
    const UserId who = below(4) == 0 ? someone() : one_who_may(feed, where);
    switch (below(16)) {
      case 0: {  // a user's conversations are in one of the feeds: by parity, as a partition would be
        const UserId peer = someone();
        const ConversationId id = chat::direct_conversation(who, peer);
        if (id.bytes[0] % 2 == feed.partition().value) feed.send(id, who, "hello", peer);
        return;
      }
      case 1:
        if (feed.states().size() < 8) feed.group(who, {someone(), someone()});
        return;
      case 2:
        feed.add(where, who, someone());
        return;
      case 3:
        feed.remove(where, who, someone());
        return;
      case 4:
        feed.open_past(where, who, below(2) == 0);
        return;
      case 5:
        feed.say(where, someone(), chat::op::Leave{}, feed.fresh());
        return;
      case 6:
        feed.say(where, who, chat::op::MarkRead{some_seq(), MessageNumber{below(8)}});
        return;
      case 7:
        feed.say(where, who, chat::op::Delivered{some_seq()});
        return;
      case 8:
        feed.say(where, who, chat::op::Schedule{std::nullopt, "later", TimeMs{below(1'000)}}, feed.fresh());
        return;
      case 9:
      case 10: {
        const auto due = writers_[0]->due(feed.partition(), TimeMs{1'000}, 1);
        if (!due || due->empty()) return;
        const StoredSchedule& schedule = due->front();
        if (below(2) == 0)
          feed.say(schedule.conversation, schedule.user, chat::op::Fire{schedule.body}, schedule.id, schedule.payload_hash);
        else
          feed.say(schedule.conversation, schedule.user, chat::op::Cancel{schedule.id});
        return;
      }
      case 11:
        feed.say(where, who, chat::op::SetRole{someone(), static_cast<chat::Role>(1 + below(3))}, feed.fresh());
        return;
      case 12:
        feed.say(where, who, chat::op::Block{below(2) == 0});
        return;
      case 13:
        feed.say(where, who, chat::op::Mute{someone(), TimeMs{0}, below(2) == 0}, feed.fresh());
        return;
      default:
        ids_.push_back({where, who, feed.fresh()});
        feed.say(where, who, chat::op::Send{std::nullopt, "text", false}, ids_.back().id, 1 + below(9));
    }
  }

  template <class T, class Call>
  void same(std::string what, Call call) {
    const auto a = one_.wait<T>([&](Callback<T> done) { call(one_.reader(), std::move(done)); });
    const auto b = other_.wait<T>([&](Callback<T> done) { call(other_.reader(), std::move(done)); });
    ASSERT_TRUE(a && b) << what << ": " << (a ? "" : a.error().message) << (b ? "" : b.error().message);
    EXPECT_EQ(show(*a), show(*b)) << what;
  }

  void read() {
    const UserId who = someone();
    const ConversationId where = anywhere();
    switch (below(9)) {
      case 0: {
        HistoryQuery query{who, where, {}, {}, {}, static_cast<std::uint32_t>(1 + below(8))};
        if (below(3) == 0) query.before = some_seq();
        if (below(3) == 0) query.after = some_seq();
        if (below(3) == 0) query.around = some_seq();
        return same<Snapshot<HistoryResult>>("history", [&](Reader& reader, auto done) { reader.history(query, std::move(done)); });
      }
      case 1: {
        ResumeQuery query;
        query.user = who;
        std::set<ConversationId> picked;
        for (std::uint64_t n = below(4); n > 0; --n) picked.insert(anywhere());
        for (const ConversationId& id : picked) query.cursors.push_back({id, some_seq()});
        if (below(2) == 0) query.since = Positions{Offset{below(feeds_[0].next().value + 1)}, Offset{below(feeds_[1].next().value + 1)}};
        query.want_changed = below(4) != 0;
        query.max_events = below(3) == 0 ? static_cast<std::uint32_t>(1 + below(30)) : 1'000;
        if (below(3) == 0) query.max_bytes = static_cast<std::uint32_t>(below(10'000));
        return same<Snapshot<ResumeResult>>("resume", [&](Reader& reader, auto done) { reader.resume(query, std::move(done)); });
      }
      case 2: {
        const auto limit = static_cast<std::uint32_t>(1 + below(4));
        std::string cursor;
        if (below(2) == 0) cursor = encode_cursor({TimeMs{1'000'000 + below(3'000)}, anywhere()});
        return same<Snapshot<SummaryPage>>("summaries", [&](Reader& reader, auto done) { reader.summaries(who, cursor, limit, std::move(done)); });
      }
      case 3:
        return same<Snapshot<Details>>("details", [&](Reader& reader, auto done) { reader.details(who, where, std::move(done)); });
      case 4:
        return same<Snapshot<Standing>>("standing", [&](Reader& reader, auto done) { reader.standing(who, where, std::move(done)); });
      case 5: {
        const Seq seq = some_seq();
        return same<Snapshot<MarkTarget>>("mark", [&](Reader& reader, auto done) { reader.mark_target(who, where, seq, std::move(done)); });
      }
      case 6: {
        const auto limit = static_cast<std::uint32_t>(1 + below(3));
        const std::string cursor = below(2) == 0 ? chat::to_text(someone()) : "";
        return same<Snapshot<MemberPage>>("members", [&](Reader& reader, auto done) { reader.members(who, where, cursor, limit, std::move(done)); });
      }
      case 7: {
        std::vector<LookUp> keys{{where, who, request(3)}};
        for (int n = 0; n < 3 && !ids_.empty(); ++n) keys.push_back(ids_[below(ids_.size())]);
        return same<Snapshot<std::vector<LookedUp>>>("look_up", [&](Reader& reader, auto done) { reader.look_up(keys, std::move(done)); });
      }
      default: {
        Feed& feed = feeds_[below(2)];
        const ConversationId id = known(feed);
        const Offset from{below(feed.next().value + 2)};
        return same<ColdLoad>("cold_load", [&](Reader& reader, auto done) { reader.cold_load(id, feed.partition(), from, std::move(done)); });
      }
    }
  }

  void compare_states(Feed& feed) {
    std::vector<ConversationId> ids;
    for (const auto& [id, state] : feed.states()) ids.push_back(id);
    for (auto& writer : writers_) {
      const auto loaded = writer->load(feed.partition(), feed.next(), ids);
      ASSERT_TRUE(loaded) << loaded.error().message;
      for (std::size_t i = 0; i < ids.size(); ++i) ASSERT_EQ(chat::encode_state((*loaded)[i]), chat::encode_state(feed.states().at(ids[i])));
    }
  }

  std::mt19937_64 random_;
  Bench& one_;
  Bench& other_;
  std::vector<std::unique_ptr<Writer>> writers_;
  std::array<Feed, 2> feeds_{Feed{Partition{0}, 2}, Feed{Partition{1}, 2}};
  std::vector<LookUp> ids_;
};

TEST(StoreDifferential, MemoryAndPostgresAgree) {
  const char* given = std::getenv("PARLEY_SEED");
  const std::uint64_t first = given == nullptr ? std::random_device{}() : std::strtoull(given, nullptr, 10);
  for (std::uint64_t round = 0; round < (given == nullptr ? 6 : 1) && !HasFailure(); ++round) {
    SCOPED_TRACE(fmt::format("PARLEY_SEED={}", first + round));
    MemoryBench memory;
    PostgresBench postgres;
    Round(first + round, memory, postgres).run();
  }
}

}  // namespace
}  // namespace parley::store
