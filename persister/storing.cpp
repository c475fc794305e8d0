#include "persister/storing.h"

#include <algorithm>

namespace parley::persister {

namespace {

constexpr unsigned kFirstBackoffMs = 50, kLongestBackoffMs = 2'000;
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

template <class T, class Try, class Still>
std::optional<store::Result<T>> Storing::persist(Try attempt, Still still) {
  for (unsigned failures = 0; still(); ++failures) {
    store::Result<T> outcome = attempt();
    const bool away = !outcome && outcome.error().code == store::Errc::unavailable;
    if (away != away_) {
      away_ = away;
      reports_.store_away(away, away ? outcome.error().message : "");
    }
    if (!away) return outcome;
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
    Inbox::Next next = inbox_.next(settings_.batch_rows, std::chrono::milliseconds(settings_.batch_wait_ms), due_at);
    if (next.stopping) break;
    reports_.alive();
    if (next.start) start(*next.start);
    if (next.work) work(*std::move(next.work));
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
  const auto at = workers_.find(work.partition);
  if (at == workers_.end() || at->second.first != work.epoch || work.chunks.empty()) return;
  Worker& worker = *at->second.second;
  std::vector<eventlog::Entry> entries;
  for (const Chunk& chunk : work.chunks) entries.insert(entries.end(), chunk.entries.begin(), chunk.entries.end());
  const Offset end = work.chunks.back().end;
  const auto begun = steady_clock::now();
  // Also while stopping a batch that was taken is tried once: what is in hand is finished.
  const auto still = [&] { return wanted(work.partition, work.epoch); };

  auto batch = persist<store::Batch>([&] { return worker.fold_batch(entries, end); }, still);
  if (!batch) return;
  store::Result<void> written;
  if (!*batch) {
    written = std::unexpected(batch->error());
  } else if ((*batch)->next != (*batch)->expected) {
    const auto outcome = persist<void>([&] { return worker.commit(**batch); }, still);
    if (!outcome) return;
    written = *outcome;
  }
  if (!written) {
    workers_.erase(work.partition);
    if (written.error().code == store::Errc::lost) return reports_.lost(work.partition, work.epoch);
    return reports_.stopped(work.partition, work.epoch, written.error().message);
  }
  reports_.stored({work.partition, work.epoch, worker.position(), entries.size(), (*batch)->events.size(),
                   entries.empty() ? chat::TimeMs{} : entries.back().time, std::chrono::duration<double>(steady_clock::now() - begun).count(), work.has_room});
  if (worker.stopped()) {
    const std::string where = std::to_string(worker.stopped()->value);
    workers_.erase(work.partition);
    reports_.stopped(work.partition, work.epoch, "the record at offset " + where + " bears a fold version that this binary does not know (R6)");
  }
}

bool Storing::look_for_due() {
  bool more = false;
  share_cache();
  for (auto at = workers_.begin(); at != workers_.end();) {
    const auto& [partition, worker] = *at;
    // PostgreSQL may have come back older than it was. With nothing to write nobody would notice, and fresh reads would wait for ever.
    if (auto there = writer_->position(partition); there && *there != worker.second->position()) {
      reports_.lost(partition, worker.first);
      at = workers_.erase(at);
      continue;
    }
    auto due = writer_->due(partition, clock_.wall(), kDueAtOnce);
    if (!due) break;  // the next look is soon enough
    more = more || due->size() == kDueAtOnce;
    if (!due->empty()) reports_.due(*std::move(due), partition);
    ++at;
  }
  return more;
}

}  // namespace parley::persister
