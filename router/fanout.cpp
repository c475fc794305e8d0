#include "router/fanout.h"

#include <algorithm>
#include <utility>

namespace parley::router {

namespace {

void append(std::string& bytes, const chat::UserId& user) { bytes.append(user.view()); }

void fill_verdict(link::Delivery& to, const chat::Verdict& verdict) {
  struct Fill {
    link::Delivery& to;
    void operator()(const chat::Event& event) const {
      link::Event& e = *to.mutable_event();
      e.set_seq(event.seq.value);
      e.set_number(event.number ? event.number->value : 0);
      e.set_time_ms(event.time.value);
      e.set_chain(event.chain.data(), event.chain.size());
      e.set_body(event.body);
    }
    void operator()(const chat::Mark& mark) const {
      link::Mark& m = *to.mutable_mark();
      m.set_read_seq(mark.read_seq.value);
      m.set_read_number(mark.read_number.value);
      m.set_delivered_seq(mark.delivered_seq.value);
    }
    void operator()(const chat::Rejected& rejected) const { to.mutable_rejected()->set_code(static_cast<std::uint32_t>(rejected.code)); }
    void operator()(const chat::Duplicate& duplicate) const { to.mutable_duplicate()->set_of_seq(duplicate.of_seq.value); }
    void operator()(const chat::Nothing&) const { to.mutable_nothing(); }
  };
  std::visit(Fill{to}, verdict);
}

void fill_about(link::Delivery& to, const chat::RequestId& id, bool id_is_op, const chat::UserId& actor, std::string_view device) {
  if (id) to.set_id(id.bytes.data(), id.bytes.size());
  to.set_id_is_op(id_is_op);
  to.set_actor(actor.bytes.data(), actor.bytes.size());
  to.set_device(device.data(), device.size());
}

}  // namespace

void Fanout::open(StreamId stream, std::uint64_t gateway) {
  Slot slot = 0;
  while (slot < outlets_.size() && outlets_[slot].stream.value != 0) ++slot;
  if (slot == outlets_.size()) outlets_.emplace_back();
  outlets_[slot] = Outlet{};
  outlets_[slot].stream = stream;
  outlets_[slot].gateway = gateway;
  by_stream_[stream] = slot;
  by_gateway_[gateway] = slot;
}

void Fanout::close(StreamId stream) {
  auto it = by_stream_.find(stream);
  if (it == by_stream_.end()) return;
  Slot slot = it->second;
  by_stream_.erase(it);
  by_gateway_.erase(outlets_[slot].gateway);
  registry_.remove_slot(slot);
  outlets_[slot] = Outlet{};
}

std::optional<Slot> Fanout::slot(StreamId stream) const {
  auto it = by_stream_.find(stream);
  if (it == by_stream_.end()) return std::nullopt;
  return it->second;
}

std::optional<Slot> Fanout::of_gateway(std::uint64_t gateway) const {
  auto it = by_gateway_.find(gateway);
  if (it == by_gateway_.end()) return std::nullopt;
  return it->second;
}

std::size_t Fanout::registered_streams() const {
  return static_cast<std::size_t>(std::ranges::count_if(outlets_, [](const Outlet& outlet) { return outlet.registered; }));
}

// The one Delivery of the present outcome for this stream.
link::Delivery& Fanout::delivery(Slot slot, const Outward& what, const Outcome& outcome) {
  Outlet& outlet = outlets_[slot];
  if (outlet.outcome == outcome_) return *outlet.delivery;
  if (outlet.bytes > kDownBytes) hand_over(outlet);
  outlet.outcome = outcome_;
  outlet.delivery = outlet.down.add_deliveries();
  ++deliveries_;
  link::Delivery& d = *outlet.delivery;
  d.set_partition(what.partition.value);
  d.set_offset(what.offset.value);
  d.set_conversation(what.conversation.bytes.data(), what.conversation.bytes.size());
  d.set_traceparent(what.traceparent.data(), what.traceparent.size());
  if (const auto* event = std::get_if<chat::Event>(&outcome.verdict)) {
    fill_about(d, event->id, event->id_is_op, event->sender, event->device);
    d.set_receipts(outcome.receipts);
    gathered(outlet, event->body.size());
  } else if (what.record) {
    fill_about(d, what.record->id, what.record->id_is_op, what.record->actor, what.record->device);
  }
  fill_verdict(d, outcome.verdict);
  gathered(outlet, 160);
  return d;
}

void Fanout::deliver(const Outward& what, const Outcome& outcome) {
  ++outcome_;
  for (const chat::UserId& user : outcome.recipients)
    registry_.each(user, [&](Slot slot) {
      append(*delivery(slot, what, outcome).mutable_users(), user);
      gathered(outlets_[slot], 16);
    });
  if (!what.record) return;
  // R16: whoever waits for the outcome gets it in the same message as the event.
  if (auto waiting = by_gateway_.find(what.record->origin.gateway); waiting != by_gateway_.end()) {
    link::Origin& origin = *delivery(waiting->second, what, outcome).mutable_origin();
    origin.set_connection(what.record->origin.connection);
    origin.set_attempt(what.record->origin.attempt);
  }
}

void Fanout::reject(const Outward& what, const chat::Origin& origin, const chat::RequestId& id, bool id_is_op, chat::Code code) {
  chat::Record record;
  record.origin = origin;
  record.id = id;
  record.id_is_op = id_is_op;
  Outward outward = what;
  outward.record = &record;
  deliver(outward, Outcome{chat::Rejected{code}, {}});
}

void Fanout::ephemeral(const link::Ephemeral& message) {
  std::vector<std::pair<Slot, link::Ephemeral*>> made;
  const std::string& users = message.users();
  for (std::size_t at = 0; at + 16 <= users.size(); at += 16) {
    chat::UserId user = *chat::UserId::from_bytes(std::string_view(users).substr(at, 16));
    registry_.each(user, [&](Slot slot) {
      auto it = std::ranges::find(made, slot, &std::pair<Slot, link::Ephemeral*>::first);
      if (it == made.end()) {
        link::Ephemeral* to = outlets_[slot].down.add_ephemeral();
        to->set_frame(message.frame());
        gathered(outlets_[slot], message.frame().size() + 16);
        it = made.insert(made.end(), {slot, to});
      }
      append(*it->second->mutable_users(), user);
    });
  }
}

void Fanout::from(Slot slot, Partition partition, Offset offset) {
  Outlet& outlet = outlets_[slot];
  // Within a Down `from` is applied first: what was gathered before belongs to what was told before.
  if (outlet.down.from_size() == 0 && outlet.bytes > 0) hand_over(outlet);
  auto* from = outlet.down.add_from();
  from->set_partition(partition.value);
  from->set_offset(offset.value);
  outlet.upto[partition] = offset;
  gathered(outlet, 16);
}

void Fanout::from_all(Partition partition, Offset offset) {
  for (Slot slot = 0; slot < outlets_.size(); ++slot)
    if (outlets_[slot].registered) from(slot, partition, offset);
}

void Fanout::confirm(Slot slot, std::uint64_t number) {
  outlets_[slot].down.set_confirmed(number);
  gathered(outlets_[slot], 16);
}

link::HomeReply& Fanout::reply(Slot slot) {
  gathered(outlets_[slot], 64);
  return *outlets_[slot].down.add_home();
}

void Fanout::flush(std::span<const Upto> positions, Flush which) {
  for (Outlet& outlet : outlets_) {
    if (outlet.stream.value == 0 || (outlet.bytes == 0 && which == Flush::gathered)) continue;
    if (outlet.registered)
      for (const Upto& position : positions) {
        Offset& told = outlet.upto[position.partition];
        if (told >= position.offset && which != Flush::all) continue;
        told = std::max(told, position.offset);
        auto* upto = outlet.down.add_upto();
        upto->set_partition(position.partition.value);
        upto->set_offset(position.offset.value);
        gathered(outlet, 16);
      }
    if (outlet.bytes > 0) hand_over(outlet);
  }
}

void Fanout::hand_over(Outlet& outlet) {
  outlet.bytes = 0;
  outlet.outcome = 0;
  outlet.delivery = nullptr;
  streams_.send(outlet.stream, std::exchange(outlet.down, link::Down{}));
}

}  // namespace parley::router
