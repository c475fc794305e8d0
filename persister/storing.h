// The writing thread: takes what the inbox holds, folds it (Worker), writes it, and reports. The one user of its store::Writer.
//
// It may block: on PostgreSQL, on an empty inbox. Away store: it waits with full-jitter back-off and tries again, while the inbox
// fills and the reader pauses. A partition whose batch alone is refused again and again, while the store answers otherwise (a page of it
// that cannot be read), is put aside: the same batch is tried now and then, the others go on. Everything it tells goes through `Reports`, whose functions are
// called on this thread.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <thread>

#include "persister/inbox.h"
#include "persister/worker.h"
#include "runtime/clock.h"

namespace parley::persister {

struct Stored {
  Partition partition;
  Epoch epoch;
  Offset position;
  std::size_t records = 0, events = 0;
  chat::TimeMs newest;  // log time of the last record
  double seconds = 0;   // fold and write
  bool has_room = false;
};

struct Reports {
  std::function<void(store::Result<void>)> opened;
  std::function<void(Partition, Epoch, Offset)> started;  // read from there
  std::function<void(Stored)> stored;
  std::function<void(Partition, Epoch)> lost;                  // a rival wrote: start anew
  std::function<void(Partition, Epoch, std::string)> stopped;  // never skip: a person must look (R6, R13)
  std::function<void(std::vector<store::StoredSchedule>, Partition)> due;
  std::function<void(bool away, std::string)> store_away;
  std::function<void(Partition, Epoch, std::string why)> aside;  // each time it is refused anew; `stored`, `lost` or `stopped` ends it
  std::function<void()> alive;  // before each attempt and after each wait: the thread does not hang (migrations may: they are not told)
  std::function<void()> ended;
};

class Storing {
 public:
  // `prepare` runs first, on this thread, until it succeeds (migrations).
  Storing(Settings settings, std::chrono::milliseconds due_every, Inbox& inbox, std::unique_ptr<store::Writer> writer,
          std::function<store::Result<void>()> prepare, const runtime::Clock& clock, Reports reports);
  ~Storing();  // the inbox must be stopped

  void open(std::string topic_id, std::uint32_t partitions);  // begins the thread

 private:
  void run(const std::string& topic_id, std::uint32_t partitions);
  void start(const Inbox::Start& start);
  void work(Inbox::Work work);
  // What was taken of a partition and not written yet.
  struct Taken {
    Inbox::Work work;
    std::vector<eventlog::Entry> entries;  // of `work`
    Offset end;
    std::optional<store::Batch> batch;  // once folded; the same one until its outcome is known
    unsigned times_aside = 0;
    steady_clock::time_point not_before;
  };
  void write(Taken taken);
  void put_aside(Taken taken, const std::string& why, steady_clock::duration took);
  void retry_aside();  // at most one of them: the others wait no longer for it than for any batch
  void tell_away(bool away, const std::string& why);
  bool look_for_due();  // true: there may be more
  bool wanted(Partition partition, Epoch epoch);
  void share_cache();
  // Tries until it is anything but `unavailable`, or until `enough(failures in a row)`. Nothing: stopped, or `still` says that it is no longer wanted.
  template <class T, class Try, class Still, class Enough>
  std::optional<store::Result<T>> persist(Try attempt, Still still, Enough enough);
  template <class T, class Try, class Still>
  std::optional<store::Result<T>> persist(Try attempt, Still still) {
    return persist<T>(std::move(attempt), std::move(still), [](unsigned) { return false; });
  }

  Settings settings_;
  std::chrono::milliseconds due_every_;
  Inbox& inbox_;
  std::unique_ptr<store::Writer> writer_;
  std::function<store::Result<void>()> prepare_;
  const runtime::Clock& clock_;
  Reports reports_;
  std::map<Partition, std::pair<Epoch, std::unique_ptr<Worker>>> workers_;
  std::map<Partition, Taken> held_;
  std::set<Partition> aside_;  // the same partitions
  bool away_ = false;
  std::minstd_rand random_{std::random_device{}()};
  std::thread thread_;
};

}  // namespace parley::persister
