// The persister over a real log and a real PostgreSQL: whatever fails, PostgreSQL ends up as the fold of the log, exactly once.
#include "persister/service.h"

#include <gtest/gtest.h>

#include <atomic>
#include <csignal>
#include <limits>
#include <set>
#include <utility>

#include "chat/record.h"
#include "eventlog/kafka/kafka_log.h"
#include "runtime/postgres/connection.h"
#include "store/contract_feed.h"
#include "store/postgres/rows.h"
#include "store/postgres/schema.h"
#include "store/postgres/writer.h"
#include "tests/services/services.h"

namespace parley::persister {
namespace {

using runtime::postgres::Connection;
using runtime::postgres::Params;
using store::user;

constexpr std::uint32_t kPartitions = 2;

// The real writer, whose n-th commit is made and then not told: what a process that dies right then leaves behind.
class Forgetful final : public store::Writer {
 public:
  Forgetful(std::string dsn, int nth) : real_(std::move(dsn)), left_(nth) {}
  store::Result<std::vector<Offset>> open(std::string_view topic, std::uint32_t partitions) override { return real_.open(topic, partitions); }
  store::Result<Offset> position(Partition partition) override {
    if (forgot && stay_dumb) return std::unexpected(store::Error{store::Errc::unavailable, "dumb"});
    return real_.position(partition);
  }
  store::Result<std::vector<chat::ConversationState>> load(Partition partition, Offset at, const std::vector<chat::ConversationId>& ids) override {
    return real_.load(partition, at, ids);
  }
  store::Result<void> commit(const store::Batch& batch) override {
    auto done = real_.commit(batch);
    if (!done || --left_ != 0) return done;
    forgot = true;
    return std::unexpected(store::Error{store::Errc::unavailable, "the answer is lost"});
  }
  void on_quarantined(std::move_only_function<void(Partition, const store::StoredEvent&, std::string_view)> told) override {
    real_.on_quarantined(std::move(told));
  }
  store::Result<std::vector<store::StoredSchedule>> due(Partition partition, chat::TimeMs now, std::size_t limit) override {
    return real_.due(partition, now, limit);
  }
  std::atomic<bool> forgot = false;
  bool stay_dumb = false;

 private:
  store::postgres::Writer real_;
  int left_;
};

class ServiceTest : public ::testing::Test {
 protected:
  bool run_until(const std::function<bool()>& done) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(90);  // a consumer group may take long to form on a busy machine
    while (!done() && std::chrono::steady_clock::now() < deadline) io_.run_one_for(std::chrono::milliseconds(20));
    return done();
  }

  std::unique_ptr<Service> service(std::string group = "persister", std::unique_ptr<store::Writer> writer = nullptr) {
    ServiceSettings settings;
    settings.worker.batch_rows = 50;
    settings.worker.batch_wait_ms = 1;
    settings.group = std::move(group);
    settings.due_every_ms = due_every_ms_;
    settings.keep_hours = 1;
    settings.trim_every_ms = 50;
    if (!writer) writer = std::make_unique<store::postgres::Writer>(dsn_);
    auto made = std::make_unique<Service>(
        settings, ServicePorts{.io = io_,
                               .log = *log_,
                               .writer = std::move(writer),
                               .prepare = [dsn = dsn_]() -> store::Result<void> {
                                 if (auto there = store::postgres::migrate(dsn); !there) return std::unexpected(there.error());
                                 return {};
                               },
                               .clock = clock_,
                               .metrics = metrics_,
                               .health = health_,
                               .dead_letter = [this](Partition, const store::StoredEvent& event, const std::string&) { dead_.push_back(event.event.body); }});
    made->start();
    return made;
  }

  Partition partition_of(chat::ConversationId id) { return chat::partition_of(id, kPartitions); }
  chat::ConversationId conversation(std::uint64_t n) { return chat::direct_conversation(user(n), user(n + 1)); }

