// What the persister costs against the least that storing rows can cost: entries through Worker and Writer (fold, COPY, conversations,
// members, stays, position), and the same events by plain COPY into a table of the same columns with a primary key. Both in
// batches of one transaction each, interleaved, on one server, in one run.
//
//   persister_bench "host=... dbname=..." [batch rows] [rows a round] [rounds]        the database must be empty
#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <deque>
#include <fstream>

#include "persister/worker.h"
#include "runtime/postgres/connection.h"
#include "store/postgres/batch_statements.h"
#include "store/postgres/schema.h"
#include "store/postgres/writer.h"

namespace parley::persister {
namespace {

using runtime::postgres::Connection;
constexpr std::size_t kConversations = 200, kBodyBytes = 200;

template <class T>
T need(std::expected<T, store::Error> outcome) {
  if (outcome) return *std::move(outcome);
  fmt::print(stderr, "{}\n", outcome.error().message);
  std::exit(1);
}
void need(std::expected<void, store::Error> outcome) {
  if (outcome) return;
  fmt::print(stderr, "{}\n", outcome.error().message);
  std::exit(1);
}
template <class T>
T ask(std::expected<T, runtime::postgres::Error> outcome) {
  if (outcome) return *std::move(outcome);
  fmt::print(stderr, "{}\n", outcome.error().message);
  std::exit(1);
}
void ask(std::expected<void, runtime::postgres::Error> outcome) {
  if (outcome) return;
  fmt::print(stderr, "{}\n", outcome.error().message);
  std::exit(1);
}

chat::UserId user_of(std::uint64_t n) {
  chat::UserId id;
  for (int i = 0; i < 8; ++i) id.bytes[static_cast<std::size_t>(15 - i)] = static_cast<std::uint8_t>(n >> (8 * i));
  return id;
}

// Sends of 200 pairs in turn, 200 bytes each, in the order a log would hold them.
class Source {
 public:
  std::vector<eventlog::Entry> next(std::size_t rows) {
    bytes_.clear();
    std::vector<eventlog::Entry> out;
    for (std::size_t i = 0; i < rows; ++i) {
      const std::uint64_t pair = 2 * (offset_.value * 7 % kConversations);
      chat::Record record;
      record.actor = user_of(pair + offset_.value % 2);
      const chat::UserId peer = user_of(pair + 1 - offset_.value % 2);
      record.conversation = chat::direct_conversation(record.actor, peer);
      record.device = "bench";
      record.id.bytes = ids_.next({1'700'000'000'000 + offset_.value / 10});
      record.since = offset_;
      record.op = chat::op::Send{peer, body_, false};
      bytes_.push_back(chat::to_text(record.conversation));
      const std::string& key = bytes_.back();
      bytes_.push_back(chat::encode_record(record));
      out.push_back({offset_, chat::TimeMs{1'700'000'000'000 + offset_.value / 10}, key, bytes_.back(), ""});
      ++offset_;
    }
    return out;
  }
  chat::Offset end() const { return offset_; }

