// A device that follows the client's rules and nothing more: what it has to survive is the server's business.
//
// Its one rule (protocol.md): seq <= last: drop; seq == last + 1: take; seq > last + 1: ask history. What it sends stays pending until
// it is answered; a temporary nack or a reconnect makes everything pending in that conversation owed again, flagged, in order.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "parley/client/v1/client.pb.h"
#include "tests/simulation/oracle.h"

namespace parley::simulation {

namespace client = parley::client::v1;

// What all devices together were promised so far.
struct Promises {
  std::array<std::uint64_t, kConversations> acked{};                       // greatest seq that was acked to anyone
  std::map<std::pair<std::size_t, std::size_t>, std::uint64_t> read_mark;  // user, talk -> readNumber that was answered
};

// A frame on its way to the gateway is what the world makes of it; the device only says it.
class Wire {
 public:
  virtual ~Wire() = default;
  virtual void say(client::Frame frame) = 0;
  virtual std::uint64_t connection() const = 0;
};

struct Pending {
  std::uint64_t n;
  std::size_t talk;
  client::Frame frame;
  bool owed = false;
  std::uint32_t sent = 0;
  std::uint32_t last_request = 0;  // of the last transmission on the present connection
};

class Device {
 public:
  Device(std::size_t index, const Cast& cast, Oracle& oracle, Promises& promises);

  std::size_t index() const { return index_; }
  std::string_view name() const { return kDeviceNames[index_]; }
  chat::UserId user() const { return simulation::user(kDeviceUsers[index_]); }
  std::size_t user_index() const { return kDeviceUsers[index_]; }

  // ---- connection ----
  void connected(Wire& wire);  // says hello
  void disconnected();
  bool online() const { return wire_ != nullptr; }
  bool live() const { return online() && live_; }
  void take(const client::Frame& frame);

  // ---- what a user does; false where it makes no sense now ----
  bool may_act() const;
  void send(std::size_t talk, std::uint64_t n, client::Frame frame);  // an operation with an id, numbered n
  bool mark_read(std::size_t talk, std::uint64_t seq);
  bool acknowledge();
  bool resend();
  bool resume(bool unasked);
  bool ask_history(std::uint32_t limit);

  const std::vector<Pending>& pending() const { return pending_; }
  std::uint64_t last(std::size_t talk) const;
  std::uint64_t mark(std::size_t talk) const;

  // At rest.
  bool settled() const { return live() && pending_.empty() && marking_.empty() && gaps_.empty() && !asked_ && asking_.empty(); }
  bool waits_to_resend() const;
  std::string unsettled() const;
  // How many conversations it never heard of, and need not have.
  std::size_t judge_rest() const;

 private:
  std::uint32_t request_number() { return ++requests_; }
  void transmit(Pending& pending, bool resend);
  void transmit_mark(std::size_t talk);
  bool in_flight(std::size_t talk) const;
  bool knows(std::size_t talk) const { return last_.contains(talk) || heard_.contains(talk); }
  void begin_resume(client::Frame frame);
  template <class Message>
  void put_cursors(Message& message) const;

  void on_event(const client::Event& event, bool own);
  void on_ack(const client::SendAck& ack, std::uint32_t request);
  void on_result(const client::Result& result, std::uint32_t request);
  void on_nack(const client::Nack& nack, std::uint32_t request);
  void on_page(const client::HistoryPage& page, std::uint32_t request);
  void on_caught_up(const client::CaughtUp& caught_up);
  void on_marker(const client::Marker& marker);
  void settle(std::size_t talk, const chat::RequestId& id);
  void answered(std::uint32_t request);
  void learn(std::size_t talk, std::uint64_t seq);
  void learn(const google::protobuf::RepeatedPtrField<client::Summary>& summaries);
  std::size_t talk_of(const std::string& conversation) const;

  const std::size_t index_;
  const Cast& cast_;
  Oracle& oracle_;
  Promises& promises_;

  // What a device keeps.
  std::string token_;
  std::map<std::size_t, std::uint64_t> last_;
  std::map<std::size_t, std::map<std::uint64_t, bool>> got_;  // seq -> whether it is an own message
  std::map<std::size_t, std::uint64_t> heard_;                // greatest seq it heard of
  std::map<std::size_t, std::uint64_t> marks_;                // own readNumber
  std::map<std::size_t, std::uint64_t> marking_;              // seq it wants to have marked and was not told of yet
  std::set<std::size_t> gaps_;
  std::vector<Pending> pending_;

  // What belongs to the present connection.
  Wire* wire_ = nullptr;
  bool live_ = false, asked_ = false, unreplayed_ = false;
  bool greeting_ = false;                          // from hello to the first caughtUp: nothing live yet
  std::map<std::size_t, std::uint64_t> replayed_;  // greatest seq since hello
  std::uint32_t requests_ = 0;
  std::set<std::uint32_t> open_requests_;
  std::map<std::uint32_t, std::uint64_t> sent_by_;    // request -> n
  std::map<std::uint32_t, std::size_t> marks_asked_;  // markRead in flight
  std::map<std::size_t, std::uint32_t> asking_;       // history in flight, per conversation
  std::map<std::size_t, std::uint32_t> turns_;
  // Nothing held yet: fetched backwards from the newest, because afterSeq 0 is absent.
  struct Backwards {
    std::uint64_t top = 0, before = 0;
  };
  std::map<std::size_t, Backwards> backwards_;
  Promises owed_;                                    // as when the present resume began
  std::set<std::size_t> resumed_with_;               // conversations it had cursors for
  std::map<std::size_t, std::uint64_t> resumed_in_;  // present stays when it began
};

}  // namespace parley::simulation
