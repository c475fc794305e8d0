#include "tests/simulation/device.h"

#include <algorithm>

#include "gateway/core/sync_token.h"
#include "tests/simulation/violation.h"

namespace parley::simulation {

Device::Device(std::size_t index, const Cast& cast, Oracle& oracle, Promises& promises) : index_(index), cast_(cast), oracle_(oracle), promises_(promises) {
  for (const std::size_t talk : {kG0, kG1}) last_[talk] = 0;
  if (user_index() == 0)
    last_[kS] = 0;
  else
    last_[kD] = 0;
}

// ---- connection --------------------------------------------------------------------------------------------------------

void Device::connected(Wire& wire) {
  wire_ = &wire;
  greeting_ = true;
  replayed_.clear();
  requests_ = 0;
  open_requests_.clear();
  sent_by_.clear();
  marks_asked_.clear();
  asking_.clear();
  turns_.clear();
  backwards_.clear();
  for (Pending& pending : pending_) pending.last_request = 0;
  client::Frame frame;
  auto& hello = *frame.mutable_hello();
  hello.set_token(fmt::format("device-{}", index_));
  hello.set_device_id(std::string(name()));
  hello.set_platform("simulation");
  put_cursors(hello);
  begin_resume(std::move(frame));
}

void Device::disconnected() {
  wire_ = nullptr;
  live_ = asked_ = false;
  asking_.clear();
  for (Pending& pending : pending_) pending.owed = true;
}

template <class Message>
void Device::put_cursors(Message& message) const {
  for (const auto& [talk, seq] : last_) {
    auto& cursor = *message.add_cursors();
    cursor.set_conversation(to_text(cast_.ids[talk]));
    cursor.set_seq(seq);
  }
  message.set_sync_token(token_);
}

void Device::begin_resume(client::Frame frame) {
  live_ = asked_ = unreplayed_ = false;
  owed_ = promises_;
  resumed_with_.clear();
  for (const auto& [talk, seq] : last_) resumed_with_.insert(talk);
  resumed_in_.clear();
  for (std::size_t talk = 0; talk < kConversations; ++talk) {
    if (const auto from = oracle_.present_stay(talk, user())) resumed_in_[talk] = *from;
  }
  wire_->say(std::move(frame));
}

std::size_t Device::talk_of(const std::string& conversation) const {
  const auto id = chat::parse_id<chat::ConversationId>(conversation);
  const std::size_t talk = id ? cast_.talk(*id) : kConversations;
  need(talk < kConversations, "{} is told of a conversation that does not exist: {}", name(), conversation);
  return talk;
}

std::uint64_t Device::last(std::size_t talk) const {
  const auto at = last_.find(talk);
  return at == last_.end() ? 0 : at->second;
}

// Own readNumber as far as the device can know it: markers, own messages (D29), and the number at which it joined.
std::uint64_t Device::mark(std::size_t talk) const {
  std::uint64_t mark = 0;
  if (const auto at = marks_.find(talk); at != marks_.end()) mark = at->second;
  const auto got = got_.find(talk);
  if (got == got_.end()) return mark;
  for (const auto& [seq, own] : got->second) {
    if (const auto& event = oracle_.events(talk)[seq - 1]; own && event.number) mark = std::max(mark, event.number->value);
  }
  if (!got->second.empty()) mark = std::max(mark, oracle_.number_at_join(talk, user()));
  return mark;
}

// ---- what a user does --------------------------------------------------------------------------------------------------

bool Device::may_act() const { return online() && pending_.size() <= 6 && std::ranges::none_of(pending_, &Pending::owed); }

void Device::send(std::size_t talk, std::uint64_t n, client::Frame frame) {
  pending_.push_back({.n = n, .talk = talk, .frame = std::move(frame)});
  transmit(pending_.back(), false);
}

void Device::transmit(Pending& pending, bool resend) {
  client::Frame frame = pending.frame;
  pending.owed = false;
  ++pending.sent;
  pending.last_request = request_number();
  frame.set_req_id(pending.last_request);
  open_requests_.insert(pending.last_request);
  sent_by_[pending.last_request] = pending.n;
  switch (frame.body_case()) {
    case client::Frame::kSend: {
      const auto turn = turns_.find(pending.talk);
      frame.mutable_send()->set_turn(turn == turns_.end() ? 1 : turn->second);
      frame.mutable_send()->set_resend(resend);
      break;
    }
    case client::Frame::kAddMembers:
      frame.mutable_add_members()->set_resend(resend);
      break;
    case client::Frame::kRemoveMembers:
      frame.mutable_remove_members()->set_resend(resend);
      break;
    case client::Frame::kCreateConversation:
      frame.mutable_create_conversation()->set_resend(resend);
      break;
    default:
      frame.mutable_update_conversation()->set_resend(resend);
      break;
  }
  wire_->say(std::move(frame));
}

// 10 s without an answer, a reconnect or a temporary nack: everything pending again, flagged, in the original order.
bool Device::resend() {
  if (!online() || (pending_.empty() && marking_.empty())) return false;
  for (Pending& pending : pending_) transmit(pending, pending.sent > 0);
  for (const auto& [talk, seq] : marking_) {
    if (!in_flight(talk)) transmit_mark(talk);
  }
  return true;
}

bool Device::mark_read(std::size_t talk, std::uint64_t seq) {
  if (!online()) return false;
  marking_[talk] = std::max(marking_[talk], seq);
  transmit_mark(talk);
  return true;
}

void Device::transmit_mark(std::size_t talk) {
  client::Frame frame;
  frame.set_req_id(request_number());
  open_requests_.insert(frame.req_id());
  marks_asked_[frame.req_id()] = talk;
  frame.mutable_mark_read()->set_conversation(to_text(cast_.ids[talk]));
  frame.mutable_mark_read()->set_seq(marking_[talk]);
  wire_->say(std::move(frame));
}

bool Device::in_flight(std::size_t talk) const {
  return std::ranges::any_of(marks_asked_, [&](const auto& asked) { return asked.second == talk; });
}

bool Device::waits_to_resend() const {
  return std::ranges::any_of(pending_, &Pending::owed) || std::ranges::any_of(marking_, [&](const auto& wanted) { return !in_flight(wanted.first); });
}

bool Device::acknowledge() {
  if (!live()) return false;
  client::Frame frame;
  client::Resume cursors;
  put_cursors(cursors);
  *frame.mutable_ack()->mutable_cursors() = cursors.cursors();
  wire_->say(std::move(frame));
  return true;
}

bool Device::resume(bool unasked) {
  if (!live() || !(asked_ || unasked)) return false;
  client::Frame frame;
  put_cursors(*frame.mutable_resume());
  begin_resume(std::move(frame));
  return true;
}

bool Device::ask_history(std::uint32_t limit) {
  if (!live()) return false;
  bool any = false;
  for (const std::size_t talk : gaps_) {
    if (asking_.contains(talk)) continue;
    client::Frame frame;
    frame.set_req_id(request_number());
    open_requests_.insert(frame.req_id());
    asking_[talk] = frame.req_id();
    auto& history = *frame.mutable_history();
    history.set_conversation(to_text(cast_.ids[talk]));
    if (last(talk) == 0) backwards_.try_emplace(talk);
    if (const auto backwards = backwards_.find(talk); backwards == backwards_.end())
      history.set_after_seq(last(talk));
    else if (backwards->second.before > 0)
      history.set_before_seq(backwards->second.before);
    history.set_limit(limit);
    wire_->say(std::move(frame));
    any = true;
  }
  return any;
}

// ---- what it is told ---------------------------------------------------------------------------------------------------

// D2: a request gets exactly one answer.
void Device::answered(std::uint32_t request) {
  if (request == 0) return;
  need(open_requests_.erase(request) == 1, "{}: request {} is answered twice, or was never made", name(), request);
}

void Device::take(const client::Frame& frame) {
  switch (frame.body_case()) {
    case client::Frame::kEvent:
      return on_event(frame.event(), false);
    case client::Frame::kSendAck:
      answered(frame.req_id());
      return on_ack(frame.send_ack(), frame.req_id());
    case client::Frame::kResult:
      answered(frame.req_id());
      return on_result(frame.result(), frame.req_id());
    case client::Frame::kNack:
      answered(frame.req_id());
      return on_nack(frame.nack(), frame.req_id());
    case client::Frame::kHistoryPage:
      answered(frame.req_id());
      return on_page(frame.history_page(), frame.req_id());
    case client::Frame::kMarker:
      return on_marker(frame.marker());
    case client::Frame::kCaughtUp:
      return on_caught_up(frame.caught_up());
    case client::Frame::kResync:
      if (frame.resync().reason() == "storeUnavailable")
        unreplayed_ = true;
      else {
        for (const auto& [talk, seq] : last_) gaps_.insert(talk);  // it shows them all
        learn(frame.resync().conversations());
      }
      return;
    case client::Frame::kResume:
      asked_ = true;
      return;
    case client::Frame::kPing: {
      client::Frame pong;
      pong.mutable_pong()->set_t(frame.ping().t());
      return wire_->say(std::move(pong));
    }
    case client::Frame::kError:
      return;  // the close follows
    default:
      return;
  }
}

void Device::learn(std::size_t talk, std::uint64_t seq) { heard_[talk] = std::max(heard_[talk], seq); }

void Device::learn(const google::protobuf::RepeatedPtrField<client::Summary>& summaries) {
  for (const client::Summary& summary : summaries) {
    const std::size_t talk = talk_of(summary.conversation());
    learn(talk, summary.last_seq());
    if (summary.last_seq() > last(talk)) gaps_.insert(talk);
    marks_[talk] = std::max(marks_[talk], summary.read_number());
  }
}

// What is got out of order, while fetching backwards, does not count before everything below it is there.
void Device::on_event(const client::Event& event, bool own) {
  const std::size_t talk = talk_of(event.conversation());
  const std::uint64_t seq = event.seq();
  oracle_.judge_told(talk, seq, {}, event.chain(), name());
  need(oracle_.sees(talk, user(), seq), "{} sees {}#{} outside the stay", name(), kTalkNames[talk], seq);
  if (greeting_ && !own) {
    need(resumed_with_.contains(talk) && replayed_[talk] < seq, "{}#{} comes to {} before caughtUp, but is not part of the replay", kTalkNames[talk], seq,
         name());
    replayed_[talk] = seq;
  }
  const chat::Event& is = oracle_.events(talk)[seq - 1];
  learn(talk, seq);
  std::uint64_t& last = last_[talk];
  if (seq == last + 1) {
    last = seq;
    got_[talk][seq] = is.sender == user();
  } else if (seq > last) {
    gaps_.insert(talk);  // also where it adds me again: only history knows what I was owed in between (D27)
    return;
  } else {
    return;
  }
  if (!own) settle(talk, is.id);
}

// The answer, or the event, of one's own operation settles it. An id that another of one's devices used is another number.
void Device::settle(std::size_t talk, const chat::RequestId& id) {
  if (!id) return;
  std::erase_if(pending_, [&](const Pending& pending) { return pending.talk == talk && request(pending.n) == id; });
}

void Device::on_ack(const client::SendAck& ack, std::uint32_t request_id) {
  const std::size_t talk = talk_of(ack.conversation());
  const auto id = chat::parse_id<chat::RequestId>(ack.client_msg_id());
  need(id.has_value(), "{}: an ack without an id", name());
  oracle_.judge_told(talk, ack.seq(), *id, ack.chain(), name());
  const chat::Event& is = oracle_.events(talk)[ack.seq() - 1];
  need(is.number && ack.number() == is.number->value && ack.server_time_ms() == is.time.value, "{}: the ack of {}#{} tells another number or time", name(),
       kTalkNames[talk], ack.seq());
  need(request_id == 0 || sent_by_.at(request_id) == number_of(*id), "{}: the ack of {} bears the request of {}", name(), number_of(*id),
       request_id == 0 ? 0 : sent_by_.at(request_id));
  promises_.acked[talk] = std::max(promises_.acked[talk], ack.seq());
  if (!ack.duplicate()) {
    client::Event event;
    event.set_conversation(ack.conversation());
    event.set_seq(ack.seq());
    event.set_chain(ack.chain());
    on_event(event, true);
  }
  settle(talk, *id);
}

void Device::on_result(const client::Result& result, std::uint32_t request_id) {
  if (const auto marked = marks_asked_.find(request_id); marked != marks_asked_.end()) {
    const std::size_t talk = marked->second;
    marks_asked_.erase(marked);
    if (!in_flight(talk)) marking_.erase(talk);
    marks_[talk] = std::max(marks_[talk], result.read_number());
    auto& promised = promises_.read_mark[{user_index(), talk}];
    promised = std::max(promised, result.read_number());
    return;
  }
  if (request_id == 0) return;  // of a schedule whose transmissions were all answered: it bears nothing to know it by
  const auto sent = sent_by_.find(request_id);
  need(sent != sent_by_.end(), "{}: a result for nothing", name());
  const std::uint64_t n = sent->second;
  if (result.seq() > 0) {
    const std::size_t talk = talk_of(result.conversation());
    need(result.has_event() || result.duplicate(), "{}: a result with a seq and no event", name());
    oracle_.judge_told(talk, result.seq(), request(n), result.has_event() ? result.event().chain() : std::string(), name());
    promises_.acked[talk] = std::max(promises_.acked[talk], result.seq());
    if (!result.duplicate()) on_event(result.event(), true);
  }
  std::erase_if(pending_, [&](const Pending& pending) { return pending.n == n; });
}

void Device::on_nack(const client::Nack& nack, std::uint32_t request_id) {
  if (const auto marked = marks_asked_.find(request_id); marked != marks_asked_.end()) {
    if (!nack.temporary()) marking_.erase(marked->second);
    marks_asked_.erase(marked);
    return;
  }
  for (const auto& [talk, asked] : asking_) {
    if (asked != request_id) continue;
    if (!nack.temporary()) gaps_.erase(talk), backwards_.erase(talk);  // there is nothing there that it may see
    asking_.erase(talk);
    return;
  }
  const auto sent = sent_by_.find(request_id);
  if (sent == sent_by_.end()) return;
  const std::uint64_t n = sent->second;
  const auto at = std::ranges::find(pending_, n, &Pending::n);
  if (at == pending_.end()) return;  // settled before
  const std::size_t talk = at->talk;
  if (nack.temporary()) {
    for (Pending& pending : pending_) pending.owed = pending.owed || pending.talk == talk;
    turns_[talk] = std::max(turns_[talk], nack.turn());
    return;
  }
  if (at->last_request != request_id) return;  // D64: not its last transmission
  need(oracle_.made_by(talk, user(), request(n)) != wire_->connection(), "{} was finally refused ({}), yet an attempt on the same connection is stored in {}",
       n, nack.code(), kTalkNames[talk]);
  if (at->sent == 1) oracle_.finally_refused(n);
  pending_.erase(at);
}

void Device::on_page(const client::HistoryPage& page, std::uint32_t request_id) {
  const std::size_t talk = talk_of(page.conversation());
  const auto asked = asking_.find(talk);
  if (asked == asking_.end() || asked->second != request_id) return;
  asking_.erase(asked);
  std::uint64_t& last = last_[talk];
  const auto backwards = backwards_.find(talk);
  std::uint64_t top = last;
  for (const client::Event& event : page.events()) {
    oracle_.judge_told(talk, event.seq(), {}, event.chain(), name());
    need(oracle_.sees(talk, user(), event.seq()), "{} reads {}#{} outside the stay", name(), kTalkNames[talk], event.seq());
    const chat::Event& is = oracle_.events(talk)[event.seq() - 1];
    got_[talk][event.seq()] = is.sender == user();
    top = std::max(top, event.seq());
    settle(talk, is.id);
  }
  if (backwards != backwards_.end()) {
    Backwards& so_far = backwards->second;
    so_far.top = std::max(so_far.top, top);
    if (page.more()) {
      so_far.before = page.events(0).seq();
      return;
    }
    top = std::max(last, so_far.top);
    backwards_.erase(backwards);
  }
  // Complete from where it was asked, so that the cursor may jump over what one may not see.
  last = top;
  if (!page.more() && heard_[talk] <= last) gaps_.erase(talk);
}

void Device::on_marker(const client::Marker& marker) {
  const std::size_t talk = talk_of(marker.conversation());
  if (marker.user() == to_text(user())) marks_[talk] = std::max(marks_[talk], marker.read_number());
}

void Device::on_caught_up(const client::CaughtUp& caught_up) {
  live_ = true;
  greeting_ = false;
  learn(caught_up.changed());
  if (unreplayed_) return;
  token_ = caught_up.sync_token();
  // Whatever it is in all the time is in its cursors, among `changed`, or was told before.
  for (const auto& [talk, from] : resumed_in_) {
    need(knows(talk) || oracle_.present_stay(talk, user()) != from, "caughtUp to {}, which was never told of {}", name(), kTalkNames[talk]);
  }
  for (const std::size_t talk : resumed_with_) {
    if (gaps_.contains(talk)) continue;  // it knows that something is missing there
    for (std::uint64_t seq = 1; seq <= owed_.acked[talk]; ++seq) {
      need(!oracle_.sees(talk, user(), seq) || got_[talk].contains(seq), "caughtUp to {}, but {}#{}, acked before, is missing", name(), kTalkNames[talk], seq);
    }
    if (oracle_.state(talk).member(user()) == nullptr) continue;
    const auto promised = owed_.read_mark.find({user_index(), talk});
    need(promised == owed_.read_mark.end() || mark(talk) >= promised->second, "caughtUp to {}, but the answered read mark of {} is missing", name(),
         kTalkNames[talk]);
  }
}

// ---- at rest -----------------------------------------------------------------------------------------------------------

std::string Device::unsettled() const {
  if (!online()) return "is not connected";
  if (!live_) return "waits for caughtUp";
  if (!pending_.empty()) return fmt::format("has {} unanswered", pending_.size());
  if (!marking_.empty()) return "waits for a mark";
  if (!gaps_.empty()) return fmt::format("has holes it knows of in {}", kTalkNames[*gaps_.begin()]);
  if (asked_) return "was asked to resume";
  if (!asking_.empty()) return "waits for history";
  return {};
}

std::size_t Device::judge_rest() const {
  need(settled(), "{} {} at rest (liveness)", name(), unsettled());
  const auto barrier = gateway::read_sync_token(kTopic, token_);
  need(barrier.has_value(), "{} holds no syncToken at rest", name());
  std::size_t unheard_of = 0;
  for (std::size_t talk = 0; talk < kConversations; ++talk) {
    const chat::Member* member = oracle_.state(talk).member(user());
    // Added and removed again before its last resume, while it was away: neither `changed` nor `conversations` names what one is not in
    // (D26), and without a cursor nothing is replayed. What ended later was told live (R25); what it ever heard of it fetched (D64).
    if (!knows(talk) && oracle_.had_left(talk, user(), (*barrier)[chat::partition_of(cast_.ids[talk], kPartitions).value])) {
      ++unheard_of;
      continue;
    }
    const auto got = got_.find(talk);
    for (std::uint64_t seq = 1; seq <= oracle_.events(talk).size(); ++seq) {
      need(!oracle_.sees(talk, user(), seq) || (got != got_.end() && got->second.contains(seq)), "silent hole at rest: {} lacks {}#{}", name(),
           kTalkNames[talk], seq);
    }
    need(member == nullptr || mark(talk) >= member->read_number.value, "the read mark of {} in {} did not converge: {}, not {}", name(), kTalkNames[talk],
         mark(talk), member == nullptr ? 0 : member->read_number.value);
  }
  return unheard_of;
}

}  // namespace parley::simulation
