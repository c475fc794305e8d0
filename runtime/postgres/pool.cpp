#include "runtime/postgres/pool.h"

#include <libpq-fe.h>
#include <algorithm>
#include <boost/asio/post.hpp>
#include <unordered_map>

#include "runtime/postgres/link.h"

namespace parley::runtime::postgres {

namespace {

constexpr auto kTick = std::chrono::milliseconds(50);
// PostgreSQL ends a statement by itself (statement_timeout). A connection from which nothing came for so much longer is ended.
constexpr auto kGrace = std::chrono::milliseconds(1'000);

std::string run_time_options(const Settings& settings) {
  std::string options = "-c statement_timeout=" + std::to_string(settings.timeout_ms);
  if (settings.snapshots) options += " -c default_transaction_isolation=repeatable\\ read -c default_transaction_read_only=on";
  return options;
}

}  // namespace

// One connection and what is on its way over it, in order. A call is: [prepare] execute [prepare] execute ... sync; without an
// explicit `begin` everything up to the sync is one transaction, rolled back at the first error.
class Pool::Lane final : public LinkEvents {
 public:
  Lane(Pool& pool, const Keywords& keywords) : pool_(pool), link_(pool.io_, keywords, *this) {}

  bool up() const { return link_.raw() != nullptr; }
  std::size_t in_flight() const { return calls_.size(); }
  // What is sent now would wait behind a call that is late already.
  bool late() const { return !calls_.empty() && !calls_.front().job.done; }

  // The calls whose time is up: told so, while PostgreSQL goes on with them, or ends them, and answers the others.
  void give_up(std::chrono::steady_clock::time_point now, std::vector<Job>& out) {
    for (Call& call : calls_) {
      if (call.job.deadline > now) break;  // all have the same patience
      if (call.job.done) out.push_back({{}, std::exchange(call.job.done, nullptr), {}});
    }
    if (!calls_.empty() && now - heard_ > std::chrono::milliseconds(pool_.settings_.timeout_ms) + kGrace)
      link_.fail({Errc::unavailable, "", "no sign of the server in time"});
  }

  void send(Job job) {
    Call call{std::move(job), {}, {}, {}, 0};
    bool sent = true;
    for (const Query& query : call.job.queries) {
      Params::Raw raw = query.params.encode();
      int count = static_cast<int>(raw.types.size());
      auto known = prepared_.find(query.sql.text());
      std::string name;
      if (known == prepared_.end()) {
        name = "p" + std::to_string(++names_);
        sent = sent && PQsendPrepare(link_.raw(), name.c_str(), query.sql.text(), count, raw.types.data()) == 1;
        call.steps.push_back({query.sql.text(), name});
      } else {
        name = known->second;
      }
      sent = sent && PQsendQueryPrepared(link_.raw(), name.c_str(), count, raw.values.data(), raw.lengths.data(), raw.formats.data(), 1) == 1;
      call.steps.push_back({nullptr, ""});
    }
    sent = sent && PQpipelineSync(link_.raw()) == 1;
    Error error = sent ? Error{} : error_of(nullptr, PQerrorMessage(link_.raw()));
    if (calls_.empty()) heard_ = std::chrono::steady_clock::now();
    calls_.push_back(std::move(call));
    if (sent)
      link_.flush();
    else
      link_.fail(error);
  }

  void on_up() override {
    if (PQenterPipelineMode(link_.raw()) != 1) return link_.fail({Errc::unavailable, "", "no pipeline mode"});
    pool_.pump();
  }

  void on_readable() override {
    std::weak_ptr alive = pool_.alive_;
    heard_ = std::chrono::steady_clock::now();
    while (link_.raw() != nullptr && PQisBusy(link_.raw()) == 0 && !calls_.empty()) {
      take(PQgetResult(link_.raw()));
      if (alive.expired()) return;
    }
    pool_.pump();
  }

  void on_down(const Error& error) override {
    prepared_.clear();
    auto lost = std::exchange(calls_, {});
    for (Call& call : lost)
      if (call.job.done) call.job.done(std::unexpected(error));
  }

 private:
  struct Step {
    const char* prepares;  // null: executes
    std::string name;
  };
  struct Call {
    Job job;
    std::vector<Step> steps;
    std::vector<Rows> rows;
    std::optional<Error> error;
    std::size_t done_steps;
  };