  void produce(const chat::Record& record) {
    ++asked_;
    const auto taken = producer_->produce(partition_of(record.conversation), chat::to_text(record.conversation), chat::encode_record(record), "",
                                          [this](const std::expected<Offset, eventlog::Error>& done) {
                                            ASSERT_TRUE(done) << done.error().message;
                                            ++acked_;
                                          });
    ASSERT_TRUE(taken);
  }
  chat::Record record(std::uint64_t n, chat::Operation op) {
    chat::Record out;
    out.conversation = conversation(n);
    out.actor = user(n);
    out.device = "phone";
    out.id = store::request(++ids_);
    out.since = {std::numeric_limits<std::uint32_t>::max()};  // every id here is new (R8)
    out.op = std::move(op);
    return out;
  }
  void send(std::uint64_t n, std::string body) {
    const auto record_of = record(n, chat::op::Send{user(n + 1), body, false});
    sent_[record_of.conversation].push_back(body);
    produce(record_of);
  }
  void send_many(std::size_t count, std::uint64_t conversations) {
    for (std::size_t i = 0; i < count; ++i) send(10 * (i % conversations), "text " + std::to_string(i));
  }
  std::vector<Offset> positions() {
    std::vector<Offset> out;
    auto connection = Connection::open(dsn_);
    if (!connection) return out;
    auto rows = connection->query("select next_offset from positions order by partition");
    for (int i = 0; rows && i < rows->size(); ++i) out.push_back({(*rows)[i].u8(0)});
    return out;
  }
  // All that was sent is in the log, and PostgreSQL's position is behind it.
  bool all_stored() {
    if (!run_until([&] { return acked_ == asked_; })) return false;
    // A broker on a busy machine may not answer in time: then it is asked again. Nothing known must not compare equal to nothing stored.
    std::vector<Offset> ends;
    for (bool asking = false; ends.empty();) {
      if (!std::exchange(asking, true)) {
        log_->ends([&](auto told) {
          if (told) ends = *told;
          asking = false;
        });
      }
      if (!run_until([&] { return !asking; })) return false;
    }
    return run_until([&] { return positions() == ends; });
  }

  // Exactly what was sent, once, in order, with a chain that holds.
  void expect_exactly_once() {
    auto connection = Connection::open(dsn_);
    ASSERT_TRUE(connection);
    auto rows = connection->query("select " PARLEY_EVENT_COLUMNS " from events e order by e.conversation, e.seq");
    ASSERT_TRUE(rows) << rows.error().message;
    std::map<chat::ConversationId, std::vector<std::string>> found;
    chat::Digest chain{};
    for (int i = 0; i < rows->size(); ++i) {
      const store::StoredEvent stored = store::postgres::read_event((*rows)[i]);
      auto& bodies = found[stored.event.conversation];
      if (bodies.empty()) chain = {};
      ASSERT_EQ(stored.event.seq.value, bodies.size() + 1);
      chain = chat::chain_next(chain, stored.event);
      ASSERT_EQ(stored.event.chain, chain);
      bodies.push_back(stored.event.body);
    }
    EXPECT_EQ(found, sent_);
    auto lasts = connection->query("select id, last_seq from conversations");
    ASSERT_EQ(lasts->size(), static_cast<int>(sent_.size()));
    for (int i = 0; i < lasts->size(); ++i) EXPECT_EQ((*lasts)[i].u8(1), sent_[{(*lasts)[i].uuid(0)}].size());
  }
  void sql(const std::string& text, const std::string& dsn) {
    auto connection = Connection::open(dsn);
    ASSERT_TRUE(connection) << connection.error().message;
    const auto done = connection->script(text);
    ASSERT_TRUE(done) << done.error().message;
  }

  boost::asio::io_context io_;
  std::string dsn_ = test::fresh_database("persister");
  eventlog::kafka::Settings kafka_{.bootstrap = test::services().bootstrap, .topic = test::fresh_topic("persister", kPartitions)};
  std::unique_ptr<eventlog::Log> log_ = eventlog::kafka::make_log(kafka_, io_);
  std::unique_ptr<eventlog::Producer> producer_ = log_->producer();
  class Shifted final : public runtime::Clock {
   public:
    chat::TimeMs wall() const override { return {real_.wall().value + ahead_ms.load()}; }
    chat::TimeMs steady() const override { return real_.steady(); }
    std::atomic<std::uint64_t> ahead_ms = 0;

