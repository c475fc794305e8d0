// For the tests here: the real Core between the memory log, the memory store, and a router and sockets made by hand.
//
// Nothing happens by itself: `run` lets everyone do what is due until all is at rest, `pass` steps the clock. Each part can be
// held still: the log away, the router holding its outcomes, the persister asleep, the store away.
#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "chat/fold.h"
#include "eventlog/memory/memory_log.h"
#include "gateway/core/core.h"
#include "store/memory/memory_store.h"

namespace parley::gateway {

class StepClock final : public runtime::Clock {
 public:
  chat::TimeMs wall() const override { return {1'700'000'000'000 + at}; }
  chat::TimeMs steady() const override { return {at}; }
  std::uint64_t at = 100'000;
};

inline chat::UserId user(std::uint8_t n) {
  chat::UserId id;
  id.bytes[0] = 0xaa;
  id.bytes[15] = n;
  return id;
}
inline chat::LoginId login(std::uint8_t n) {
  chat::LoginId id;
  id.bytes[0] = 0xbb;
  id.bytes[15] = n;
  return id;
}
inline std::string uuid(std::uint32_t n) {
  chat::RequestId id;
  id.bytes[0] = 0xcc;
  for (int i = 0; i < 4; ++i) id.bytes[static_cast<std::size_t>(15 - i)] = static_cast<std::uint8_t>(n >> (8 * i));
  return chat::to_text(id);
}
inline std::string text(const chat::UserId& id) { return chat::to_text(id); }

struct Client {
  std::vector<client::Frame> got;
  std::optional<std::uint16_t> close;
  std::string close_reason;

  std::size_t count(client::Frame::BodyCase body) const {
    return static_cast<std::size_t>(std::ranges::count_if(got, [&](const client::Frame& f) { return f.body_case() == body; }));
  }
  // The n-th frame with this body; an empty one where there is none, which the test's expectations then reveal.
  const client::Frame& at(client::Frame::BodyCase body, std::size_t n = 0) const {
    static const client::Frame none;
    for (const client::Frame& frame : got)
      if (frame.body_case() == body && n-- == 0) return frame;
    return none;
  }
  const client::Frame& last(client::Frame::BodyCase body) const {
    std::size_t n = count(body);
    return at(body, n == 0 ? 0 : n - 1);
  }
};

class TestBed : public ::testing::Test, protected Sockets, protected Links, protected Tokens {
 protected:
  static constexpr std::uint32_t kPartitions = 2;
  static constexpr std::uint64_t kInstance = 0x1234;

