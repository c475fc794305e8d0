// For the tests here: a log that is written by hand, the PostgreSQL that a persister would have made of it, streams that keep
// what they are given, and a clock that is stepped.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "chat/fold.h"
#include "router/core.h"

namespace parley::router {

class StepClock final : public runtime::Clock {
 public:
  chat::TimeMs wall() const override { return {1'000'000 + at}; }
  chat::TimeMs steady() const override { return {at}; }
  std::uint64_t at = 10'000;
};

inline chat::UserId user(std::uint8_t n) {
  chat::UserId id;
  id.bytes[0] = 0xaa;
  id.bytes[15] = n;
  return id;
}
inline chat::RequestId request(std::uint8_t n) {
  chat::RequestId id;
  id.bytes[15] = n;
  return id;
}
// The group that user 1 makes by request n (D18).
inline chat::ConversationId conversation(std::uint8_t n) { return chat::group_conversation(user(1), request(n)); }

// A log of one partition.
struct TestLog {
  struct Kept {
    Offset offset;
    chat::TimeMs time;
    std::string key, value;
    eventlog::Entry entry() const { return {offset, time, key, value, "trace"}; }
  };
  std::vector<Kept> kept;
  std::uint8_t ids = 100;

  Offset end() const { return {kept.size()}; }