   private:
    runtime::SystemClock real_;
  } clock_;
  runtime::Metrics metrics_{"persister", "test"};
  runtime::Health health_{clock_};
  runtime::Counter lost_ = metrics_.counter("parley_persister_lost_total", "Batches lost to a rival by the compare-and-set.");
  std::vector<std::string> dead_;
  std::map<chat::ConversationId, std::vector<std::string>> sent_;
  std::size_t asked_ = 0, acked_ = 0;
  std::uint32_t due_every_ms_ = 50;
  std::uint64_t ids_ = 0;
};

TEST_F(ServiceTest, StoresCommitsAndLeavesCleanly) {
  auto one = service();
  send_many(500, 7);
  ASSERT_TRUE(all_stored());
  expect_exactly_once();
  EXPECT_TRUE(health_.unready().empty());
  send_many(100, 7);
  bool stopped = false;
  one->stop([&] { stopped = true; });
  ASSERT_TRUE(run_until([&] { return stopped; }));
  EXPECT_FALSE(health_.unready().empty());
  // What was stored before is behind the group's offsets (R17), and a successor goes on from the store's position.
  std::vector<std::optional<Offset>> wanted;
  for (const Offset position : positions()) wanted.emplace_back(position);
  EXPECT_TRUE(run_until([&] {
    std::optional<std::vector<std::optional<Offset>>> committed;
    log_->committed("persister", [&](auto told) { committed = told.value_or(std::vector<std::optional<Offset>>{}); });
    return run_until([&] { return committed.has_value(); }) && *committed == wanted;
  }));
  one = service();
  ASSERT_TRUE(all_stored());
  expect_exactly_once();
}

TEST_F(ServiceTest, KilledBetweenCommitAndOffsetCommit) {
  auto writer = std::make_unique<Forgetful>(dsn_, 2);
  Forgetful& forgetful = *writer;
  forgetful.stay_dumb = true;
  auto one = service("persister", std::move(writer));
  send_many(400, 5);
  ASSERT_TRUE(run_until([&] { return forgetful.forgot.load(); }));
  one.reset();  // dies here: PostgreSQL knows more than Kafka's offsets say
  one = service();
  ASSERT_TRUE(all_stored());
  expect_exactly_once();
}

TEST_F(ServiceTest, ALostAnswerIsNotWrittenTwice) {
  auto writer = std::make_unique<Forgetful>(dsn_, 3);
  Forgetful& forgetful = *writer;
  auto one = service("persister", std::move(writer));
  send_many(400, 5);
  ASSERT_TRUE(all_stored());
  EXPECT_TRUE(forgetful.forgot);
  expect_exactly_once();
}

TEST_F(ServiceTest, TwoRivalsStoreEverythingOnce) {
  auto one = service("rival-a"), two = service("rival-b");  // groups of their own: both own every partition
  ASSERT_TRUE(run_until([&] { return positions().size() == kPartitions; }));
  // They meet by chance; on a busy machine that takes more rounds.
  for (int round = 0; round < 10 || (lost_.value() == 0 && round < 100); ++round) {
    send_many(200, 9);
    ASSERT_TRUE(run_until([&] { return acked_ == asked_; }));
  }
  ASSERT_TRUE(all_stored());
  expect_exactly_once();
  EXPECT_GT(lost_.value(), 0) << "the rivals never met: this run proves nothing";
}

TEST_F(ServiceTest, PostgresAwayForAWhile) {
  auto one = service();
  send_many(100, 5);
  ASSERT_TRUE(all_stored());
  const std::string name = dsn_.substr(dsn_.rfind('=') + 1);
  sql("alter database \"" + name + "\" allow_connections false; select pg_terminate_backend(pid) from pg_stat_activity where datname = '" + name + "'",
      test::services().dsn);
  send_many(300, 5);
  runtime::Gauge away = metrics_.gauge("parley_persister_store_away", "1 while PostgreSQL cannot be written.");
  ASSERT_TRUE(run_until([&] { return acked_ == asked_ && away.value() == 1; }));
  sql("alter database \"" + name + "\" allow_connections true", test::services().dsn);
  ASSERT_TRUE(all_stored());
  expect_exactly_once();
  EXPECT_EQ(away.value(), 0);
}

// Stopped while it is idle, it holds no lock: a new connection writes on. Then all of them, so that nothing can be written.
TEST_F(ServiceTest, AFrozenBackendIsGivenUp) {
  auto one = service("persister", std::make_unique<store::postgres::Writer>(dsn_, 200));
  send_many(100, 5);
  ASSERT_TRUE(all_stored());
  auto watcher = Connection::open(test::services().dsn);
  ASSERT_TRUE(watcher);
  const std::string name = dsn_.substr(dsn_.rfind('=') + 1);
  std::set<pid_t> frozen;
  const auto freeze = [&] {
    auto rows = watcher->query("select pid from pg_stat_activity where datname = $1", Params().text(name));
    for (int i = 0; rows && i < rows->size(); ++i) {
      const auto pid = static_cast<pid_t>((*rows)[i].u4(0));
      if (frozen.insert(pid).second) kill(pid, SIGSTOP);
    }
  };
  freeze();
  EXPECT_FALSE(frozen.empty());
  send_many(100, 5);
  ASSERT_TRUE(all_stored());
  expect_exactly_once();

  send_many(100, 5);
  runtime::Gauge away = metrics_.gauge("parley_persister_store_away", "1 while PostgreSQL cannot be written.");
  ASSERT_TRUE(run_until([&] {
    freeze();
    return acked_ == asked_ && away.value() == 1;
  }));
  EXPECT_TRUE(health_.hanging().empty());
  bool stopped = false;
  const auto begun = std::chrono::steady_clock::now();
  one->stop([&] { stopped = true; });
  ASSERT_TRUE(run_until([&] {
    freeze();
    return stopped;
  }));
  one.reset();
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(10));
  for (const pid_t pid : frozen) kill(pid, SIGCONT);
  one = service();
  ASSERT_TRUE(all_stored());
  expect_exactly_once();
}

