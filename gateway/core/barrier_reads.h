// R14: reads that are as fresh as the request that asked for them, or fail in time (D63).
//
//   read(scope, query) -> end offsets B, asked from the log after the request arrived (one question serves all who wait)
//                      -> the store's position reaches B (told by NOTIFY, and by asking while somebody waits)
//                      -> query -> the snapshot's own positions are judged again -> done
//
// There is no other way to read: a snapshot that turns out older than B (a replica was promoted) waits on, and what takes
// longer than `timeout` is answered Unavailable, never stale. Errors of log and store are retried until then: a refused query after
// kAgainMs, the oldest reads first, and no more at once than the store took when it refused (`room`, which grows with every answer).
// Owner's thread only. Bound: the sessions bound how many reads wait (rate of reads, one resume, one look-up per queue).
#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <variant>
#include <vector>

#include "chat/ids.h"
#include "eventlog/log.h"
#include "runtime/clock.h"
#include "store/store.h"

namespace parley::gateway {

struct Unavailable {};

class BarrierReads {
 public:
  static constexpr std::uint64_t kAgainMs = 100;
  static constexpr std::size_t kLeastRoom = 16, kMostRoom = 65'536;

  using Barrier = std::shared_ptr<const std::vector<chat::Offset>>;
  template <class T>
  struct Fresh {
    T value;
    Barrier barrier;  // every record below it is in `value`
  };
  template <class T>
  using Done = std::move_only_function<void(std::expected<Fresh<T>, Unavailable>)>;
  template <class T>
  using Query = std::move_only_function<void(store::Callback<store::Snapshot<T>>)>;

  BarrierReads(runtime::Clock& clock, eventlog::Log& log, store::Reader& reader, std::uint32_t partitions, std::uint32_t timeout_ms);

  // `scope`: the partition concerned; none: all of them. `query` may be run more than once.
  template <class T>
  void read(std::optional<chat::Partition> scope, Query<T> query, Done<T> done) {
    auto state = std::make_shared<State<T>>(std::move(query), std::move(done));
    add({.scope = scope,
         .run =
             [this, state](std::uint64_t number) {
               state->query([this, alive = std::weak_ptr(alive_), state, number](store::Result<store::Snapshot<T>> result) {
                 if (alive.expired()) return;
                 if (auto barrier = judge(number, result ? &result->positions : nullptr)) state->done(Fresh<T>{std::move(result->value), std::move(*barrier)});
               });
             },
         .fail = [state] { state->done(std::unexpected(Unavailable{})); }});
  }

  // Only the barrier, without the store.
  void ends(Done<std::monostate> done);

  // Called with every answer about end offsets (they are the newest the gateway knows, R8).
  void on_ends(std::move_only_function<void(const std::vector<chat::Offset>&)> told) { told_ends_ = std::move(told); }
  // The store moved, or seems to have: NOTIFY.
  void on_moved(chat::Partition partition, chat::Offset position);
  // Retries, polls, and fails what is overdue.
  void on_tick();

  std::size_t waiting() const { return reads_.size(); }

 private:
  template <class T>
  struct State {
    Query<T> query;
    Done<T> done;
  };
  struct Read {
    std::optional<chat::Partition> scope;
    std::move_only_function<void(std::uint64_t)> run{};  // empty: done once the barrier is known
    std::move_only_function<void()> fail{};
    std::move_only_function<void(Barrier)> bare{};
    chat::TimeMs deadline{};
    Barrier barrier{};
    bool asked = false;    // the question about the ends in flight counts for it
    bool running = false;  // its query is in flight
    chat::TimeMs again{};  // it was refused: not before
  };

  void add(Read read);
  void ask_ends();
  void ask_positions();
  bool reached(const Read& read, const std::vector<chat::Offset>& positions) const;
  void run_ready();
  // The barrier if the snapshot at these positions (none: the query failed) answers the read, which is then over.
  std::optional<Barrier> judge(std::uint64_t number, const std::vector<chat::Offset>* positions);

  runtime::Clock& clock_;
  eventlog::Log& log_;
  store::Reader& reader_;
  std::uint32_t timeout_ms_;
  std::map<std::uint64_t, Read> reads_;  // by age, so by deadline
  std::vector<Read> dead_;               // answered while their query was on the stack; freed with the next tick
  std::uint64_t next_ = 1;
  std::size_t running_ = 0, room_ = kMostRoom;  // queries in flight, and how many may be
  std::vector<chat::Offset> positions_;         // of the store, as last told
  bool asking_ends_ = false, asking_positions_ = false;
  std::move_only_function<void(const std::vector<chat::Offset>&)> told_ends_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace parley::gateway
