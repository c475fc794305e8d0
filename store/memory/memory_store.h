// The store of the simulation: the semantics of postgres/, no threads, no time, and controls for what goes wrong.
//
// Reads are held until `step`ped, in an order the simulation picks, and see the store as it is then. What was asked by a
// reader that is gone is never answered. Writes happen at once. Bound: the simulation's.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "store/accounts.h"
#include "store/store.h"

namespace parley::store::memory {

// A row of `stays`: seen are [from, to], begun by the event `joined`.
struct StayRow {
  Seq joined, from;
  std::optional<Seq> to;
};

struct Conversation {
  Partition partition;
  chat::ConversationState state;             // as written; `members` complete, window and pending empty
  Offset changed;                            // by the record there
  std::map<UserId, Offset> members_changed;  // likewise, of present members
  std::map<Seq, StoredEvent> events;
  std::vector<StoredSchedule> schedules;  // by offset
  std::map<UserId, std::vector<StayRow>> stays;

  bool sees(const UserId& user, Seq seq) const;
  bool changed_for(const UserId& member, Offset since) const;
  std::optional<Seq> first_visible(const UserId& user) const;
  // The state that the fold had at the position (R18).
  chat::ConversationState whole() const;
};

// Everything as of one commit; conversations are shared between snapshots.
struct Data {
  Positions positions;
  std::map<ConversationId, std::shared_ptr<const Conversation>> conversations;

  const Conversation* find(const ConversationId& id) const {
    const auto at = conversations.find(id);
    return at == conversations.end() ? nullptr : at->second.get();
  }
};

class MemoryWriter;
class MemoryReader;
class MemoryAccounts;

class MemoryStore {
 public:
  MemoryStore();
  ~MemoryStore();

  // Ports; each is its owner's and must not outlive the store.
  std::unique_ptr<Writer> writer();
  std::unique_ptr<Reader> reader();
  std::unique_ptr<Accounts> accounts();

  // ---- what is waiting: reads and notifications, oldest first ----
  std::size_t waiting() const { return waiting_.size(); }
  void step(std::size_t index = 0);
  void step_all();  // until nothing waits
  // Takes the snapshot of a waiting read now; its answer still waits to be stepped, and is older by then.
  void take_snapshot(std::size_t index);
  // The port that waits: an answer does not reach a process that stands still.
  const void* owner(std::size_t index) const { return waiting_.at(index).owner; }

  // ---- what goes wrong ----
  void set_away(bool away) { away_ = away; }
  bool away() const { return away_; }
  // A replica that lagged was promoted: the store as it was before the last `commits` commits (at most kKept).
  static constexpr std::size_t kKept = 3;
  bool roll_back(std::size_t commits);
  // The next commit is made, but its answer is lost: Errc::unavailable.
  void lose_next_answer() { lose_answer_ = true; }
  // R12: rows that are refused.
  void refuse(std::function<bool(const StoredEvent&)> refused) { refused_ = std::move(refused); }

  // ---- what is there ----
  const Data& data() const { return data_; }

 private:
  friend class MemoryWriter;
  friend class MemoryReader;
  friend class MemoryAccounts;
  struct Waiting {
    const void* owner;
    std::move_only_function<void()> run;                                    // empty while the snapshot is to be taken
    std::move_only_function<std::move_only_function<void()>()> snapshot{};  // takes it and gives the answer to run
  };
  void wait(const void* owner, std::move_only_function<void()> run) { waiting_.push_back({owner, std::move(run)}); }
  void wait_for_snapshot(const void* owner, std::move_only_function<std::move_only_function<void()>()> snapshot) {
    waiting_.push_back({owner, nullptr, std::move(snapshot)});
  }
  void forget(const void* owner);
  Result<void> commit(const Batch& batch, std::move_only_function<void(Partition, const StoredEvent&, std::string_view)>& quarantined);

  struct People;
  Data data_;
  std::deque<Data> older_;  // newest last
  std::string topic_id_;
  bool away_ = false, lose_answer_ = false;
  std::function<bool(const StoredEvent&)> refused_;
  std::deque<Waiting> waiting_;
  std::vector<MemoryReader*> readers_;
  std::unique_ptr<People> people_;
  std::vector<MemoryAccounts*> account_ports_;
};

}  // namespace parley::store::memory