  void take(pg_result* result) {
    Call& call = calls_.front();
    if (result == nullptr) {  // ends a step
      ++call.done_steps;
      return;
    }
    Rows rows(result);
    switch (PQresultStatus(result)) {
      case PGRES_PIPELINE_SYNC:
        return finish();
      case PGRES_COMMAND_OK:
      case PGRES_TUPLES_OK: {
        const Step& step = call.steps[call.done_steps];
        if (step.prepares != nullptr)
          prepared_[step.prepares] = step.name;
        else
          call.rows.push_back(std::move(rows));
        return;
      }
      case PGRES_PIPELINE_ABORTED:
        return;  // the error came before
      default:
        if (!call.error) call.error = error_of(result, PQerrorMessage(link_.raw()));
        return;
    }
  }

  void finish() {
    Call call = std::move(calls_.front());
    calls_.pop_front();
    if (!call.error) {
      if (call.job.done) call.job.done(std::move(call.rows));
      return;
    }
    // A migration changed what a prepared statement returns: a new connection prepares it anew.
    bool stale = call.error->sqlstate == "0A000" || call.error->sqlstate == "26000";
    if (stale) call.error->code = Errc::unavailable;
    std::weak_ptr alive = pool_.alive_;
    if (call.job.done) call.job.done(std::unexpected(std::move(*call.error)));
    if (stale && !alive.expired()) link_.fail({Errc::unavailable, "", "a prepared statement is out of date"});
  }

  Pool& pool_;
  std::deque<Call> calls_;
  std::unordered_map<const char*, std::string> prepared_;  // as many as the program has statements
  std::uint64_t names_ = 0;
  std::chrono::steady_clock::time_point heard_;  // the last sign of the server while it owed one
  Link link_;
};

Pool::Pool(boost::asio::io_context& io, Settings settings) : io_(io), settings_(std::move(settings)), timer_(io) {
  Keywords keywords = connection_keywords(settings_.dsn, run_time_options(settings_));
  for (std::uint32_t i = 0; i < std::max(1u, settings_.connections); ++i) lanes_.push_back(std::make_unique<Lane>(*this, keywords));
}

Pool::~Pool() = default;

void Pool::query(Sql sql, Params params, std::move_only_function<void(Outcome)> done) {
  std::vector<Query> one;
  one.push_back({sql, std::move(params)});
  queries(std::move(one), [done = std::move(done)](Outcomes outcome) mutable {
    if (outcome)
      done(std::move(outcome->front()));
    else
      done(std::unexpected(std::move(outcome.error())));
  });
}

void Pool::queries(std::vector<Query> queries, std::move_only_function<void(Outcomes)> done) {
  if (waiting_.size() >= settings_.waiting || queries.empty()) {
    boost::asio::post(io_, [done = std::move(done), none = queries.empty(), alive = std::weak_ptr(alive_)]() mutable {
      if (alive.expired()) return;
      if (none)
        done(std::vector<Rows>{});
      else
        done(std::unexpected(Error{Errc::overloaded, "", "too many queries are waiting for a connection"}));
    });
    return;
  }
  waiting_.push_back({std::move(queries), std::move(done), std::chrono::steady_clock::now() + std::chrono::milliseconds(settings_.timeout_ms)});
  pump();
  if (!ticking_) tick();
}

void Pool::pump() {
  while (!waiting_.empty()) {
    Lane* best = nullptr;
    for (auto& lane : lanes_)
      if (lane->up() && !lane->late() && lane->in_flight() < settings_.in_flight && (best == nullptr || lane->in_flight() < best->in_flight()))
        best = lane.get();
    if (best == nullptr) return;
    Job job = std::move(waiting_.front());
    waiting_.pop_front();
    best->send(std::move(job));
  }
}

void Pool::tick() {
  auto now = std::chrono::steady_clock::now();
  std::weak_ptr alive = alive_;
  // Nor is anything sent that has hardly time left: it would only keep PostgreSQL from what has.
  const auto hardly = std::chrono::milliseconds(settings_.timeout_ms) / 10;
  std::vector<Job> late;
  while (!waiting_.empty() && waiting_.front().deadline - hardly <= now) {  // the oldest is first
    late.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
  }
  for (auto& lane : lanes_) lane->give_up(now, late);
  for (Job& job : late) {
    job.done(std::unexpected(Error{Errc::timed_out, "", "no answer in time"}));
    if (alive.expired()) return;
  }
  Stats now_there = stats();
  ticking_ = now_there.in_flight + now_there.waiting > 0;
  if (!ticking_) return;
  timer_.expires_after(kTick);
  timer_.async_wait([this, alive](boost::system::error_code error) {
    if (!error && !alive.expired()) tick();
  });
}

Pool::Stats Pool::stats() const {
  Stats stats;
  for (const auto& lane : lanes_) {
    stats.connected += lane->up() ? 1 : 0;
    stats.in_flight += lane->in_flight();
  }
  stats.waiting = waiting_.size();
  return stats;
}

}  // namespace parley::runtime::postgres
