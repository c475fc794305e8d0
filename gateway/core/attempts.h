// Sends and operations of a connection, from acceptance to their one answer: R8, R9, R23, R24, D57, D64, D65.
//
//   accept -> (flagged: look-up behind the barrier) -> checks -> ready -> produced, strictly in the order received per
//   connection and conversation -> outcome from a router -> sendAck, result or nack
//
// A router tells no outcome of a record that made no event and was persisted before its conversation was loaded (R18). Once the
// routers told everything beyond such an attempt it is treated as a resend: looked up, and where it is not stored made once more, or
// nacked where a later one of its conversation was produced since.
//
// A temporary nack takes everything behind it with it and raises the `turn` of that conversation. What remains of a nacked
// item are its attempts in flight: an ack of any of them still answers.
// Owner's thread only. Bound: limits.unacked_sends queued items a connection and a quarter as many of the longest texts (or one frame), twice that with
// those only in flight.
#pragma once

#include <deque>
#include <string>

#include "gateway/core/barrier_reads.h"
#include "gateway/core/frames.h"
#include "gateway/core/known_users.h"
#include "gateway/core/publish.h"
#include "gateway/core/rates.h"
#include "gateway/core/sessions.h"

namespace parley::gateway {

class Attempts {
 public:
  Attempts(const Settings& settings, Ports& ports, Sessions& sessions, Publisher& publisher, BarrierReads& reads, Rates& rates, KnownUsers& users);

  void accept(Session& session, std::unique_ptr<Operation> operation, std::uint32_t req_id);
  // A mark: no id, no order, no look-up; answered by `result` where it bears a reqId.
  void produce_mark(Session& session, chat::Record record, std::uint32_t req_id);
  // Why a request failed, with nothing queued for it.
  void refuse(Session& session, std::uint32_t req_id, const RequestIds& ids, chat::Code code, std::string message, std::uint32_t retry_after_ms = 0);
  // The same for a send that was never held: the temporary nack lacks its turn.
  void refuse_send(Session& session, const chat::ConversationId& conversation, std::uint32_t sent_in, client::Frame&& nack);

  // The outcome of this session's own record. True where the answer that stands for the event or marker was really sent.
  bool on_outcome(Session& session, const link::Delivery& outcome);
  void on_logged(ConnectionId connection, std::uint64_t attempt, chat::Partition partition, std::expected<chat::Offset, eventlog::Error> offset);
  // `told`: of each partition, the offset below which the routers told everything (R21).
  void on_tick(const std::vector<chat::Offset>& told);

 private:
  static constexpr std::uint8_t kTries = 1;  // R8, R18: one more attempt, then a temporary nack

  struct Nack {
    chat::Code code;
    std::string message;
    std::uint32_t retry_after_ms = 0;
  };
  struct Timer {
    chat::TimeMs at;
    ConnectionId connection;
    std::uint64_t number;  // of an attempt, or serial of an item
  };

  Unanswered& unanswered(Session& session);
  std::uint32_t turn(const Session& session, const chat::ConversationId& conversation) const;
  std::uint32_t raise_turn(Session& session, const chat::ConversationId& conversation);
  Item* find(Session& session, const chat::ConversationId& conversation, const chat::RequestId& id);
  Item* find_serial(Session& session, std::uint64_t serial);
  Item* find_attempt(Session& session, std::uint64_t attempt);
  std::unique_ptr<Item> remove(Session& session, Item& item);

  void look(Session& session, const chat::ConversationId& conversation);
  void looked_up(Session& session, const chat::ConversationId& conversation, std::uint64_t number, const std::vector<std::uint64_t>& serials,
                 std::expected<BarrierReads::Fresh<std::vector<store::LookedUp>>, Unavailable> found);
  void check(Session& session, Item& item);
  void check_existence(Session& session, Item& item);
  void check_reference(Session& session, Item& item, const Reference& reference);
  void pump(Session& session, const chat::ConversationId& conversation);
  bool produce(Session& session, Item& item);

  void stale(Session& session, Item* item, const chat::ConversationId& conversation);
  void duplicate(Session& session, Item& item, chat::Seq of);
  void not_member(Session& session, Item& item);
  void nack_temporary(Session& session, const chat::ConversationId& conversation, Item* item, Nack nack);
  void refused(Session& session);
  void nack_final(Session& session, Item& item, Nack nack);
  void answer(Session& session, Item& item, client::Frame frame);
  void send_answers(Session& session, const Item& item, client::Frame frame);
  void send_nacks(Session& session, Item& item, const Nack& nack, std::uint32_t turn);  // turn 0: final
  client::Frame duplicate_frame(const Item& item, const std::optional<store::StoredEvent>& stored) const;
  void on_mark(Session& session, const link::Delivery& outcome, bool& answered);
  bool in_flight(const Session& session, chat::Partition partition) const;  // not in the log yet, as far as is known
  void settle(Session& session);
  bool expire(Session& session, std::uint64_t attempt, bool logged_counts);  // true: it is logged, and waits on
  void overdue(Session& session, std::uint64_t attempt, const std::vector<chat::Offset>& told);

  const Settings& settings_;
  Ports& ports_;
  Sessions& sessions_;
  Publisher& publisher_;
  BarrierReads& reads_;
  Rates& rates_;
  KnownUsers& users_;
  std::uint64_t serials_ = 0, looks_ = 0;
  std::deque<Timer> unlogged_, overdue_, untold_, unchecked_;  // constant delays: each in the order of its deadlines
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace parley::gateway
