// The log folded once, in order, by someone who never fails: what every router, persister, gateway and device is judged by.
//
// It also watches the log itself: no id makes two events, a device's sends keep their order, what was finally refused or
// cancelled or sent after a block was answered never becomes an event.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "chat/fold.h"
#include "eventlog/memory/memory_log.h"
#include "parley/link/v1/link.pb.h"
#include "store/memory/memory_store.h"
#include "tests/simulation/cast.h"

namespace parley::simulation {

struct Outcome {
  chat::ConversationId conversation;
  chat::Verdict verdict;
  bool is_mark = false;
};

class Oracle {
 public:
  Oracle(const Cast& cast, const eventlog::memory::MemoryBroker& broker)
      : cast_(cast), broker_(broker), next_(kPartitions), outcomes_(kPartitions), newer_(kPartitions) {}

  // Folds what has landed since.
  void sync();

  const chat::ConversationState& state(std::size_t talk) const { return talks_[talk].state; }
  const std::vector<chat::Event>& events(std::size_t talk) const { return talks_[talk].events; }
  bool sees(std::size_t talk, const chat::UserId& user, std::uint64_t seq) const;
  // lastNumber when `user` last joined up to `seq`; nothing where he never did.
  std::uint64_t number_at_join(std::size_t talk, const chat::UserId& user) const;
  // Where the present stay of `user` began; nothing where he is no member.
  std::optional<std::uint64_t> present_stay(std::size_t talk, const chat::UserId& user) const;
  // Whether he had left for good, as far as a snapshot at this position tells. False also where he never was there.
  bool had_left(std::size_t talk, const chat::UserId& user, chat::Offset position) const;
  // Which connection's record made the event of this id; 0: none.
  std::uint64_t made_by(std::size_t talk, const chat::UserId& user, const chat::RequestId& id) const;

  // ---- what clients were told: from then on the log must keep to it ----
  void send_began(std::uint64_t n, std::size_t device, bool after_block) {
    device_of_[n] = device;
    if (after_block) late_.insert(n);
  }
  void finally_refused(std::uint64_t n) { final_.insert(n); }
  void cancelled(std::uint64_t n) { cancelled_.insert(n); }

  // ---- judging ----
  void judge_delivery(const link::v1::Delivery& delivery, std::size_t router) const;
  void judge_batch(const store::Batch& batch) const;
  // An ack, result or event that leaves a gateway: a fact of the log (P1).
  void judge_told(std::size_t talk, std::uint64_t seq, const chat::RequestId& id, std::string_view chain, std::string_view who) const;
  void judge_store(const store::memory::Data& data) const;
  // R6: of what lies in [from, to) there is nothing that it does not know.
  void judge_known(std::uint32_t partition, chat::Offset from, chat::Offset to, std::uint32_t knows, std::string_view who) const;

 private:
  struct Stay {
    std::uint64_t from;
    std::optional<std::uint64_t> to;
    std::uint64_t number;
  };
  struct One {
    chat::ConversationState state;
    std::vector<chat::Event> events;
    std::vector<chat::Offset> offsets;  // of the events
    std::map<chat::UserId, std::vector<Stay>> stays;
  };
  void fold(const eventlog::Entry& entry, std::uint32_t partition);
  void watch(std::size_t talk, const chat::Record& record, const chat::Event& event);

  const Cast& cast_;
  const eventlog::memory::MemoryBroker& broker_;
  std::vector<chat::Offset> next_;
  std::vector<std::map<chat::Offset, Outcome>> outcomes_;
  std::vector<std::map<chat::Offset, std::uint32_t>> newer_;  // those stamped with a fold above kFoldVersion
  std::array<One, kConversations> talks_;
  std::set<std::tuple<std::size_t, chat::UserId, chat::RequestId>> seen_;
  std::map<std::tuple<std::size_t, chat::UserId, chat::RequestId>, std::uint64_t> made_by_;
  std::map<std::pair<std::size_t, std::size_t>, std::uint64_t> order_;  // device, talk -> number of the last send
  std::map<std::uint64_t, std::size_t> device_of_;
  std::set<std::uint64_t> late_, final_, cancelled_, rejected_;
};

}  // namespace parley::simulation
