// What the persister costs against the least that storing rows can cost: entries through Worker and Writer (fold, COPY, conversations,
// members, stays, position), and the same events by plain COPY into a table of the same columns with a primary key. Both in
// batches of one transaction each, interleaved, on one server, in one run.
//
//   persister_bench "host=... dbname=..." [batch rows] [rows a round] [rounds]        the database must be empty
#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <deque>

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

double rate(std::size_t rows, std::chrono::steady_clock::duration spent) { return static_cast<double>(rows) / std::chrono::duration<double>(spent).count(); }

int run(int argc, char** argv) {
  if (argc < 2) {
    fmt::print(stderr, "persister_bench DSN [batch rows] [rows a round] [rounds]\n");
    return 64;
  }
  const std::string dsn = argv[1];
  const std::size_t batch = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 2'000, rows = argc > 3 ? std::strtoull(argv[3], nullptr, 10) : 100'000,
                    rounds = argc > 4 ? std::strtoull(argv[4], nullptr, 10) : 5;
  need(store::postgres::migrate(dsn));
  store::postgres::Writer writer(dsn);
  const auto positions = need(writer.open("bench", 1));
  if (positions.at(0) != chat::Offset{}) {
    fmt::print(stderr, "the database is not empty\n");
    return 1;
  }
  Worker worker({}, writer, Partition{0}, positions[0]);
  Connection floor = ask(Connection::open(dsn));
  // The floor's rows go into a table of its own beside the real one: found first on its connection's search path.
  ask(floor.script("create schema floor; create table floor.events (like public.events, primary key (conversation, seq)); set search_path = floor"));

  Source source;
  std::vector<double> ours, plain;
  for (std::size_t round = 0; round < rounds; ++round) {
    std::vector<std::vector<store::StoredEvent>> same;
    std::chrono::steady_clock::duration spent{};
    for (std::size_t done = 0; done < rows; done += batch) {
      const auto entries = source.next(batch);
      const auto begun = std::chrono::steady_clock::now();
      const store::Batch folded = need(worker.fold_batch(entries, source.end()));
      need(worker.commit(folded));
      spent += std::chrono::steady_clock::now() - begun;
      same.push_back(folded.events);
    }
    ours.push_back(rate(rows, spent));

    spent = {};
    for (const auto& events : same) {
      const auto begun = std::chrono::steady_clock::now();
      std::string piece;
      store::postgres::append_copy_header(piece);
      for (const store::StoredEvent& event : events) store::postgres::append_copy_row(piece, Partition{0}, event);
      store::postgres::append_copy_trailer(piece);
      ask(floor.copy_begin(store::postgres::kCopyEvents));
      ask(floor.copy_data(piece));
      ask(floor.copy_end());
      spent += std::chrono::steady_clock::now() - begun;
    }
    plain.push_back(rate(rows, spent));
    fmt::print(stderr, "round {}: persister {:.0f} rows/s, COPY {:.0f} rows/s, ratio {:.2f}\n", round + 1, ours.back(), plain.back(),
               ours.back() / plain.back());
  }
  std::ranges::sort(ours);
  std::ranges::sort(plain);
  const double middle = ours[ours.size() / 2], least = plain[plain.size() / 2];
  fmt::print(
      "{{\"batch_rows\": {}, \"rows\": {}, \"rounds\": {}, \"persister_rows_per_second\": {:.0f}, \"copy_rows_per_second\": {:.0f}, \"ratio\": {:.3f}, "
      "\"persister_spread\": [{:.0f}, {:.0f}], \"copy_spread\": [{:.0f}, {:.0f}]}}\n",
      batch, rows, rounds, middle, least, middle / least, ours.front(), ours.back(), plain.front(), plain.back());
  return 0;
}

}  // namespace
}  // namespace parley::persister

int main(int argc, char** argv) { return parley::persister::run(argc, argv); }