TEST_F(ServiceTest, ARefusedRowGoesToTheDeadLetters) {  // R12
  ASSERT_TRUE(store::postgres::migrate(dsn_));
  sql("alter table events add constraint refused check (body <> convert_to('poison', 'UTF8'))", dsn_);
  auto one = service();
  send(1, "before");
  send(1, "poison");
  send(1, "after");
  ASSERT_TRUE(all_stored());
  ASSERT_TRUE(run_until([&] { return !dead_.empty(); }));
  EXPECT_EQ(dead_, (std::vector<std::string>{"poison"}));
  sent_[conversation(1)][1] = "";
  expect_exactly_once();
}

// A right taken away, a table under repair: nobody must restart anything afterwards.
TEST_F(ServiceTest, WhatPostgresRefusesIsTriedAgain) {
  auto one = service();
  send_many(50, 5);
  ASSERT_TRUE(all_stored());
  sql("alter table conversations rename to elsewhere", dsn_);
  send_many(50, 5);
  ASSERT_TRUE(run_until([&] { return acked_ == asked_ && !health_.unready().empty(); }));
  EXPECT_NE(health_.unready()[0].reason.find("42P01"), std::string::npos) << health_.unready()[0].reason;
  EXPECT_TRUE(one->stopped().empty());
  sql("alter table elsewhere rename to conversations", dsn_);
  ASSERT_TRUE(all_stored());
  expect_exactly_once();
  EXPECT_TRUE(run_until([&] { return health_.unready().empty(); }));
}

