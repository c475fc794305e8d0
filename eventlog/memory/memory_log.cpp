#include "eventlog/memory/memory_log.h"

#include <algorithm>
#include <utility>

namespace parley::eventlog::memory {

MemoryBroker::MemoryBroker(Settings settings, const runtime::Clock& clock) : settings_(std::move(settings)), clock_(clock), partitions_(settings_.partitions) {}

Offset MemoryBroker::append(const Attempt& attempt) {
  auto& sequence = partitions_.at(attempt.partition.value);
  sequence.last_time = std::max(sequence.last_time, clock_.wall());
  const auto offset = sequence.end;
  sequence.entries.emplace(offset, Stored{sequence.last_time, attempt.key, attempt.value, attempt.traceparent});
  ++sequence.end;
  return offset;
}

void MemoryBroker::skip_offsets(Partition partition, std::uint64_t count) { partitions_.at(partition.value).end.value += count; }

void MemoryBroker::trim(Partition partition, Offset before) {
  auto& sequence = partitions_.at(partition.value);
  before = std::min(before, sequence.end);
  if (before <= sequence.begin) return;
  sequence.begin = before;
  sequence.entries.erase(sequence.entries.begin(), sequence.entries.lower_bound(before));
}

void MemoryBroker::set_committed(const std::string& group, Partition partition, std::optional<Offset> next) {
  if (next)
    committed_[group][partition] = *next;
  else
    committed_[group].erase(partition);
}

void MemoryBroker::land_orphan(std::size_t queue) {
  auto& attempts = orphans_.at(queue);
  append(attempts.front());
  attempts.pop_front();
  if (attempts.empty()) orphans_.erase(orphans_.begin() + static_cast<std::ptrdiff_t>(queue));
}

std::optional<Offset> MemoryBroker::committed(const std::string& group, Partition partition) const {
  const auto found = committed_.find(group);
  if (found == committed_.end()) return std::nullopt;
  const auto offset = found->second.find(partition);
  if (offset == found->second.end()) return std::nullopt;
  return offset->second;
}

std::optional<Entry> MemoryBroker::at_or_after(Partition partition, Offset from) const {
  const auto& entries = partitions_.at(partition.value).entries;
  const auto found = entries.lower_bound(from);
  if (found == entries.end()) return std::nullopt;
  const auto& [offset, stored] = *found;
  return Entry{offset, stored.time, stored.key, stored.value, stored.traceparent};
}

bool MemoryBroker::step() {
  bool moved = false;
  // Callbacks may attach and detach: whoever left meanwhile is passed over.
  const auto each = [&](const auto& attached, auto act) {
    for (auto* one : std::vector(attached))
      if (std::ranges::find(attached, one) != attached.end() && act(*one)) moved = true;
  };
  each(producers_, [](MemoryProducer& producer) { return producer.land(); });
  each(producers_, [](MemoryProducer& producer) { return producer.tell(); });
  each(logs_, [](MemoryLog& log) { return log.answer(); });
  for (std::uint32_t p = 0; p < settings_.partitions; ++p) each(consumers_, [p](MemoryConsumer& consumer) { return consumer.deliver(Partition{p}, 100); });
  return moved;
}

// ---- producer ----

MemoryProducer::~MemoryProducer() {
  std::erase(broker_.producers_, this);
  std::map<Partition, std::deque<Attempt>> flying;
  for (auto& queued : queue_) {
    auto& attempts = flying[queued.attempt.partition];
    if (attempts.size() < in_flight_) attempts.push_back(std::move(queued.attempt));
  }
  for (auto& [partition, attempts] : flying)
    if (!attempts.empty()) broker_.orphans_.push_back(std::move(attempts));
}

std::expected<void, Error> MemoryProducer::produce(Partition partition, std::string_view key, std::string_view value, std::string_view traceparent,
                                                   std::move_only_function<void(std::expected<Offset, Error>)> done) {
  if (key.size() + value.size() > broker_.settings().entry_bytes) return std::unexpected(Error{Errc::too_large, "the entry exceeds entry_bytes"});
  if (queue_.size() >= broker_.settings().queue_entries) return std::unexpected(Error{Errc::queue_full, "the producer's queue is full"});
  queue_.push_back({{partition, std::string(key), std::string(value), std::string(traceparent)}, ++produced_, std::move(done)});
  return {};
}

void MemoryProducer::purge(Partition partition) {
  std::deque<Attempt> flying;
  std::deque<Queued> kept;
  for (auto& queued : queue_) {
    if (queued.attempt.partition != partition) {
      kept.push_back(std::move(queued));
      continue;
    }
    answer(queued, std::unexpected(Error{Errc::purged, "purged by its owner"}));
    if (flying.size() < in_flight_) flying.push_back(std::move(queued.attempt));
  }
  queue_ = std::move(kept);
  if (!flying.empty()) broker_.orphans_.push_back(std::move(flying));
}

void MemoryProducer::flush(std::move_only_function<void()> done) { flushes_.push_back({produced_, std::move(done)}); }

bool MemoryProducer::land() {
  if (queue_.empty() || !broker_.available()) return false;
  auto next = std::move(queue_.front());
  queue_.pop_front();
  const auto offset = broker_.append(next.attempt);
  answer(next, offset);
  return true;
}

bool MemoryProducer::tell() {
  if (answers_.empty()) {
    if (flushes_.empty()) return false;
    const auto waiting = flushes_.size();
    answer_flushes();
    return flushes_.size() != waiting;
  }
  auto next = std::move(answers_.front());
  answers_.pop_front();
  next.call();
  return true;
}

bool MemoryProducer::expire(Partition partition) {
  const auto first = std::ranges::find_if(queue_, [&](const Queued& queued) { return queued.attempt.partition == partition && queued.done; });
  if (first == queue_.end()) return false;
  answer(*first, std::unexpected(Error{Errc::timed_out, "the broker did not answer in time"}));
  return true;
}

void MemoryProducer::answer(Queued& queued, std::expected<Offset, Error> outcome) {
  if (!queued.done) return;
  answers_.push_back({queued.number, [done = std::exchange(queued.done, nullptr), outcome = std::move(outcome)]() mutable { done(std::move(outcome)); }});
}

void MemoryProducer::answer_flushes() {
  // The lowest number that still waits for its answer.
  auto lowest = produced_ + 1;
  for (const auto& queued : queue_)
    if (queued.done) lowest = std::min(lowest, queued.number);
  for (const auto& waiting : answers_) lowest = std::min(lowest, waiting.number);
  while (!flushes_.empty() && flushes_.front().upto < lowest) {
    auto done = std::move(flushes_.front().done);
    flushes_.pop_front();
    done();
  }
}

// ---- consumer ----

void MemoryConsumer::start(Partition partition, Offset from) { reading_[partition] = {from}; }

void MemoryConsumer::pause(Partition partition) {
  if (const auto found = reading_.find(partition); found != reading_.end()) found->second.paused = true;
}

void MemoryConsumer::resume(Partition partition) {
  if (const auto found = reading_.find(partition); found != reading_.end()) found->second.paused = false;
}

void MemoryConsumer::commit(Partition partition, Offset next) {
  if (broker_.available()) broker_.set_committed(options_.group, partition, next);
}

bool MemoryConsumer::deliver(Partition partition, std::size_t most) {
  const auto found = reading_.find(partition);
  if (found == reading_.end() || found->second.paused || !broker_.available()) return false;
  auto& next = found->second.next;
  if (next < broker_.begin(partition) || next > broker_.end(partition)) {
    reading_.erase(found);
    events_.on_out_of_range(partition, broker_.begin(partition));
    return true;
  }
  std::vector<Entry> entries;
  while (entries.size() < most) {
    const auto entry = broker_.at_or_after(partition, next);
    if (!entry) break;
    entries.push_back(*entry);
    next = entry->offset.next();
  }
  // Beyond the last entry there may be skipped offsets: they are read too.
  if (!broker_.at_or_after(partition, next)) {
    if (entries.empty() && next == broker_.end(partition)) return false;
    next = broker_.end(partition);
  }
  events_.on_entries(partition, entries, next);
  return true;
}

void MemoryConsumer::lose(std::span<const Partition> partitions) {
  for (const auto partition : partitions) reading_.erase(partition);
  events_.on_lost(partitions);
}

std::vector<Partition> MemoryConsumer::reading() const {
  std::vector<Partition> out;
  for (const auto& [partition, reading] : reading_) out.push_back(partition);
  return out;
}

// ---- log ----

template <class T, class Get>
void MemoryLog::ask(Callback<T> done, Get get) {
  std::expected<T, Error> result = std::unexpected(Error{Errc::unavailable, "the broker is away"});
  if (broker_.available()) result = get();
  questions_.push_back([done = std::move(done), result = std::move(result)]() mutable { done(std::move(result)); });
}

void MemoryLog::open(Callback<Topic> done) {
  ask<Topic>(std::move(done), [&]() -> std::expected<Topic, Error> { return Topic{broker_.settings().topic_id, broker_.settings().partitions}; });
}

void MemoryLog::ends(Callback<std::vector<Offset>> done) {
  ask<std::vector<Offset>>(std::move(done), [&]() -> std::expected<std::vector<Offset>, Error> {
    std::vector<Offset> out;
    for (std::uint32_t p = 0; p < broker_.settings().partitions; ++p) out.push_back(broker_.end(Partition{p}));
    return out;
  });
}

void MemoryLog::begins(Callback<std::vector<Offset>> done) {
  ask<std::vector<Offset>>(std::move(done), [&]() -> std::expected<std::vector<Offset>, Error> {
    std::vector<Offset> out;
    for (std::uint32_t p = 0; p < broker_.settings().partitions; ++p) out.push_back(broker_.begin(Partition{p}));
    return out;
  });
}

void MemoryLog::since(TimeMs time, Callback<std::vector<std::optional<Offset>>> done) {
  ask<std::vector<std::optional<Offset>>>(std::move(done), [&]() -> std::expected<std::vector<std::optional<Offset>>, Error> {
    std::vector<std::optional<Offset>> out;
    for (std::uint32_t p = 0; p < broker_.settings().partitions; ++p) {
      auto entry = broker_.at_or_after(Partition{p}, broker_.begin(Partition{p}));
      while (entry && entry->time < time) entry = broker_.at_or_after(Partition{p}, entry->offset.next());
      out.push_back(entry ? std::optional(entry->offset) : std::nullopt);
    }
    return out;
  });
}

void MemoryLog::committed(std::string group, Callback<std::vector<std::optional<Offset>>> done) {
  ask<std::vector<std::optional<Offset>>>(std::move(done), [&]() -> std::expected<std::vector<std::optional<Offset>>, Error> {
    std::vector<std::optional<Offset>> out;
    for (std::uint32_t p = 0; p < broker_.settings().partitions; ++p) out.push_back(broker_.committed(group, Partition{p}));
    return out;
  });
}

void MemoryLog::trim(Partition partition, Offset before, Callback<void> done) {
  // Carried out with the answer, so that entries being read now stay.
  questions_.push_back([this, partition, before, done = std::move(done)]() mutable {
    if (!broker_.available()) return done(std::unexpected(Error{Errc::unavailable, "the broker is away"}));
    broker_.trim(partition, before);
    done({});
  });
}

bool MemoryLog::answer() {
  if (questions_.empty()) return false;
  auto next = std::move(questions_.front());
  questions_.pop_front();
  next();
  return true;
}

}  // namespace parley::eventlog::memory
