#include "persister/worker.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "store/contract_feed.h"
#include "store/memory/memory_store.h"

namespace parley::persister {
namespace {

using store::user;

// The log of one partition, as entries that own their bytes.
class Records {
 public:
  Offset send(chat::ConversationId conversation, chat::UserId actor, std::string_view body, std::optional<chat::UserId> peer, std::uint32_t version = 1) {
    chat::Record record;
    record.fold_version = version;
    record.conversation = conversation;
    record.actor = actor;
    record.id = store::request(++ids_);
    record.since = next_;
    record.op = chat::op::Send{peer, body, false};
    return append(chat::to_text(conversation), chat::encode_record(record));
  }
  Offset append(std::string key, std::string value) {
    owned_.push_back({std::move(key), std::move(value)});
    entries_.push_back({next_, chat::TimeMs{1'000 + next_.value}, owned_.back().first, owned_.back().second, ""});
    return std::exchange(next_, next_.next());
  }
  void skip() { ++next_; }
  Offset end() const { return next_; }
  std::span<const eventlog::Entry> from(Offset offset) const {
    std::size_t first = 0;
    while (first < entries_.size() && entries_[first].offset < offset) ++first;
    return std::span(entries_).subspan(first);
  }

 private:
  std::deque<std::pair<std::string, std::string>> owned_;
  std::vector<eventlog::Entry> entries_;
  Offset next_;
  std::uint64_t ids_ = 0;
};

class WorkerTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(writer_->open("topic", 1)); }
  Worker worker(Settings settings = {}) { return Worker(settings, *writer_, Partition{0}, *writer_->position(Partition{0})); }
  store::Result<void> persist(Worker& worker) {
    auto batch = worker.fold_batch(records_.from(worker.position()), records_.end());
    if (!batch) return std::unexpected(batch.error());
    return worker.commit(*batch);
  }
  std::size_t stored(chat::ConversationId id) {
    const auto* there = store_.data().find(id);
    return there == nullptr ? 0 : there->events.size();
  }

  const chat::UserId ann_ = user(1), bob_ = user(2);
  const chat::ConversationId direct_ = chat::direct_conversation(ann_, bob_);
  store::memory::MemoryStore store_;
  std::unique_ptr<store::Writer> writer_ = store_.writer();
  Records records_;
};

TEST_F(WorkerTest, StoresTheFoldAndMovesThePosition) {
  Worker one = worker();
  records_.send(direct_, ann_, "a", bob_);
  records_.send(direct_, bob_, "b", ann_);
  records_.skip();  // a control record at the end
  ASSERT_TRUE(persist(one));
  EXPECT_EQ(one.position(), Offset{3});
  EXPECT_EQ(*writer_->position(Partition{0}), Offset{3});
  EXPECT_EQ(stored(direct_), 2u);
}

TEST_F(WorkerTest, WhatIsNotARecordMovesThePositionOnly) {
  Worker one = worker();
  records_.append("no uuid", "no record");
  records_.append(chat::to_text(direct_), "\xff\xff\xff");
  ASSERT_TRUE(persist(one));
  EXPECT_EQ(*writer_->position(Partition{0}), Offset{2});
  EXPECT_TRUE(store_.data().conversations.empty());
}

TEST_F(WorkerTest, KnownEntriesAreSkipped) {
  Worker one = worker();
  records_.send(direct_, ann_, "a", bob_);
  ASSERT_TRUE(persist(one));
  records_.send(direct_, ann_, "b", bob_);
  auto batch = one.fold_batch(records_.from(Offset{0}), records_.end());
  ASSERT_TRUE(batch);
  EXPECT_EQ(batch->events.size(), 1u);
  ASSERT_TRUE(one.commit(*batch));
  // Wholly below the position: nothing to write, and never a step back.
  batch = one.fold_batch(records_.from(Offset{0}).first(1), Offset{1});
  ASSERT_TRUE(batch);
  EXPECT_EQ(batch->next, batch->expected);
  EXPECT_TRUE(batch->events.empty());
}

TEST_F(WorkerTest, ARivalsWriteDropsTheCachedStates) {  // R11
  Worker one = worker(), two = worker();
  records_.send(direct_, ann_, "a", bob_);
  auto mine = one.fold_batch(records_.from(Offset{0}), records_.end());
  ASSERT_TRUE(persist(two));
  const auto lost = one.commit(*mine);
  ASSERT_FALSE(lost);
  EXPECT_EQ(lost.error().code, store::Errc::lost);
  EXPECT_EQ(one.cached(), 0u);
  one.reset(*writer_->position(Partition{0}));
  records_.send(direct_, ann_, "b", bob_);
  ASSERT_TRUE(persist(one));
  EXPECT_EQ(stored(direct_), 2u);
}

TEST_F(WorkerTest, ALostAnswerIsFoundOut) {
  Worker one = worker();
  records_.send(direct_, ann_, "a", bob_);
  const auto batch = one.fold_batch(records_.from(Offset{0}), records_.end());
  store_.lose_next_answer();
  EXPECT_EQ(one.commit(*batch).error().code, store::Errc::unavailable);
  EXPECT_EQ(one.position(), Offset{0});
  ASSERT_TRUE(one.commit(*batch));
  EXPECT_EQ(one.position(), Offset{1});
  EXPECT_EQ(stored(direct_), 1u);
  records_.send(direct_, ann_, "b", bob_);
  ASSERT_TRUE(persist(one));
  EXPECT_EQ(stored(direct_), 2u);
}

TEST_F(WorkerTest, AnAwayStoreChangesNothing) {
  Worker one = worker();
  records_.send(direct_, ann_, "a", bob_);
  store_.set_away(true);
  EXPECT_EQ(one.fold_batch(records_.from(Offset{0}), records_.end()).error().code, store::Errc::unavailable);
  store_.set_away(false);
  const auto batch = one.fold_batch(records_.from(Offset{0}), records_.end());
  ASSERT_TRUE(batch);
  store_.set_away(true);
  EXPECT_EQ(one.commit(*batch).error().code, store::Errc::unavailable);
  EXPECT_EQ(one.commit(*batch).error().code, store::Errc::unavailable);
  store_.set_away(false);
  ASSERT_TRUE(one.commit(*batch));
  EXPECT_EQ(stored(direct_), 1u);
}

TEST_F(WorkerTest, ABatchGivenUpIsFoldedAnewFromTheStore) {
  Worker one = worker();
  records_.send(direct_, ann_, "a", bob_);
  ASSERT_TRUE(one.fold_batch(records_.from(Offset{0}), records_.end()));
  const auto again = one.fold_batch(records_.from(Offset{0}), records_.end());
  ASSERT_TRUE(again);
  ASSERT_EQ(again->events.size(), 1u);
  EXPECT_EQ(again->events[0].event.seq, chat::Seq{1});
}

TEST_F(WorkerTest, ANewerFoldVersionStopsBeforeIt) {  // R6
  Worker one = worker();
  records_.send(direct_, ann_, "a", bob_);
  const Offset newer = records_.send(direct_, ann_, "b", bob_, chat::kFoldVersion + 1);
  records_.send(direct_, ann_, "c", bob_);
  ASSERT_TRUE(persist(one));
  EXPECT_EQ(one.stopped(), newer);
  EXPECT_EQ(one.position(), newer);
  EXPECT_EQ(stored(direct_), 1u);
}

TEST_F(WorkerTest, TheCacheIsBoundedAndReloads) {
  Worker one = worker({.batch_rows = 2'000, .batch_wait_ms = 20, .cached_conversations = 3});
  for (int round = 0; round < 50; ++round) {
    for (std::uint64_t i = 0; i < 8; ++i) records_.send(chat::direct_conversation(ann_, user(100 + i)), ann_, "text", user(100 + i));
    ASSERT_TRUE(persist(one));
    EXPECT_LE(one.cached(), 3u);
  }
  for (std::uint64_t i = 0; i < 8; ++i) {
    const auto* there = store_.data().find(chat::direct_conversation(ann_, user(100 + i)));
    ASSERT_NE(there, nullptr);
    EXPECT_EQ(there->state.last_seq, chat::Seq{50});
    EXPECT_EQ(there->events.size(), 50u);
  }
}

TEST_F(WorkerTest, TheCacheIsBoundedByBytes) {
  constexpr std::uint64_t kBytes = 40'000;
  Worker one = worker({.cache_bytes = kBytes});
  std::size_t most = 0;
  for (int round = 0; round < 300; ++round) {  // windows grow: 10 conversations of 14 KiB each in the end
    for (std::uint64_t i = 0; i < 10; ++i) records_.send(chat::direct_conversation(ann_, user(100 + i)), ann_, "text", user(100 + i));
    ASSERT_TRUE(persist(one));
    EXPECT_LE(one.cached_bytes(), kBytes);
    most = std::max(most, one.cached());
  }
  EXPECT_EQ(most, 10u);
  EXPECT_LE(one.cached(), 2u);
  for (std::uint64_t i = 0; i < 10; ++i) EXPECT_EQ(stored(chat::direct_conversation(ann_, user(100 + i))), 300u);
  one.keep(1);  // another partition came
  EXPECT_EQ(one.cached(), 0u);
  EXPECT_EQ(one.cached_bytes(), 0u);
}

}  // namespace
}  // namespace parley::persister