// A page that cannot be read, of one conversation: the partitions of the others are written, and its own in order once it is repaired.
TEST_F(ServiceTest, ARefusalThatNeverEndsHoldsUpItsPartitionOnly) {
  auto one = service();
  std::uint64_t other = 3;
  while (partition_of(conversation(other)) == partition_of(conversation(1))) other += 2;
  const Partition bad = partition_of(conversation(1)), good = partition_of(conversation(other));
  send(1, "before");
  ASSERT_TRUE(all_stored());
  sql("create function refuse() returns trigger language plpgsql as $$ begin raise 'invalid page' using errcode = 'XX001'; end $$;"
      " create trigger refuse before update on positions for each row when (new.partition = " +
          std::to_string(bad.value) + ") execute function refuse()",
      dsn_);
  send(1, "first");
  ASSERT_TRUE(run_until([&] { return !health_.unready().empty(); }));
  EXPECT_NE(health_.unready()[0].reason.find("partition " + std::to_string(bad.value) + ": XX001"), std::string::npos) << health_.unready()[0].reason;
  send(1, "second");
  for (std::uint64_t n = 0; n < 20; ++n) {
    send(other, "goes on");
    ASSERT_TRUE(run_until([&] { return acked_ == asked_ && positions()[good.value] == Offset{n + 1}; }));
  }
  EXPECT_EQ(positions()[bad.value], Offset{1});
  EXPECT_TRUE(one->stopped().empty());
  sql("drop trigger refuse on positions", dsn_);
  ASSERT_TRUE(all_stored());
  expect_exactly_once();
  EXPECT_TRUE(run_until([&] { return health_.unready().empty(); }));
}

TEST_F(ServiceTest, AnEventThatIsThereAlreadyStopsThePartition) {
  auto one = service();
  send(1, "first");
  ASSERT_TRUE(all_stored());
  sql("insert into events select conversation, seq + 1, number, time_ms, log_offset, payload_hash, partition, kind, id_is_op, quarantined, sender, id, chain,"
      " body_hash, salt, device, body from events",
      dsn_);
  send(1, "second");
  ASSERT_TRUE(run_until([&] { return one->stopped().contains(partition_of(conversation(1))); }));
}

TEST_F(ServiceTest, AnotherTopicsDatabaseIsRefused) {  // R13
  ASSERT_TRUE(store::postgres::migrate(dsn_));
  store::postgres::Writer other(dsn_);
  ASSERT_TRUE(other.open("another topic", kPartitions));
  auto one = service();
  send(1, "text");
  ASSERT_TRUE(run_until([&] {
    const auto unready = health_.unready();
    return !unready.empty() && unready[0].reason.find("another topic") != std::string::npos;
  }));
  EXPECT_EQ(positions(), (std::vector<Offset>(kPartitions)));
}

