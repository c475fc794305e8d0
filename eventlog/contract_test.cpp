// What eventlog/log.h promises, asked of every implementation: memory, a real Kafka, a real PostgreSQL.
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "eventlog/contract_subjects.h"

namespace parley::eventlog::test {
namespace {

constexpr Partition kFirst{0}, kSecond{1};

struct Read {
  Offset offset;
  TimeMs time;
  std::string key, value, traceparent;
};

// A reader that writes down what it is told.
class Reader final : public ConsumerEvents {
 public:
  void on_entries(Partition partition, std::span<const Entry> entries, Offset end) override {
    auto& into = read[partition];
    for (const auto& entry : entries) {
      EXPECT_GE(entry.offset, next[partition]) << "repeated or out of order";
      EXPECT_LT(entry.offset, end);
      next[partition] = entry.offset.next();
      into.push_back({entry.offset, entry.time, std::string(entry.key), std::string(entry.value), std::string(entry.traceparent)});
    }
    EXPECT_GE(end, next[partition]);
    next[partition] = end;
  }
  void on_out_of_range(Partition partition, Offset begin) override { out_of_range[partition] = begin; }
  void on_assigned(std::span<const Partition> partitions) override { assigned.insert(partitions.begin(), partitions.end()); }
  void on_lost(std::span<const Partition> partitions) override {
    for (const auto partition : partitions) assigned.erase(partition);
  }

  std::vector<std::string> values(Partition partition) {
    std::vector<std::string> out;
    for (const auto& each : read[partition]) out.push_back(each.value);
    return out;
  }

  std::map<Partition, std::vector<Read>> read;
  std::map<Partition, Offset> next;
  std::map<Partition, Offset> out_of_range;
  std::set<Partition> assigned;
};

using Outcome = std::expected<Offset, Error>;

class Contract : public testing::TestWithParam<Kind> {
 protected:
  void start(const Wish& wish = {}) {
    subject_ = make_subject(GetParam(), wish);
    log_ = connect();
  }

  std::unique_ptr<Log> connect() {
    auto log = subject_->connect();
    const auto topic = get<Topic>([&](Callback<Topic> done) { log->open(std::move(done)); });
    EXPECT_TRUE(topic) << topic.error().message;
    if (topic) topic_ = *topic;
    return log;
  }

  template <class T>
  std::expected<T, Error> get(auto ask) {
    std::optional<std::expected<T, Error>> result;
    ask(Callback<T>([&](std::expected<T, Error> told) { result = std::move(told); }));
    EXPECT_FALSE(result) << "answered within the call";
    EXPECT_TRUE(subject_->until([&] { return result.has_value(); }));
    if (result && !*result) ADD_FAILURE() << result->error().message;
    return result.value_or(std::unexpected(Error{Errc::unavailable, "no answer"}));
  }
  std::vector<Offset> ends() {
    return get<std::vector<Offset>>([&](auto done) { log_->ends(std::move(done)); }).value();
  }
  std::vector<Offset> begins() {
    return get<std::vector<Offset>>([&](auto done) { log_->begins(std::move(done)); }).value();
  }
  std::vector<std::optional<Offset>> committed(const std::string& group) {
    return get<std::vector<std::optional<Offset>>>([&](auto done) { log_->committed(group, std::move(done)); }).value();
  }

