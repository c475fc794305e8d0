#include "persister/storing.h"

#include <algorithm>
#include <utility>

namespace parley::persister {

namespace {

constexpr unsigned kFirstBackoffMs = 50, kLongestBackoffMs = 2'000;
constexpr unsigned kRefusals = 5;  // in a row, of one batch, while the store answers: its partition is put aside
constexpr std::chrono::milliseconds kFirstAside{500}, kLongestAside{5'000};
constexpr int kAsideShare = 4;              // and this many times what an attempt took, so that slow refusals leave the others most of the time
constexpr std::chrono::seconds kQuiet{10};  // idle or not, a sign of life at least so often
constexpr unsigned kDueRefusals = 3;        // of one look
constexpr std::size_t kDueAtOnce = 100;
constexpr std::chrono::milliseconds kDueAgain{50};  // where these were not all: about what they take to come back through the log

}  // namespace

Storing::Storing(Settings settings, std::chrono::milliseconds due_every, Inbox& inbox, std::unique_ptr<store::Writer> writer,
                 std::function<store::Result<void>()> prepare, const runtime::Clock& clock, Reports reports)
    : settings_(settings),
      due_every_(due_every),
      inbox_(inbox),
      writer_(std::move(writer)),
      prepare_(std::move(prepare)),
      clock_(clock),
      reports_(std::move(reports)) {}

Storing::~Storing() {
  if (thread_.joinable()) thread_.join();
}

void Storing::open(std::string topic_id, std::uint32_t partitions) {
  thread_ = std::thread([this, topic_id = std::move(topic_id), partitions] { run(topic_id, partitions); });
}

void Storing::tell_away(bool away, const std::string& why) {
  if (std::exchange(away_, away) != away) reports_.store_away(away, why);
}

template <class T, class Try, class Still, class Enough>
std::optional<store::Result<T>> Storing::persist(Try attempt, Still still, Enough enough) {
  for (unsigned failures = 0; still(); ++failures) {
    store::Result<T> outcome = attempt();
    const bool away = !outcome && outcome.error().code == store::Errc::unavailable;
    tell_away(away, away ? outcome.error().message : "");
    if (!away || enough(failures + 1)) return outcome;
    const unsigned longest = std::min(kLongestBackoffMs, kFirstBackoffMs << std::min(failures, 10u));
    if (!inbox_.pause(std::chrono::milliseconds(std::uniform_int_distribution<unsigned>(1, longest)(random_)))) return std::nullopt;
  }
  return std::nullopt;
}

void Storing::run(const std::string& topic_id, std::uint32_t partitions) {
  const auto always = [] { return true; };
  if (auto prepared = persist<void>(prepare_, always)) {
    store::Result<void> opened = *prepared;
    if (opened) {
      if (auto positions = persist<std::vector<Offset>>([&] { return writer_->open(topic_id, partitions); }, always); positions && !*positions)
        opened = std::unexpected(positions->error());
    }
    if (!inbox_.stopping()) reports_.opened(opened);
  }
  auto due_at = steady_clock::now() + due_every_;
  for (;;) {
    auto until = std::min(due_at, steady_clock::now() + kQuiet);
    for (const auto& [partition, taken] : held_) until = std::min(until, taken.not_before);
    Inbox::Next next = inbox_.next(settings_.batch_rows, std::chrono::milliseconds(settings_.batch_wait_ms), until, aside_);
    if (next.stopping) break;
    reports_.alive();
    if (next.start) start(*next.start);
    if (next.work) work(*std::move(next.work));
    retry_aside();
    if (steady_clock::now() >= due_at) {
      const bool more = look_for_due();
      due_at = steady_clock::now() + (more ? std::min(kDueAgain, due_every_) : due_every_);
    }
  }
  reports_.ended();
}

// Asked before each attempt.
bool Storing::wanted(Partition partition, Epoch epoch) {
  reports_.alive();
  return inbox_.current(partition, epoch);
}

void Storing::start(const Inbox::Start& start) {
  workers_.erase(start.partition);
  held_.erase(start.partition);
  aside_.erase(start.partition);
  const auto still = [&] { return wanted(start.partition, start.epoch); };
  const auto position = persist<Offset>([&] { return writer_->position(start.partition); }, still);
  if (!position) return;
  if (!*position) return reports_.stopped(start.partition, start.epoch, position->error().message);
  workers_[start.partition] = {start.epoch, std::make_unique<Worker>(settings_, *writer_, start.partition, **position)};
  share_cache();
  reports_.started(start.partition, start.epoch, **position);
}

void Storing::share_cache() {
  std::erase_if(workers_, [&](const auto& one) { return !inbox_.current(one.first, one.second.first); });  // those that left
  for (auto& [partition, worker] : workers_) worker.second->keep(settings_.cache_bytes / workers_.size());
}

void Storing::work(Inbox::Work work) {
  if (work.chunks.empty()) return;
  Taken taken;
  for (const Chunk& chunk : work.chunks) taken.entries.insert(taken.entries.end(), chunk.entries.begin(), chunk.entries.end());
  taken.end = work.chunks.back().end;
  taken.work = std::move(work);
  write(std::move(taken));
}

void Storing::write(Taken taken) {
  const Partition partition = taken.work.partition;
  const Epoch epoch = taken.work.epoch;
  const auto at = workers_.find(partition);
  if (at == workers_.end() || at->second.first != epoch) return;
  Worker& worker = *at->second.second;
  const auto begun = steady_clock::now();
  // Also while stopping a batch that was taken is tried once: what is in hand is finished.
  const auto still = [&] { return wanted(partition, epoch); };
  const auto attempt = [&]() -> store::Result<void> {
    if (!taken.batch) {
      auto batch = worker.fold_batch(taken.entries, taken.end);
      if (!batch) return std::unexpected(batch.error());
      taken.batch = *std::move(batch);
    }
    if (taken.batch->next == taken.batch->expected) return {};
    return worker.commit(*taken.batch);
  };
  // One that was put aside is tried once, and says nothing about the store as a whole.
  const auto enough = [&](unsigned failures) { return failures >= kRefusals && writer_->position(partition).has_value(); };
  const auto written = taken.times_aside > 0 ? (still() ? std::optional(attempt()) : std::nullopt) : persist<void>(attempt, still, enough);
  if (!written) return;
  if (!*written && written->error().code == store::Errc::unavailable) return put_aside(std::move(taken), written->error().message, steady_clock::now() - begun);
  if (!*written) {
    workers_.erase(partition);
    if (written->error().code == store::Errc::lost) return reports_.lost(partition, epoch);
    return reports_.stopped(partition, epoch, written->error().message);
  }
  reports_.stored({partition, epoch, worker.position(), taken.entries.size(), taken.batch->events.size(),
                   taken.entries.empty() ? chat::TimeMs{} : taken.entries.back().time, std::chrono::duration<double>(steady_clock::now() - begun).count(),
                   taken.work.has_room});
  if (worker.stopped()) {
    const std::string where = std::to_string(worker.stopped()->value);
    workers_.erase(partition);
    reports_.stopped(partition, epoch, "the record at offset " + where + " bears a fold version that this binary does not know (R6)");
  }
}

// Its order is kept: the inbox gives nothing more of this partition until this very batch is written or given up.
void Storing::put_aside(Taken taken, const std::string& why, steady_clock::duration took) {
  if (taken.times_aside == 0) {
    tell_away(false, "");
    took /= kRefusals;  // so many attempts
  }
  const auto wait = std::min<std::chrono::milliseconds>(kLongestAside, kFirstAside * (1 << std::min(taken.times_aside, 8u)));
  ++taken.times_aside;
  taken.not_before = steady_clock::now() + std::max<steady_clock::duration>(wait, kAsideShare * took);
  const Partition partition = taken.work.partition;
  reports_.aside(partition, taken.work.epoch, why);
  aside_.insert(partition);
  held_.insert_or_assign(partition, std::move(taken));
}

void Storing::retry_aside() {
  const auto now = steady_clock::now();
  const auto at = std::ranges::min_element(held_, {}, [](const auto& one) { return one.second.not_before; });
  if (at == held_.end() || at->second.not_before > now) return;
  Taken taken = std::move(at->second);
  aside_.erase(at->first);
  held_.erase(at);
  write(std::move(taken));
}

bool Storing::look_for_due() {
  bool more = false;
  unsigned refusals = 0;
  share_cache();
  for (auto at = workers_.begin(); at != workers_.end();) {
    const auto& [partition, worker] = *at;
    // PostgreSQL may have come back older than it was. With nothing to write nobody would notice, and fresh reads would wait for ever.
    auto there = writer_->position(partition);
    if (!there) break;  // the next look is soon enough
    // Not of one put aside: whether its batch was written it finds out itself.
    if (!aside_.contains(partition) && *there != worker.second->position()) {
      reports_.lost(partition, worker.first);
      at = workers_.erase(at);
      continue;
    }
    auto due = writer_->due(partition, clock_.wall(), kDueAtOnce);
    if (!due) {
      // This partition's alone, as far as is known.
      if (++refusals == kDueRefusals) break;
      ++at;
      continue;
    }
    more = more || due->size() == kDueAtOnce;
    if (!due->empty()) reports_.due(*std::move(due), partition);
    ++at;
  }
  return more;
}

}  // namespace parley::persister