TEST_F(ServiceTest, APositionOutsideTheLogStopsThePartition) {  // R13
  ASSERT_TRUE(store::postgres::migrate(dsn_));
  std::optional<eventlog::Topic> topic;
  log_->open([&](auto opened) { topic = opened.value_or(eventlog::Topic{}); });
  ASSERT_TRUE(run_until([&] { return topic.has_value(); }));
  store::postgres::Writer other(dsn_);
  ASSERT_TRUE(other.open(topic->id, kPartitions));
  const Partition bad = partition_of(conversation(1));
  sql("update positions set next_offset = 1000 where partition = " + std::to_string(bad.value), dsn_);
  auto one = service();
  send(1, "text");
  ASSERT_TRUE(run_until([&] { return !one->stopped().empty(); }));
  EXPECT_TRUE(one->stopped().contains(bad));
  EXPECT_EQ(positions()[bad.value], Offset{1'000});
}

TEST_F(ServiceTest, ANewerFoldVersionStopsItsPartitionOnly) {  // R6
  auto one = service();
  std::uint64_t other = 3;
  while (partition_of(conversation(other)) == partition_of(conversation(1))) other += 2;
  send(1, "before");
  ASSERT_TRUE(all_stored());
  auto newer = record(1, chat::op::Send{user(2), "newer", false});
  newer.fold_version = chat::kFoldVersion + 1;
  produce(newer);
  ASSERT_TRUE(run_until([&] { return one->stopped().size() == 1; }));
  EXPECT_TRUE(one->stopped().contains(partition_of(conversation(1))));
  send(other, "goes on");
  ASSERT_TRUE(run_until([&] { return acked_ == asked_ && positions()[partition_of(conversation(other)).value] == Offset{1}; }));
  expect_exactly_once();
}

TEST_F(ServiceTest, DueSchedulesAreFiredOnce) {  // R10
  auto one = service();
  send(1, "first");
  auto soon = record(1, chat::op::Schedule{std::nullopt, "scheduled", chat::TimeMs{clock_.wall().value + 200}});
  soon.payload_hash = 7;
  produce(soon);
  auto later = record(1, chat::op::Schedule{std::nullopt, "never in this test", chat::TimeMs{clock_.wall().value + 3'600'000}});
  produce(later);
  sent_[conversation(1)].push_back("scheduled");
  auto connection = Connection::open(dsn_);
  ASSERT_TRUE(run_until([&] {
    auto rows = connection->query("select count(*) from events");
    return rows && (*rows)[0].u8(0) == 2;
  }));
  send(1, "last");
  ASSERT_TRUE(all_stored());
  expect_exactly_once();
  auto open = connection->query("select count(*) from schedules where not done");
  EXPECT_EQ((*open)[0].u8(0), 1u);
}

// At the full hour many are: they do not come a page at a time.
TEST_F(ServiceTest, ManyDueAtOnceDoNotWaitForEachOther) {
  due_every_ms_ = 5'000;
  const std::uint64_t due = clock_.wall().value;  // all of them, when they are first looked for
  for (std::uint64_t n = 0; n < 4; ++n) {
    for (int i = 0; i < 150; ++i) produce(record(10 * n, chat::op::Schedule{user(10 * n + 1), "scheduled", chat::TimeMs{due}}));
  }
  ASSERT_TRUE(run_until([&] { return acked_ == asked_; }));
  auto one = service();
  auto connection = Connection::open(dsn_);
  const auto events = [&]() -> std::uint64_t {
    auto rows = connection->query("select count(*) from events where number is not null");
    return rows ? (*rows)[0].u8(0) : 0;
  };
  ASSERT_TRUE(run_until([&] { return events() > 0; }));
  const auto begun = std::chrono::steady_clock::now();
  ASSERT_TRUE(run_until([&] { return events() == 600; }));
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(8));  // a page each 5 s: at least 10 s
}

TEST_F(ServiceTest, WhatIsStoredAndOldIsDeletedFromTheLog) {  // R13
  auto one = service();
  const auto begins = [&] {
    std::optional<std::vector<Offset>> out;
    log_->begins([&](const auto& told) { out = told.value_or(std::vector<Offset>{}); });
    EXPECT_TRUE(run_until([&] { return out.has_value(); }));
    return *out;
  };
  const Partition partition = partition_of(conversation(1));
  for (int i = 0; i < 20; ++i) send(1, "old");
  ASSERT_TRUE(all_stored());
  const auto old = clock_.wall().value;
  while (clock_.wall().value <= old + 1'000) io_.run_one_for(std::chrono::milliseconds(20));
  send(1, "young");
  ASSERT_TRUE(all_stored());
  EXPECT_EQ(begins(), std::vector<Offset>(kPartitions));
  clock_.ahead_ms = 3'600'000 - (clock_.wall().value - old) + 500;  // the old ones are older than an hour, the young one is not
  ASSERT_TRUE(run_until([&] { return begins()[partition.value] == Offset{20}; }));
  clock_.ahead_ms = 2 * 3'600'000;  // all are; where nothing is young nothing is deleted
  for (int i = 0; i < 20; ++i) io_.run_one_for(std::chrono::milliseconds(20));
  EXPECT_EQ(begins()[partition.value], Offset{20});
  one.reset();  // a successor's position is still inside
  clock_.ahead_ms = 0;
  one = service();
  send(1, "after");
  ASSERT_TRUE(all_stored());
  expect_exactly_once();
  EXPECT_TRUE(one->stopped().empty());
}

}  // namespace
}  // namespace parley::persister