  // Produces `values`, one outcome each.
  void produce(Producer& producer, Partition partition, const std::vector<std::string>& values, std::vector<std::optional<Outcome>>& outcomes) {
    const auto base = outcomes.size();
    outcomes.resize(base + values.size());
    for (std::size_t i = 0; i < values.size(); ++i) {
      const auto taken =
          producer.produce(partition, "key-" + values[i], values[i], i % 2 ? "trace-" + values[i] : "", [&outcomes, at = base + i](Outcome outcome) {
            EXPECT_FALSE(outcomes[at]) << "told twice";
            outcomes[at] = std::move(outcome);
          });
      EXPECT_TRUE(taken) << taken.error().message;
    }
  }
  std::vector<Offset> produce_all(Producer& producer, Partition partition, const std::vector<std::string>& values) {
    std::vector<std::optional<Outcome>> outcomes;
    produce(producer, partition, values, outcomes);
    EXPECT_TRUE(subject_->until([&] { return std::ranges::all_of(outcomes, [](const auto& outcome) { return outcome.has_value(); }); }));
    std::vector<Offset> offsets;
    for (auto& outcome : outcomes) {
      EXPECT_TRUE(*outcome) << outcome->error().message;
      offsets.push_back(outcome->value_or(Offset{}));
    }
    return offsets;
  }
  static std::vector<std::string> numbered(const std::string& prefix, int count) {
    std::vector<std::string> out;
    for (int i = 0; i < count; ++i) out.push_back(fmt::format("{}{:05}", prefix, i));
    return out;
  }

