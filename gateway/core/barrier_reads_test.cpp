// Reads behind the barrier while the store refuses some of them.
#include "gateway/core/barrier_reads.h"

#include "gateway/core/test_bed.h"

namespace parley::gateway {
namespace {

class BarrierReadsTest : public TestBed {
 protected:
  using Asked = store::Callback<store::Snapshot<int>>;

  void read(int count) {
    for (int i = 0; i < count; ++i) {
      const int id = ++last;
      reads.read<int>(
          chat::Partition{0}, [this, id](auto done) { asked.emplace_back(id, std::move(done)); }, [this](auto result) { answered += result.has_value(); });
    }
    while (broker.step() || store.waiting() > 0)
      if (store.waiting() > 0) store.step();
  }
  void refuse_from(std::size_t first) {
    auto all = std::exchange(asked, {});
    for (std::size_t i = 0; i < all.size(); ++i)
      if (i < first)
        asked.push_back(std::move(all[i]));
      else
        all[i].second(std::unexpected(store::Error{store::Errc::unavailable, "overloaded"}));
  }
  void answer_all() {
    for (auto& [id, done] : std::exchange(asked, {})) done(store::Snapshot<int>{std::vector<chat::Offset>(kPartitions), 1});
  }
  void after(std::uint64_t ms) {
    clock.at += ms;
    reads.on_tick();
  }

  BarrierReads reads{clock, log, *reader, kPartitions, 3'000};
  std::vector<std::pair<int, Asked>> asked;
  int last = 0, answered = 0;
};

TEST_F(BarrierReadsTest, what_is_refused_is_asked_again_later_and_as_many_as_fit) {
  read(100);
  ASSERT_EQ(asked.size(), 100u);
  refuse_from(20);
  after(50);
  reads.on_moved({0}, {0});
  EXPECT_EQ(asked.size(), 20u) << "neither with the next tick nor with a NOTIFY";
  answer_all();
  EXPECT_EQ(answered, 20);
  after(50);
  ASSERT_EQ(asked.size(), 40u) << "what fitted, and one more for each answer";
  EXPECT_EQ(asked.front().first, 21) << "the oldest first";
  answer_all();
  after(50);
  answer_all();
  EXPECT_EQ(answered, 100);
}

TEST_F(BarrierReadsTest, the_oldest_go_first) {
  read(100);
  refuse_from(0);
  after(50);
  EXPECT_TRUE(asked.empty()) << "not with every tick";
  after(50);
  ASSERT_EQ(asked.size(), BarrierReads::kLeastRoom);
  read(100);
  EXPECT_EQ(asked.size(), BarrierReads::kLeastRoom);
  for (int turn = 0; turn < 10; ++turn) {
    answer_all();
    after(50);
  }
  EXPECT_EQ(answered, 200);
}

}  // namespace
}  // namespace parley::gateway