 private:
  std::deque<std::string> bytes_;
  chat::Offset offset_;
  chat::IdGenerator ids_{42};
  const std::string body_ = std::string(kBodyBytes, 'x');
};

// CPU time of this process, and of a server process on this machine (Linux, /proc/PID/schedstat): what other work on the machine
// does not change, unlike the time on the wall.
double own_cpu() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}
double cpu_of(std::uint32_t pid) {
  std::ifstream file(fmt::format("/proc/{}/schedstat", pid));
  double ns = 0;
  file >> ns;
  return ns / 1e9;
}
struct Cost {
  double wall = 0, client = 0, server = 0;
};
template <class Work>
void measure(Cost& cost, std::uint32_t server, Work work) {
  const double client_before = own_cpu(), server_before = cpu_of(server);
  const auto begun = std::chrono::steady_clock::now();
  work();
  cost.wall += std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  cost.client += own_cpu() - client_before;
  cost.server += cpu_of(server) - server_before;
}

double middle_of(std::vector<double> all) {
  std::ranges::sort(all);
  return all[all.size() / 2];
}

int run(int argc, char** argv) {
  if (argc < 2) {
    fmt::print(stderr, "persister_bench DSN [batch rows] [rows a round] [rounds]\n");
    return 64;
  }
  const std::string dsn = argv[1];
  const std::size_t batch = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 2'000, rows = argc > 3 ? std::strtoull(argv[3], nullptr, 10) : 100'000,
                    rounds = argc > 4 ? std::strtoull(argv[4], nullptr, 10) : 5;
  need(store::postgres::migrate(dsn));
  store::postgres::Writer writer(dsn + " application_name=bench_persister");
  const auto positions = need(writer.open("bench", 1));
  if (positions.at(0) != chat::Offset{}) {
    fmt::print(stderr, "the database is not empty\n");
    return 1;
  }
  Worker worker({}, writer, Partition{0}, positions[0]);
  Connection floor = ask(Connection::open(dsn));
  // The floor's rows go into a table of its own beside the real one: found first on its connection's search path.
  ask(floor.script("create schema floor; create table floor.events (like public.events, primary key (conversation, seq)); set search_path = floor"));

  const auto floor_pid = ask(floor.query("select pg_backend_pid()"))[0].u4(0);
  const auto our_pid = ask(floor.query("select pid from pg_stat_activity where application_name = 'bench_persister'"))[0].u4(0);

  Source source;
  std::vector<double> ours, plain, ours_cpu, plain_cpu, ours_server;
  for (std::size_t round = 0; round < rounds; ++round) {
    std::vector<std::vector<store::StoredEvent>> same;
    Cost one, other;
    for (std::size_t done = 0; done < rows; done += batch) {
      const auto entries = source.next(batch);
      measure(one, our_pid, [&] {
        store::Batch folded = need(worker.fold_batch(entries, source.end()));
        need(worker.commit(folded));
        same.push_back(std::move(folded.events));
      });
    }
    for (const auto& events : same) {
      measure(other, floor_pid, [&] {
        std::string piece;
        store::postgres::append_copy_header(piece);
        for (const store::StoredEvent& event : events) store::postgres::append_copy_row(piece, Partition{0}, event);
        store::postgres::append_copy_trailer(piece);
        ask(floor.copy_begin(store::postgres::kCopyEvents));
        ask(floor.copy_data(piece));
        ask(floor.copy_end());
      });
    }
    const auto count = static_cast<double>(rows);
    ours.push_back(count / one.wall);
    plain.push_back(count / other.wall);
    ours_cpu.push_back((one.client + one.server) / count * 1e6);
    ours_server.push_back(one.server / count * 1e6);
    plain_cpu.push_back((other.client + other.server) / count * 1e6);
    fmt::print(stderr, "round {}: persister {:.0f} rows/s, {:.2f} us CPU a row ({:.2f} of it PostgreSQL); COPY {:.0f} rows/s, {:.2f} us\n", round + 1,
               ours.back(), ours_cpu.back(), ours_server.back(), plain.back(), plain_cpu.back());
  }
  fmt::print(
      "{{\"batch_rows\": {}, \"rows\": {}, \"rounds\": {}, \"persister_rows_per_second\": {:.0f}, \"copy_rows_per_second\": {:.0f}, \"ratio\": {:.3f}, "
      "\"persister_cpu_us\": {:.2f}, \"of_it_server\": {:.2f}, \"copy_cpu_us\": {:.2f}, \"cpu_ratio\": {:.3f}}}\n",
      batch, rows, rounds, middle_of(ours), middle_of(plain), middle_of(ours) / middle_of(plain), middle_of(ours_cpu), middle_of(ours_server),
      middle_of(plain_cpu), middle_of(plain_cpu) / middle_of(ours_cpu));
  return 0;
}

}  // namespace
}  // namespace parley::persister

int main(int argc, char** argv) { return parley::persister::run(argc, argv); }