  std::unique_ptr<Subject> subject_;
  std::unique_ptr<Log> log_;
  Topic topic_;
};

TEST_P(Contract, TellsItsTopic) {
  start({.partitions = 3});
  EXPECT_EQ(topic_.partitions, 3u);
  EXPECT_FALSE(topic_.id.empty());
  const auto id = topic_.id;
  const auto again = connect();
  EXPECT_EQ(topic_.id, id);
}

TEST_P(Contract, KeepsTheOrderOfAProducer) {
  start();
  Reader reader;
  const auto consumer = log_->consumer({.group = "order"}, reader);
  consumer->start(kFirst, Offset{0});
  const auto producer = log_->producer();
  const auto values = numbered("v", 3'000);
  const auto offsets = produce_all(*producer, kFirst, values);
  EXPECT_TRUE(std::ranges::is_sorted(offsets, std::less_equal())) << "acknowledged out of order";
  ASSERT_TRUE(subject_->until([&] { return reader.read[kFirst].size() >= values.size(); }));
  EXPECT_EQ(reader.values(kFirst), values);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto& read = reader.read[kFirst][i];
    EXPECT_EQ(read.offset, offsets[i]);
    EXPECT_EQ(read.key, "key-" + values[i]);
    EXPECT_EQ(read.traceparent, i % 2 ? "trace-" + values[i] : "");
  }
  EXPECT_TRUE(std::ranges::is_sorted(reader.read[kFirst], {}, &Read::time));
  EXPECT_GT(reader.read[kFirst].front().time.value, 1'600'000'000'000u);
  EXPECT_EQ(reader.next[kFirst], ends()[0]);
}

TEST_P(Contract, KeepsBytesAsTheyAre) {
  start();
  const auto producer = log_->producer();
  std::string value;
  for (int i = 0; i < 1'024; ++i) value.push_back(static_cast<char>(i));
  produce_all(*producer, kSecond, {value, ""});
  Reader reader;
  const auto consumer = log_->consumer({.group = "bytes"}, reader);
  consumer->start(kSecond, Offset{0});
  ASSERT_TRUE(subject_->until([&] { return reader.read[kSecond].size() == 2; }));
  EXPECT_EQ(reader.values(kSecond), (std::vector<std::string>{value, ""}));
}

// R13: an offset becomes visible only after every lower one, whoever wrote it.
TEST_P(Contract, ReadersSeeAPrefixWithoutHoles) {
  start();
  Reader reader;
  const auto consumer = log_->consumer({.group = "holes"}, reader);
  consumer->start(kFirst, Offset{0});
  const auto other = connect();
  const auto one = log_->producer();
  const auto two = other->producer();
  const auto a = numbered("a", 2'000), b = numbered("b", 2'000);
  std::vector<std::optional<Outcome>> ack_a, ack_b;
  ack_a.reserve(a.size());
  ack_b.reserve(b.size());
  for (std::size_t i = 0; i < a.size(); i += 100) {
    produce(*one, kFirst, {a.begin() + static_cast<std::ptrdiff_t>(i), a.begin() + static_cast<std::ptrdiff_t>(i) + 100}, ack_a);
    produce(*two, kFirst, {b.begin() + static_cast<std::ptrdiff_t>(i), b.begin() + static_cast<std::ptrdiff_t>(i) + 100}, ack_b);
    subject_->turn();
  }
  ASSERT_TRUE(subject_->until([&] { return reader.read[kFirst].size() >= a.size() + b.size(); })) << reader.read[kFirst].size();
  std::map<std::string, Offset> seen;
  std::vector<std::string> from_a, from_b;
  for (const auto& read : reader.read[kFirst]) {
    seen[read.value] = read.offset;
    (read.value[0] == 'a' ? from_a : from_b).push_back(read.value);
  }
  EXPECT_EQ(from_a, a);
  EXPECT_EQ(from_b, b);
  EXPECT_TRUE(std::ranges::is_sorted(reader.read[kFirst], {}, &Read::time));
  ASSERT_TRUE(subject_->until(
      [&] { return std::ranges::all_of(ack_a, [](auto& x) { return x.has_value(); }) && std::ranges::all_of(ack_b, [](auto& x) { return x.has_value(); }); }));
  for (std::size_t i = 0; i < a.size(); ++i) EXPECT_EQ(seen[a[i]], ack_a[i]->value());
  for (std::size_t i = 0; i < b.size(); ++i) EXPECT_EQ(seen[b[i]], ack_b[i]->value());
}

// R14: what was acknowledged before the question lies below the answer.
TEST_P(Contract, EndsAreABarrier) {
  start();
  const auto producer = log_->producer();
  EXPECT_EQ(ends(), std::vector<Offset>(4, Offset{0}));
  for (int i = 0; i < 20; ++i) {
    const auto offset = produce_all(*producer, kSecond, {"x"}).front();
    EXPECT_EQ(ends()[1], offset.next());
  }
  EXPECT_EQ(ends()[0], Offset{0});
}

TEST_P(Contract, EveryAskerOfEndsIsAnswered) {
  start();
  int answers = 0;
  for (int i = 0; i < 1'000; ++i)
    log_->ends([&](auto result) {
      EXPECT_TRUE(result) << result.error().message;
      ++answers;
    });
  EXPECT_TRUE(subject_->until([&] { return answers == 1'000; }));
}

TEST_P(Contract, TrimsFromTheBegin) {
  start();
  const auto producer = log_->producer();
  produce_all(*producer, kFirst, numbered("v", 10));
  EXPECT_EQ(begins(), std::vector<Offset>(4, Offset{0}));
  EXPECT_TRUE(get<void>([&](auto done) { log_->trim(kFirst, Offset{4}, std::move(done)); }));
  EXPECT_EQ(begins()[0], Offset{4});
  EXPECT_EQ(ends()[0], Offset{10});
  // Not back.
  get<void>([&](auto done) { log_->trim(kFirst, Offset{2}, std::move(done)); });
  EXPECT_EQ(begins()[0], Offset{4});

  Reader reader;
  const auto consumer = log_->consumer({.group = "trim"}, reader);
  consumer->start(kFirst, Offset{4});
  ASSERT_TRUE(subject_->until([&] { return reader.read[kFirst].size() == 6; }));
  EXPECT_EQ(reader.read[kFirst].front().value, "v00004");
}

TEST_P(Contract, TellsTheFirstEntrySinceATime) {
  start();
  const auto since = [&](TimeMs time) { return get<std::vector<std::optional<Offset>>>([&](auto done) { log_->since(time, std::move(done)); }).value(); };
  using Found = std::vector<std::optional<Offset>>;
  EXPECT_EQ(since(TimeMs{1}), Found(4));
  const auto producer = log_->producer();
  produce_all(*producer, kFirst, numbered("v", 10));
  Reader reader;
  const auto consumer = log_->consumer({.group = "since"}, reader);
  consumer->start(kFirst, Offset{0});
  ASSERT_TRUE(subject_->until([&] { return reader.read[kFirst].size() == 10; }));
  const TimeMs before = reader.read[kFirst].back().time;
  while (reader.read[kFirst].back().time == before) {  // until the clock has moved
    produce_all(*producer, kFirst, {"later"});
    ASSERT_TRUE(subject_->until([&] { return reader.next[kFirst] == ends()[0]; }));
  }
  const auto& later = reader.read[kFirst].back();
  EXPECT_EQ(since(TimeMs{1}), (Found{Offset{0}, {}, {}, {}}));
  EXPECT_EQ(since(TimeMs{before.value + 1})[0], later.offset);
  EXPECT_EQ(since(later.time)[0], later.offset);
  EXPECT_EQ(since(TimeMs{later.time.value + 3'600'000}), Found(4));
  ASSERT_TRUE(get<void>([&](auto done) { log_->trim(kFirst, Offset{5}, std::move(done)); }));
  EXPECT_EQ(since(TimeMs{1})[0], Offset{5});
}

TEST_P(Contract, TellsAnOffsetOutOfRange) {
  start();
  const auto producer = log_->producer();
  produce_all(*producer, kFirst, numbered("v", 10));
  produce_all(*producer, kSecond, numbered("v", 10));
  ASSERT_TRUE(get<void>([&](auto done) { log_->trim(kFirst, Offset{5}, std::move(done)); }));
  Reader reader;
  const auto consumer = log_->consumer({.group = "range"}, reader);
  consumer->start(kFirst, Offset{2});     // below the begin
  consumer->start(kSecond, Offset{500});  // beyond the end
  ASSERT_TRUE(subject_->until([&] { return reader.out_of_range.size() == 2; }));
  EXPECT_EQ(reader.out_of_range[kFirst], Offset{5});
  EXPECT_EQ(reader.out_of_range[kSecond], Offset{0});
  EXPECT_TRUE(reader.read.empty());
  consumer->start(kFirst, Offset{5});
  ASSERT_TRUE(subject_->until([&] { return reader.read[kFirst].size() == 5; }));
}

TEST_P(Contract, CommitsAGroupsOffsets) {
  start();
  Reader reader;
  EXPECT_EQ(committed("mine"), std::vector<std::optional<Offset>>(4));
  const auto consumer = log_->consumer({.group = "mine"}, reader);
  consumer->commit(kFirst, Offset{3});
  consumer->commit(kSecond, Offset{4});
  consumer->commit(kFirst, Offset{7});
  EXPECT_TRUE(subject_->until([&] { return committed("mine")[0] == Offset{7} && committed("mine")[1] == Offset{4}; }));
  EXPECT_EQ(committed("mine")[2], std::nullopt);
  consumer->commit(kFirst, Offset{2});  // any router may commit anything (R20)
  EXPECT_TRUE(subject_->until([&] { return committed("mine")[0] == Offset{2}; }));
  EXPECT_EQ(committed("other")[0], std::nullopt);
}

TEST_P(Contract, RefusesWhenTheQueueIsFull) {
  start({.queue_entries = 50});
  const auto producer = log_->producer();
  int taken = 0, told = 0;
  std::expected<void, Error> last;
  while (taken < 1'000 && (last = producer->produce(
                               kFirst, "k", "v", "",
                               [&](auto outcome) {
                                 EXPECT_TRUE(outcome);
                                 ++told;
                               })))
    ++taken;
  EXPECT_EQ(taken, 50);
  ASSERT_FALSE(last);
  EXPECT_EQ(last.error().code, Errc::queue_full);
  ASSERT_TRUE(subject_->until([&] { return told == taken; }));
  produce_all(*producer, kFirst, {"again"});
  EXPECT_EQ(ends()[0], Offset{51}) << "what was refused must not land";
}

TEST_P(Contract, RefusesWhatIsTooLarge) {
  start({.entry_bytes = 1'000});
  const auto producer = log_->producer();
  const auto taken = producer->produce(kFirst, "k", std::string(1'001, 'x'), "", [](auto) { ADD_FAILURE() << "told"; });
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().code, Errc::too_large);
  produce_all(*producer, kFirst, {std::string(400, 'x')});
}

// R24: every attempt is answered once; what lands all the same is the first of them, in order, before what is sent later.
TEST_P(Contract, PurgeAnswersEverythingOfAPartition) {
  start();
  const auto producer = log_->producer();
  produce_all(*producer, kFirst, {"before"});
  std::vector<std::optional<Outcome>> purged, kept;
  purged.reserve(200);
  const auto values = numbered("p", 200);
  produce(*producer, kFirst, values, purged);
  produce(*producer, kSecond, numbered("k", 20), kept);
  producer->purge(kFirst);
  ASSERT_TRUE(subject_->until([&] { return std::ranges::all_of(purged, [](auto& x) { return x.has_value(); }); }));
  for (auto& outcome : purged) {
    ASSERT_FALSE(*outcome);
    EXPECT_EQ(outcome->error().code, Errc::purged);
  }
  ASSERT_TRUE(subject_->until([&] { return std::ranges::all_of(kept, [](auto& x) { return x.has_value(); }); }));
  for (auto& outcome : kept) EXPECT_TRUE(*outcome) << "another partition's";
  const auto after = produce_all(*producer, kFirst, {"after"}).front();
  Reader reader;
  const auto consumer = log_->consumer({.group = "purge"}, reader);
  consumer->start(kFirst, Offset{0});
  ASSERT_TRUE(subject_->until([&] { return reader.next[kFirst] > after; }));
  auto landed = reader.values(kFirst);
  ASSERT_EQ(landed.front(), "before");
  ASSERT_EQ(landed.back(), "after");
  const std::vector<std::string> between(landed.begin() + 1, landed.end() - 1);
  EXPECT_TRUE(std::ranges::equal(between, std::span(values).first(between.size())));
}

TEST_P(Contract, FlushWaitsForWhatWasProducedBefore) {
  start();
  const auto producer = log_->producer();
  bool empty = false;
  producer->flush([&] { empty = true; });
  EXPECT_FALSE(empty);
  ASSERT_TRUE(subject_->until([&] { return empty; }));
  std::vector<std::optional<Outcome>> outcomes;
  produce(*producer, kFirst, numbered("v", 100), outcomes);
  produce(*producer, kSecond, numbered("v", 100), outcomes);
  bool flushed = false;
  producer->flush([&] {
    flushed = true;
    EXPECT_TRUE(std::ranges::all_of(outcomes, [](auto& x) { return x.has_value(); }));
  });
  ASSERT_TRUE(subject_->until([&] { return flushed; }));
}

TEST_P(Contract, PausesAndResumesWithoutLossOrRepeat) {
  start();
  const auto producer = log_->producer();
  Reader reader;
  const auto consumer = log_->consumer({.group = "pause"}, reader);
  consumer->start(kFirst, Offset{0});
  consumer->start(kSecond, Offset{0});
  produce_all(*producer, kFirst, numbered("a", 100));
  ASSERT_TRUE(subject_->until([&] { return reader.read[kFirst].size() == 100; }));
  consumer->pause(kFirst);
  produce_all(*producer, kFirst, numbered("b", 500));
  produce_all(*producer, kSecond, numbered("c", 100));
  ASSERT_TRUE(subject_->until([&] { return reader.read[kSecond].size() == 100; }));
  EXPECT_EQ(reader.read[kFirst].size(), 100u) << "read while paused";
  consumer->resume(kFirst);
  ASSERT_TRUE(subject_->until([&] { return reader.read[kFirst].size() == 600; }));
  // In the middle of a stream of entries too.
  for (int round = 0; round < 20; ++round) {
    std::vector<std::optional<Outcome>> outcomes;
    produce(*producer, kFirst, numbered(fmt::format("r{}-", round), 50), outcomes);
    subject_->turn();
    consumer->pause(kFirst);
    subject_->turn();
    consumer->resume(kFirst);
    ASSERT_TRUE(subject_->until([&] { return std::ranges::all_of(outcomes, [](auto& x) { return x.has_value(); }); }));
  }
  ASSERT_TRUE(subject_->until([&] { return reader.read[kFirst].size() == 1'600; })) << reader.read[kFirst].size();
  EXPECT_EQ(reader.next[kFirst], Offset{1'600});
}

TEST_P(Contract, StartsAgainElsewhereAndStops) {
  start();
  const auto producer = log_->producer();
  produce_all(*producer, kFirst, numbered("v", 100));
  Reader reader;
  const auto consumer = log_->consumer({.group = "again"}, reader);
  consumer->start(kFirst, Offset{60});
  ASSERT_TRUE(subject_->until([&] { return reader.read[kFirst].size() == 40; }));
  reader = {};
  consumer->start(kFirst, Offset{10});
  ASSERT_TRUE(subject_->until([&] { return reader.read[kFirst].size() == 90; }));
  EXPECT_EQ(reader.read[kFirst].front().offset, Offset{10});
  consumer->stop(kFirst);
  produce_all(*producer, kFirst, {"unseen"});
  consumer->start(kSecond, Offset{0});
  produce_all(*producer, kSecond, {"seen"});
  ASSERT_TRUE(subject_->until([&] { return reader.read[kSecond].size() == 1; }));
  EXPECT_EQ(reader.read[kFirst].size(), 90u);
}

TEST_P(Contract, TellsNothingAfterItsEnd) {
  start();
  auto producer = log_->producer();
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(producer->produce(kFirst, "k", "v", "", [](auto) { ADD_FAILURE() << "told"; }));
  producer.reset();
  Reader reader;
  auto consumer = log_->consumer({.group = "end"}, reader);
  consumer->start(kFirst, Offset{0});
  consumer.reset();
  auto other = connect();
  other->ends([](auto) { ADD_FAILURE() << "told"; });
  other->committed("end", [](auto) { ADD_FAILURE() << "told"; });
  other.reset();
  ends();
  EXPECT_TRUE(reader.read.empty());
}

// Group mode, where a group can be joined without a schedule's help.
class Group : public Contract {};

TEST_P(Group, ReadsNothingBeforeStart) {
  start();
  const auto producer = log_->producer();
  for (std::uint32_t p = 0; p < 4; ++p) produce_all(*producer, Partition{p}, numbered("v", 10));
  Reader reader;
  const auto consumer = log_->consumer({.group = "joined", .join = true}, reader);
  ASSERT_TRUE(subject_->until([&] { return reader.assigned.size() == 4; }));
  EXPECT_TRUE(reader.read.empty());
  consumer->start(kSecond, Offset{3});
  ASSERT_TRUE(subject_->until([&] { return reader.read[kSecond].size() == 7; }));
  consumer->start(kFirst, Offset{5});
  ASSERT_TRUE(subject_->until([&] { return reader.read[kFirst].size() == 5; }));
  EXPECT_EQ(reader.read[kSecond].size(), 7u) << "another start must not disturb";
  EXPECT_EQ(reader.read.size(), 2u) << "read without having been started";
  consumer->commit(kFirst, Offset{10});
  EXPECT_TRUE(subject_->until([&] { return committed("joined")[0] == Offset{10}; }));
  consumer->pause(kFirst);
  produce_all(*producer, kFirst, {"paused"});
  produce_all(*producer, kSecond, {"read"});
  ASSERT_TRUE(subject_->until([&] { return reader.read[kSecond].size() == 8; }));
  EXPECT_EQ(reader.read[kFirst].size(), 5u);
  consumer->resume(kFirst);
  ASSERT_TRUE(subject_->until([&] { return reader.read[kFirst].size() == 6; }));
}

// librdkafka ends the process when a partition is taken away twice before the first has got through (its issue 5573).
TEST_P(Group, StartsPausesAndResumesInQuickSuccession) {
  start();
  const auto producer = log_->producer();
  for (std::uint32_t p = 0; p < 4; ++p) produce_all(*producer, Partition{p}, numbered("v", 10));
  Reader reader;
  const auto consumer = log_->consumer({.group = "quick", .join = true}, reader);
  ASSERT_TRUE(subject_->until([&] { return reader.assigned.size() == 4; }));
  for (int round = 0; round < 500; ++round) {
    const Partition p{static_cast<std::uint32_t>(round % 4)};
    if (round < 4)
      consumer->start(p, Offset{0});
    else if (round % 3 == 0)
      consumer->pause(p);
    else
      consumer->resume(p);
    subject_->turn();
  }
  for (std::uint32_t p = 0; p < 4; ++p) consumer->resume(Partition{p});
  ASSERT_TRUE(
      subject_->until([&] { return reader.read.size() == 4 && std::ranges::all_of(reader.read, [](auto& each) { return each.second.size() == 10; }); }));
}

// What was fetched for the old place and not told yet never counts as what follows the new one.
TEST_P(Group, StartsAgainElsewhereWhileReading) {
  start();
  const auto producer = log_->producer();
  produce_all(*producer, kFirst, numbered("v", 5'000));
  Reader reader;
  const auto consumer = log_->consumer({.group = "restarted", .join = true}, reader);
  ASSERT_TRUE(subject_->until([&] { return reader.assigned.size() == 4; }));
  for (int round = 0; round < 200; ++round) {
    reader.read.clear();
    reader.next.clear();
    consumer->start(kFirst, Offset{0});
    for (int turns = 0; turns < round % 20; ++turns) subject_->turn();
    const auto& read = reader.read[kFirst];
    for (std::size_t i = 0; i < read.size(); ++i) ASSERT_EQ(read[i].offset, Offset{i}) << "skipped in round " << round;
  }
  ASSERT_TRUE(subject_->until([&] { return reader.read[kFirst].size() == 5'000; }));
}

class KafkaGroup : public Contract {};

TEST_P(KafkaGroup, TellsWhenAnotherTookItsMembership) {
  start();
  class Fenced final : public ConsumerEvents {
   public:
    void on_entries(Partition, std::span<const Entry>, Offset) override {}
    void on_out_of_range(Partition, Offset) override {}
    void on_assigned(std::span<const Partition> partitions) override { assigned += partitions.size(); }
    void on_failed(const std::string& told) override { why = told; }
    std::size_t assigned = 0;
    std::string why;
  } first, second;
  const auto one = log_->consumer({.group = "fenced", .join = true, .member = "same"}, first);
  ASSERT_TRUE(subject_->until([&] { return first.assigned == 4; }));
  const auto other = connect();
  const auto two = other->consumer({.group = "fenced", .join = true, .member = "same"}, second);
  ASSERT_TRUE(subject_->until([&] { return !first.why.empty(); }));
  ASSERT_TRUE(subject_->until([&] { return second.assigned == 4; }));
  EXPECT_EQ(second.why, "");
}

TEST_P(KafkaGroup, SharesPartitionsAndTakesThemOver) {
  start();
  Reader first, second;
  const auto one = log_->consumer({.group = "shared", .join = true}, first);
  ASSERT_TRUE(subject_->until([&] { return first.assigned.size() == 4; }));
  one->start(kFirst, Offset{0});
  const auto other = connect();
  auto two = other->consumer({.group = "shared", .join = true}, second);
  ASSERT_TRUE(subject_->until([&] { return first.assigned.size() == 2 && second.assigned.size() == 2; }));
  two.reset();  // leaves
  ASSERT_TRUE(subject_->until([&] { return first.assigned.size() == 4; }));
}

std::string name_of(const testing::TestParamInfo<Kind>& info) {
  switch (info.param) {
    case Kind::memory:
      return "memory";
    case Kind::kafka:
      return "kafka";
    case Kind::postgres:
      return "postgres";
  }
  return "unknown";
}

INSTANTIATE_TEST_SUITE_P(Log, Contract, testing::Values(Kind::memory, Kind::kafka, Kind::postgres), name_of);
INSTANTIATE_TEST_SUITE_P(Log, Group, testing::Values(Kind::kafka, Kind::postgres), name_of);
INSTANTIATE_TEST_SUITE_P(Log, KafkaGroup, testing::Values(Kind::kafka), name_of);

}  // namespace
}  // namespace parley::eventlog::test
