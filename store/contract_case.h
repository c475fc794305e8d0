// The fixture of contract_test.cpp and contract_reads_test.cpp: a store, a writer, a history.
#pragma once

#include <gtest/gtest.h>

#include <vector>

#include "store/contract_bench.h"
#include "store/contract_feed.h"

namespace parley::store {

inline const UserId kAnn = user(1), kBob = user(2), kCat = user(3), kDan = user(4);

class StoreContract : public ::testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    const auto opened = writer_->open("topic-1", 2);
    ASSERT_TRUE(opened) << opened.error().message;
    ASSERT_EQ(*opened, (std::vector<Offset>(2)));
  }
  void commit() { feed_.commit(*writer_); }
  void expect_states_read_back() {
    std::vector<ConversationId> ids;
    for (const auto& [id, state] : feed_.states()) ids.push_back(id);
    const auto loaded = writer_->load(feed_.partition(), feed_.next(), ids);
    ASSERT_TRUE(loaded) << loaded.error().message;
    ASSERT_EQ(loaded->size(), ids.size());
    for (std::size_t i = 0; i < ids.size(); ++i)
      EXPECT_EQ(chat::encode_state((*loaded)[i]), chat::encode_state(feed_.states().at(ids[i]))) << "conversation " << i;
    const auto ahead = writer_->load(feed_.partition(), feed_.next().next(), ids);
    ASSERT_FALSE(ahead);
    EXPECT_EQ(ahead.error().code, Errc::lost);
  }
  template <class T, class Call>
  T ask(Call call) {
    auto got = bench_->wait<T>(call);
    EXPECT_TRUE(got) << got.error().message;
    return got ? std::move(*got) : T{};
  }
  HistoryResult history(HistoryQuery query) {
    auto got = ask<Snapshot<HistoryResult>>([&](auto done) { bench_->reader().history(query, std::move(done)); });
    EXPECT_EQ(got.positions.size(), 2u);
    EXPECT_EQ(got.positions.at(0), feed_.next());
    return got.value;
  }
  ResumeResult resume(ResumeQuery query) {
    return ask<Snapshot<ResumeResult>>([&](auto done) { bench_->reader().resume(query, std::move(done)); }).value;
  }
  SummaryPage summaries(UserId who, std::string cursor = "", std::uint32_t limit = 50) {
    return ask<Snapshot<SummaryPage>>([&](auto done) { bench_->reader().summaries(who, cursor, limit, std::move(done)); }).value;
  }
  static std::vector<std::uint64_t> seqs(const std::vector<StoredEvent>& events) {
    std::vector<std::uint64_t> out;
    for (const StoredEvent& event : events) out.push_back(event.event.seq.value);
    return out;
  }
  using Seqs = std::vector<std::uint64_t>;

  std::unique_ptr<Bench> bench_ = make_bench(GetParam());
  std::unique_ptr<Writer> writer_ = bench_->writer();
  Feed feed_{Partition{0}, 2};
};

}  // namespace parley::store