  Offset raw(std::string key, std::string value) {
    kept.push_back({end(), {5'000 + kept.size()}, std::move(key), std::move(value)});
    return kept.back().offset;
  }
  Offset write(std::uint8_t c, std::uint8_t actor, chat::Operation op, chat::Origin origin = {}) {
    chat::Record record;
    record.conversation = conversation(c);
    record.actor = user(actor);
    record.device = "d";
    record.origin = origin;
    record.id = std::holds_alternative<chat::op::Create>(op) ? request(c) : request(++ids);
    if (std::holds_alternative<chat::op::MarkRead>(op) || std::holds_alternative<chat::op::Delivered>(op)) record.id = {};
    record.op = std::move(op);
    return raw(chat::to_text(record.conversation), chat::encode_record(record));
  }
  Offset create(std::uint8_t c, std::vector<std::uint8_t> members) {
    chat::op::Create create{.title = "t", .members = {}};
    for (std::size_t i = 1; i < members.size(); ++i) create.members.push_back(user(members[i]));
    return write(c, members[0], create);
  }
  Offset send(std::uint8_t c, std::uint8_t actor, chat::Origin origin = {}, std::string_view body = "hello") {
    return write(c, actor, chat::op::Send{.peer = {}, .body = body, .mention_all = false}, origin);
  }
  std::vector<eventlog::Entry> entries(Offset from, Offset to) const {
    std::vector<eventlog::Entry> some;
    for (std::uint64_t i = from.value; i < to.value; ++i) some.push_back(kept[i].entry());
    return some;
  }
};

// What PostgreSQL holds when the persister has come to `position`; loads wait until the test answers them.
class TestReader final : public store::Reader {
 public:
  explicit TestReader(TestLog& log) : log_(log) {}

  Offset position;  // of the persister
  bool away = false;
  std::optional<store::Identity> holds;  // the fold of which log
  std::size_t asked = 0;

  void cold_load(chat::ConversationId c, Partition, Offset from, store::Callback<store::ColdLoad> done) override {
    ++asked;
    waiting_.push_back({c, from, std::move(done)});
  }
  std::size_t waiting() const { return waiting_.size(); }
  // Answers everything that is waiting now.
  void answer() {
    auto now = std::move(waiting_);
    waiting_.clear();
    for (auto& w : now) w.done(away ? store::Result<store::ColdLoad>(std::unexpected(store::Error{store::Errc::unavailable, "away"})) : load(w.c, w.from));
  }

  // Reads what is waiting now; answers when called.
  auto hold() {
    std::vector<std::pair<store::Callback<store::ColdLoad>, store::ColdLoad>> read;
    for (auto& w : std::exchange(waiting_, {})) read.emplace_back(std::move(w.done), load(w.c, w.from));
    return [read = std::move(read)]() mutable {
      for (auto& [done, what] : read) done(std::move(what));
    };
  }

  store::ColdLoad load(const chat::ConversationId& c, Offset from) const {
    store::ColdLoad out;
    out.position = position;
    std::map<chat::UserId, std::vector<store::Stay>> stays;
    for (const auto& kept : log_.kept) {
      if (kept.offset >= position) break;
      auto record = chat::decode_record(kept.key, kept.value);
      if (!record || record->conversation != c) continue;
      auto verdict = chat::fold(out.state, *record, kept.offset, kept.time);
      auto* event = std::get_if<chat::Event>(&verdict);
      if (!event) continue;
      for (const auto& change : event->stays)
        if (change.begins)
          stays[change.user].push_back({event->seq, {}});
        else
          stays[change.user].back().to = event->seq;
      if (kept.offset >= from) out.events.push_back({*event, kept.offset, false});
    }
    for (auto& [who, spans] : stays) out.stays.emplace_back(who, spans);
    return out;
  }

  void identity(store::Callback<std::optional<store::Identity>> done) override { done(holds); }
  void positions(store::Callback<store::Positions> done) override { done(store::Positions{position}); }
  void on_moved(std::move_only_function<void(Partition, Offset)>) override {}
  void look_up(std::vector<store::LookUp>, store::Callback<store::Snapshot<std::vector<store::LookedUp>>>) override {}
  void resume(store::ResumeQuery, store::Callback<store::Snapshot<store::ResumeResult>>) override {}
  void history(store::HistoryQuery, store::Callback<store::Snapshot<store::HistoryResult>>) override {}
  void summaries(chat::UserId, std::string, std::uint32_t, store::Callback<store::Snapshot<store::SummaryPage>>) override {}
  void details(chat::UserId, chat::ConversationId, store::Callback<store::Snapshot<store::Details>>) override {}
  void standing(chat::UserId, chat::ConversationId, store::Callback<store::Snapshot<store::Standing>>) override {}
  void mark_target(chat::UserId, chat::ConversationId, chat::Seq, store::Callback<store::Snapshot<store::MarkTarget>>) override {}
  void members(chat::UserId, chat::ConversationId, std::string, std::uint32_t, store::Callback<store::Snapshot<store::MemberPage>>) override {}

 private:
  struct Waiting {
    chat::ConversationId c;
    Offset from;
    store::Callback<store::ColdLoad> done;
  };
  TestLog& log_;
  std::vector<Waiting> waiting_;
};

class TestConsumer final : public eventlog::Consumer {
 public:
  std::map<Partition, Offset> started, committed;
  std::set<Partition> paused;
  void start(Partition p, Offset from) override { started[p] = from; }
  void stop(Partition p) override { started.erase(p); }
  void pause(Partition p) override { paused.insert(p); }
  void resume(Partition p) override { paused.erase(p); }
  void commit(Partition p, Offset next) override { committed[p] = next; }
};

class TestStreams final : public Streams {
 public:
  std::map<StreamId, std::vector<link::Down>> sent;
  std::set<StreamId> broken;
  void send(StreamId stream, link::Down message) override { sent[stream].push_back(std::move(message)); }
  void break_stream(StreamId stream) override { broken.insert(stream); }

  std::vector<link::Delivery> deliveries(StreamId stream) const {
    std::vector<link::Delivery> all;
    if (auto it = sent.find(stream); it != sent.end())
      for (const link::Down& down : it->second) all.insert(all.end(), down.deliveries().begin(), down.deliveries().end());
    return all;
  }
  std::vector<link::HomeReply> replies(StreamId stream) const {
    std::vector<link::HomeReply> all;
    if (auto it = sent.find(stream); it != sent.end())
      for (const link::Down& down : it->second) all.insert(all.end(), down.home().begin(), down.home().end());
    return all;
  }
  std::optional<Offset> upto(StreamId stream) const {
    std::optional<Offset> last;
    if (auto it = sent.find(stream); it != sent.end())
      for (const link::Down& down : it->second)
        for (const auto& p : down.upto()) last = Offset{p.offset()};
    return last;
  }
  std::optional<Offset> from(StreamId stream) const {
    std::optional<Offset> last;
    if (auto it = sent.find(stream); it != sent.end())
      for (const link::Down& down : it->second)
        for (const auto& p : down.from()) last = Offset{p.offset()};
    return last;
  }
};

inline std::string users(std::vector<std::uint8_t> some) {
  std::string bytes;
  for (std::uint8_t n : some) bytes += user(n).view();
  return bytes;
}

inline link::Up registering(std::vector<std::uint8_t> some, std::uint64_t confirm = 0) {
  link::Up up;
  for (std::uint8_t n : some) up.add_registrations()->set_user(std::string(user(n).view()));
  up.set_confirm(confirm);
  return up;
}

// A core over these, partition 0 of one.
struct TestBed {
  static constexpr Partition kPartition{0};
  StepClock clock;
  TestLog log;
  TestReader reader{log};
  TestConsumer consumer;
  TestStreams streams;
  Settings settings;
  std::unique_ptr<Core> core;

  explicit TestBed(Settings with = {.intake_wait_ms = 0}) : settings(with) { restart(); }
  void restart() {
    core = std::make_unique<Core>(settings, Ports{clock, consumer, reader, streams}, eventlog::Topic{"topic", 1});
    next = {};
  }

  Offset next;  // of the consumer
  void own(Offset start = {}, Offset deliver_from = {}) {
    next = start;
    core->own(kPartition, start, deliver_from);
  }
  // Everything written so far.
  void feed() {
    auto some = log.entries(next, log.end());
    next = log.end();
    core->on_entries(kPartition, some, log.end());
  }
  void settle() {
    feed();
    while (reader.waiting() > 0) reader.answer();
  }
  StreamId attach(std::uint64_t gateway, std::vector<std::uint8_t> registered) {
    StreamId stream{100 + gateway};
    link::Attach attach;
    attach.set_gateway(gateway);
    attach.set_topic_id("topic");
    core->on_stream(stream, attach);
    core->on_up(stream, registering(registered, 1));
    return stream;
  }
  void tick(std::uint64_t ms) {
    clock.at += ms;
    core->on_tick();
  }
};

}  // namespace parley::router
