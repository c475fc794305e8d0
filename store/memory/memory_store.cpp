#include "store/memory/memory_store.h"

#include <algorithm>
#include <utility>

#include "chat/rules.h"
#include "store/memory/memory_ports.h"

namespace parley::store::memory {

bool Conversation::sees(const UserId& user, Seq seq) const {
  const auto at = stays.find(user);
  if (at == stays.end()) return false;
  return std::ranges::any_of(at->second, [&](const StayRow& stay) { return stay.from <= seq && (!stay.to || seq <= *stay.to); });
}

bool Conversation::changed_for(const UserId& member, Offset since) const {
  const auto at = members_changed.find(member);
  return changed >= since || (at != members_changed.end() && at->second >= since);
}

std::optional<Seq> Conversation::first_visible(const UserId& user) const {
  const auto at = stays.find(user);
  if (at == stays.end() || at->second.empty()) return std::nullopt;
  return std::ranges::min(at->second, {}, &StayRow::from).from;
}

chat::ConversationState Conversation::whole() const {
  chat::ConversationState out = state;
  std::vector<chat::Consumed> consumed;
  for (const auto& [seq, stored] : events) {
    if (stored.event.id) consumed.push_back({stored.event.sender, stored.event.id, seq, stored.offset, stored.event.payload_hash});
  }
  for (const StoredSchedule& schedule : schedules) {
    if (chat::on(chat::Rule::sched_id)) consumed.push_back({schedule.user, schedule.id, Seq{0}, schedule.offset, schedule.payload_hash});
    if (!schedule.done) out.pending.emplace_back(schedule.user, schedule.id);
  }
  std::ranges::sort(consumed, {}, &chat::Consumed::offset);
  const std::size_t skipped = consumed.size() > chat::kWindow + 1 ? consumed.size() - chat::kWindow - 1 : 0;
  chat::restore_window(out, std::span(consumed).subspan(skipped));
  return out;
}

MemoryStore::MemoryStore() : people_(std::make_unique<People>()) {}
MemoryStore::~MemoryStore() = default;

std::unique_ptr<Writer> MemoryStore::writer() { return std::make_unique<MemoryWriter>(*this); }
std::unique_ptr<Reader> MemoryStore::reader() { return std::make_unique<MemoryReader>(*this); }
std::unique_ptr<Accounts> MemoryStore::accounts() { return std::make_unique<MemoryAccounts>(*this); }

void MemoryStore::step(std::size_t index) {
  if (index >= waiting_.size()) return;
  Waiting next = std::move(waiting_[index]);
  waiting_.erase(waiting_.begin() + static_cast<std::ptrdiff_t>(index));
  if (!next.run) next.run = next.snapshot();
  next.run();
}

void MemoryStore::take_snapshot(std::size_t index) {
  if (index >= waiting_.size() || waiting_[index].run) return;
  waiting_[index].run = waiting_[index].snapshot();
}

void MemoryStore::step_all() {
  while (!waiting_.empty()) step();
}

void MemoryStore::forget(const void* owner) {
  std::erase_if(waiting_, [&](const Waiting& waiting) { return waiting.owner == owner; });
}

bool MemoryStore::roll_back(std::size_t commits) {
  if (commits == 0 || commits > older_.size()) return false;
  data_ = older_[older_.size() - commits];
  older_.resize(older_.size() - commits);
  return true;
}

namespace {

const Error kAway{Errc::unavailable, "the store is away"};

void write_stay(Conversation& c, const StayWrite& write) {
  switch (write.what) {
    case StayWrite::What::begins:
      c.stays[write.user].push_back({write.seq, write.from, std::nullopt});
      return;
    case StayWrite::What::ends:
      for (StayRow& stay : c.stays[write.user]) {
        if (!stay.to) stay.to = write.seq;
      }
      return;
    case StayWrite::What::opens:
      for (auto& [user, stays] : c.stays) {
        for (StayRow& stay : stays) {
          if (!stay.to) stay.from = Seq{1};
        }
      }
      return;
  }
}

}  // namespace

Result<void> MemoryStore::commit(const Batch& batch, std::move_only_function<void(Partition, const StoredEvent&, std::string_view)>& quarantined) {
  if (away_) return std::unexpected(kAway);
  if (batch.partition.value >= data_.positions.size()) return std::unexpected(Error{Errc::misconfigured, "no such partition"});
  Offset& position = data_.positions[batch.partition.value];
  if (position != batch.expected && chat::on(chat::Rule::cas)) return std::unexpected(Error{Errc::lost, "somebody else wrote this partition"});
  older_.push_back(data_);
  if (older_.size() > kKept) older_.pop_front();

  std::map<ConversationId, std::shared_ptr<Conversation>> fresh;
  const auto at = [&](const ConversationId& id) -> Conversation& {
    auto& copy = fresh[id];
    if (!copy) {
      const Conversation* there = data_.find(id);
      copy = there == nullptr ? std::make_shared<Conversation>() : std::make_shared<Conversation>(*there);
      copy->partition = batch.partition;
    }
    return *copy;
  };
  for (const StoredEvent& event : batch.events) {
    StoredEvent stored = event;
    stored.event.stays.clear();
    if (refused_ && refused_(event)) {
      if (quarantined) quarantined(batch.partition, event, "refused");
      stored.event.body.clear();
      stored.quarantined = true;
    }
    at(event.event.conversation).events[event.event.seq] = std::move(stored);
  }
  for (const ConversationWrite& write : batch.conversations) {
    Conversation& c = at(write.id);
    std::map<UserId, chat::Member> members = std::move(c.state.members);
    c.state = write.state;
    for (const UserId& user : write.touched) {
      if (const chat::Member* member = write.state.member(user)) {
        members[user] = *member;
        c.members_changed[user] = write.last_offset;
      } else {
        members.erase(user);
        c.members_changed.erase(user);
      }
    }
    c.state.members = std::move(members);
    if (write.changed) c.changed = *write.changed;
    for (const StayWrite& stay : write.stays) write_stay(c, stay);
  }
  for (const StoredSchedule& schedule : batch.schedules) at(schedule.conversation).schedules.push_back(schedule);
  for (const ScheduleDone& done : batch.schedules_done) {
    for (StoredSchedule& schedule : at(done.conversation).schedules) {
      if (schedule.user == done.user && schedule.id == done.id) schedule.done = true;
    }
  }
  for (auto& [id, conversation] : fresh) data_.conversations[id] = std::move(conversation);
  position = batch.next;
  for (MemoryReader* reader : readers_) reader->moved(batch.partition, batch.next);
  if (std::exchange(lose_answer_, false)) return std::unexpected(kAway);
  return {};
}

Result<std::vector<Offset>> MemoryWriter::open(std::string_view topic_id, std::uint32_t partitions) {
  if (store_.away_) return std::unexpected(kAway);
  if (store_.topic_id_.empty()) {
    store_.topic_id_ = topic_id;
    store_.data_.positions.resize(partitions);
  }
  if (store_.topic_id_ != topic_id || store_.data_.positions.size() != partitions)
    return std::unexpected(Error{Errc::misconfigured,
                                 mismatch({store_.topic_id_, static_cast<std::uint32_t>(store_.data_.positions.size())}, {std::string(topic_id), partitions})});
  return store_.data_.positions;
}

Result<Offset> MemoryWriter::position(Partition partition) {
  if (store_.away_) return std::unexpected(kAway);
  if (partition.value >= store_.data_.positions.size()) return std::unexpected(Error{Errc::misconfigured, "no such partition"});
  return store_.data_.positions[partition.value];
}

Result<std::vector<chat::ConversationState>> MemoryWriter::load(Partition partition, Offset at, const std::vector<ConversationId>& conversations) {
  if (store_.away_) return std::unexpected(kAway);
  if (store_.data_.positions.at(partition.value) != at && chat::on(chat::Rule::cas))
    return std::unexpected(Error{Errc::lost, "the position is not where this batch begins"});
  std::vector<chat::ConversationState> out;
  for (const ConversationId& id : conversations) {
    const Conversation* there = store_.data_.find(id);
    out.push_back(there == nullptr ? chat::ConversationState{} : there->whole());
  }
  return out;
}

Result<std::vector<StoredSchedule>> MemoryWriter::due(Partition partition, TimeMs now, std::size_t limit) {
  if (store_.away_) return std::unexpected(kAway);
  std::vector<StoredSchedule> out;
  for (const auto& [id, conversation] : store_.data_.conversations) {
    if (conversation->partition != partition) continue;
    for (const StoredSchedule& schedule : conversation->schedules) {
      if (!schedule.done && schedule.due <= now) out.push_back(schedule);
    }
  }
  std::ranges::sort(out, {}, [](const StoredSchedule& schedule) { return std::pair(schedule.due, schedule.offset); });
  if (out.size() > limit) out.resize(limit);
  return out;
}

}  // namespace parley::store::memory