  TestBed() : broker({.partitions = kPartitions, .topic_id = "topic"}, clock), log(broker) {
    producer = log.make_producer();
    writer = store.writer();
    reader = store.reader();
    accounts = store.accounts();
    EXPECT_TRUE(writer->open("topic", kPartitions));
    for (std::uint8_t n = 1; n <= 6; ++n) {
      accounts->create_user({user(n), "user" + std::to_string(n), "User"}, "hash", [](auto) {});
      accounts->open_login(user(n), login(n), "d", {n}, {clock.wall().value + 1'000'000'000}, [](auto) {});
    }
    store.step_all();
  }

  void start(bool with_links = true) {
    core = std::make_unique<Core>(settings, Ports{clock, log, *producer, *reader, *accounts, *this, *this, *this}, kInstance,
                                  eventlog::Topic{"topic", kPartitions}, std::vector<chat::Offset>(kPartitions), "gateway-0");
    core->on_members({"router-0"});
    if (with_links) open_link();
    run();
  }
  void open_link() {
    link_open = true;
    registered.clear();
    core->on_link_open({0});
    link::Down down;
    for (std::uint32_t p = 0; p < kPartitions; ++p) {
      auto* from = down.add_from();
      from->set_partition(p);
      from->set_offset(from_offset.value_or(routed[p]).value);
    }
    core->on_link_down({0}, down);
  }
  void close_link() {
    link_open = false;
    core->on_link_closed({0});
  }

  // ---- clients ----
  ConnectionId open() {
    ConnectionId id{++connections};
    core->on_open(id);
    return id;
  }
  client::Frame hello_frame(std::uint8_t n, const std::string& device = "d") {
    client::Frame frame;
    frame.mutable_hello()->set_token("u" + std::to_string(n));
    frame.mutable_hello()->set_device_id(device);
    return frame;
  }
  ConnectionId connect(std::uint8_t n, const std::string& device = "d") {
    ConnectionId id = open();
    core->on_frame(id, hello_frame(n, device));
    run();
    EXPECT_EQ(of(id).count(client::Frame::kCaughtUp), 1u) << "user " << int(n) << " did not get in";
    return id;
  }
  void give(ConnectionId id, client::Frame frame, bool and_run = true) {
    core->on_frame(id, std::move(frame));
    if (and_run) run();
  }
  Client& of(ConnectionId id) { return clients[id]; }

  client::Frame send_frame(std::uint32_t id, std::uint8_t to, const std::string& body = "hi", bool resend = false) {
    client::Frame frame;
    frame.set_req_id(id);
    auto& send = *frame.mutable_send();
    send.set_direct_to(text(user(to)));
    send.set_client_msg_id(uuid(id));
    send.set_resend(resend);
    send.mutable_text()->set_body(body);
    return frame;
  }
  client::Frame group_frame(std::uint32_t id, std::vector<std::uint8_t> members) {
    client::Frame frame;
    frame.set_req_id(id);
    auto& create = *frame.mutable_create_conversation();
    create.set_op_id(uuid(id));
    create.set_kind("group");
    create.set_title("group");
    for (std::uint8_t n : members) create.add_members(text(user(n)));
    return frame;
  }

  // ---- the world ----
  void run() {
    for (bool moved = true; moved;) {
      moved = broker_moves && broker.step();
      if (routing) moved = route() || moved;
      if (persisting) moved = persist() || moved;
      if (store_moves && store.waiting() > 0) {
        store.step();
        moved = true;
      }
      moved = answer_ups() || moved;
    }
  }
  void pass(std::uint64_t ms) {
    for (std::uint64_t end = clock.at + ms; clock.at < end;) {
      clock.at += std::min<std::uint64_t>(50, end - clock.at);
      core->on_tick();
      run();
    }
  }

  // The router: folds what is new and tells the gateway.
  bool route() {
    if (!link_open) return false;
    link::Down down;
    for (std::uint32_t p = 0; p < kPartitions; ++p) {
      bool moved = false;
      while (auto entry = broker.at_or_after({p}, routed[p])) {
        fold_one({p}, *entry, down);
        routed[p] = entry->offset.next();
        moved = true;
      }
      if (!moved) continue;
      auto* upto = down.add_upto();
      upto->set_partition(p);
      upto->set_offset(routed[p].value);
    }
    if (down.upto_size() == 0) return false;
    core->on_link_down({0}, down);
    return true;
  }

  void fold_one(chat::Partition p, const eventlog::Entry& entry, link::Down& down) {
    auto record = chat::decode_record(entry.key, entry.value);
    ASSERT_TRUE(record);
    records.push_back({*chat::parse_id<chat::ConversationId>(entry.key), record->id, record->since, record->origin.attempt, record->payload_hash,
                       std::string(entry.traceparent), std::string(record->device)});
    chat::ConversationState& state = router_states[record->conversation];
    auto was = state;
    auto verdict = chat::fold(state, *record, entry.offset, entry.time);
    if (!forced.empty()) {
      if (forced.front() != chat::Code::ok) {
        state = was;
        verdict = chat::Rejected{forced.front()};
        rejected.insert({p.value, entry.offset});
      }
      forced.pop_front();
    }
    if (drop_deliveries) return;
    link::Delivery& d = *down.add_deliveries();
    d.set_partition(p.value);
    d.set_offset(entry.offset.value);
    d.set_conversation(std::string(record->conversation.view()));
    d.set_actor(std::string(record->actor.view()));
    d.set_device(std::string(record->device));
    if (record->id) d.set_id(std::string(record->id.view()));
    d.set_id_is_op(record->id_is_op);
    if (record->origin.gateway == kInstance) {
      d.mutable_origin()->set_connection(record->origin.connection);
      d.mutable_origin()->set_attempt(record->origin.attempt);
    }
    auto recipients = [&](const chat::UserId& u) {
      if (registered.contains(u)) d.mutable_users()->append(u.view());
    };
    if (auto* event = std::get_if<chat::Event>(&verdict)) {
      auto& e = *d.mutable_event();
      e.set_seq(event->seq.value);
      e.set_number(event->number ? event->number->value : 0);
      e.set_time_ms(event->time.value);
      e.set_chain(std::string(reinterpret_cast<const char*>(event->chain.data()), event->chain.size()));
      e.set_body(event->body);
      d.set_receipts(receipts);
      std::set<chat::UserId> all;
      for (const auto& [u, member] : state.members) all.insert(u);
      for (const auto& stay : event->stays) all.insert(stay.user);
      for (const auto& u : all) recipients(u);
    } else if (auto* mark = std::get_if<chat::Mark>(&verdict)) {
      d.mutable_mark()->set_read_seq(mark->read_seq.value);
      d.mutable_mark()->set_read_number(mark->read_number.value);
      d.mutable_mark()->set_delivered_seq(mark->delivered_seq.value);
      const bool delivered = std::holds_alternative<chat::op::Delivered>(record->op);
      for (const auto& [u, member] : state.members)
        if (!delivered || u != record->actor) recipients(u);
    } else if (auto* refused = std::get_if<chat::Rejected>(&verdict)) {
      d.mutable_rejected()->set_code(static_cast<std::uint32_t>(refused->code));
    } else if (auto* duplicate = std::get_if<chat::Duplicate>(&verdict)) {
      d.mutable_duplicate()->set_of_seq(duplicate->of_seq.value);
    } else {
      d.mutable_nothing();
    }
    deliveries.push_back(d);
  }

  // The persister.
  bool persist() {
    bool moved = false;
    for (std::uint32_t p = 0; p < kPartitions && !store.away(); ++p) {
      auto expected = writer->position({p});
      if (!expected || *expected >= broker.end({p})) continue;
      store::Batch batch{
          .partition = {p}, .expected = *expected, .next = broker.end({p}), .events = {}, .conversations = {}, .schedules = {}, .schedules_done = {}};
      std::map<chat::ConversationId, store::ConversationWrite> writes;
      for (auto at = *expected; auto entry = broker.at_or_after({p}, at); at = entry->offset.next()) {
        auto record = chat::decode_record(entry->key, entry->value);
        if (!record) continue;
        auto [it, fresh] = writes.try_emplace(record->conversation);
        store::ConversationWrite& write = it->second;
        if (fresh) {
          write.id = record->conversation;
          write.state = (*writer->load({p}, *expected, {record->conversation})).front();
        }
        write.last_offset = entry->offset;
        if (rejected.contains({p, entry->offset})) continue;
        for (const auto& [u, member] : write.state.members) write.touched.push_back(u);
        auto verdict = chat::fold(write.state, *record, entry->offset, entry->time);
        if (auto* event = std::get_if<chat::Event>(&verdict)) {
          using What = store::StayWrite::What;
          for (const auto& stay : event->stays) write.stays.push_back({stay.begins ? What::begins : What::ends, event->seq, stay.user, event->seq});
          event->stays.clear();
          write.changed = entry->offset;
          batch.events.push_back(store::StoredEvent{});
          batch.events.back().event = *event;
          batch.events.back().offset = entry->offset;
        }
      }
      for (auto& [id, write] : writes) {
        for (const auto& [u, member] : write.state.members) write.touched.push_back(u);
        std::ranges::sort(write.touched);
        const auto repeats = std::ranges::unique(write.touched);
        write.touched.erase(repeats.begin(), repeats.end());
        write.member_count = static_cast<std::uint32_t>(write.state.members.size());
        write.state.window = {};
        write.state.left.reset();
        batch.conversations.push_back(std::move(write));
      }
      EXPECT_TRUE(writer->commit(batch));
      moved = true;
    }
    return moved;
  }

  bool answer_ups() {
    bool moved = false;
    while (!ups.empty() && link_open && answering) {
      link::Up up = std::move(ups.front());
      ups.pop_front();
      moved = true;
      link::Down down;
      for (const auto& r : up.registrations()) {
        auto u = *chat::UserId::from_bytes(r.user());
        if (r.gone())
          registered.erase(u);
        else
          registered.insert(u);
      }
      if (up.confirm() != 0 && confirming) down.set_confirmed(up.confirm());
      for (const auto& request : up.home()) {
        link::HomeReply reply;
        reply.set_user(request.user());
        if (request.has_device_open()) {
          opened_devices.push_back(request.device_open());
          if (!opening) continue;
          if (refuse_devices)
            reply.mutable_device_refused()->set_connection(request.device_open().connection());
          else
            reply.mutable_device_opened()->set_connection(request.device_open().connection());
        } else if (request.has_lease()) {
          ++leases;
          std::uint32_t give_tokens = std::min(tokens, request.lease().tokens());
          tokens -= give_tokens;
          reply.mutable_leased()->set_tokens(give_tokens);
          if (give_tokens == 0) reply.mutable_leased()->set_retry_after_ms(700);
        } else {
          if (request.has_device_close()) closed_devices.push_back(request.device_close());
          continue;
        }
        *down.add_home() = reply;
      }
      core->on_link_down({0}, down);
    }
    return moved;
  }

  // ---- the ports made by hand ----
  void send(ConnectionId connection, OutgoingPtr frame) override {
    clients[connection].got.push_back(frame->frame());
    last_outgoing[connection] = frame;
  }
  void close(ConnectionId connection, std::uint16_t code, std::string_view reason) override {
    EXPECT_FALSE(clients[connection].close) << "closed twice";
    clients[connection].close = code;
    clients[connection].close_reason = std::string(reason);
  }
  void send(RouterId, link::Up message) override { ups.push_back(std::move(message)); }
  void break_stream(RouterId) override { ++broken; }
  std::expected<Identity, TokenFault> verify(std::string_view token, chat::TimeMs) const override {
    if (token == "expired") return std::unexpected(TokenFault::expired);
    if (token.size() != 2 || token[0] != 'u') return std::unexpected(TokenFault::bad);
    auto n = static_cast<std::uint8_t>(token[1] - '0');
    return Identity{user(n), login(n), {clock.wall().value + token_lifetime_ms}};
  }

  struct SeenRecord {
    chat::ConversationId conversation;
    chat::RequestId id;
    chat::Offset since;
    std::uint64_t attempt;
    std::uint64_t payload_hash;
    std::string traceparent, device;
  };

  StepClock clock;
  Settings settings;
  eventlog::memory::MemoryBroker broker;
  eventlog::memory::MemoryLog log;
  std::unique_ptr<eventlog::memory::MemoryProducer> producer;
  store::memory::MemoryStore store;
  std::unique_ptr<store::Writer> writer;
  std::unique_ptr<store::Reader> reader;
  std::unique_ptr<store::Accounts> accounts;
  std::unique_ptr<Core> core;

  std::map<ConnectionId, Client> clients;
  std::map<ConnectionId, OutgoingPtr> last_outgoing;
  std::uint64_t connections = 0;
  std::uint64_t token_lifetime_ms = 900'000;

  bool link_open = false, answering = true, confirming = true, opening = true, refuse_devices = false;
  bool broker_moves = true, routing = true, persisting = true, store_moves = true, drop_deliveries = false;
  std::deque<chat::Code> forced;  // verdicts of the next records, of router and persister alike; ok: as folded
  std::set<std::pair<std::uint32_t, chat::Offset>> rejected;
  std::optional<chat::Offset> from_offset;
  std::deque<link::Up> ups;
  std::set<chat::UserId> registered;
  std::vector<chat::Offset> routed = std::vector<chat::Offset>(kPartitions);
  std::map<chat::ConversationId, chat::ConversationState> router_states;
  std::vector<SeenRecord> records;
  std::vector<link::Delivery> deliveries;
  std::vector<link::DeviceOpen> opened_devices;
  std::vector<link::DeviceClose> closed_devices;
  std::uint32_t tokens = 1'000'000;
  bool receipts = true;  // conversations are small enough for them (R22)
  int leases = 0, broken = 0;
};

}  // namespace parley::gateway
