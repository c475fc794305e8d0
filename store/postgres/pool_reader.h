// The Reader port over a pool of snapshot connections. Not for use outside of store/postgres/.
#pragma once

#include "runtime/postgres/pool.h"
#include "store/postgres/errors.h"
#include "store/postgres/rows.h"
#include "store/store.h"

namespace parley::store::postgres {

class PoolReader final : public store::Reader {
 public:
  explicit PoolReader(runtime::postgres::Pool& pool) : pool_(pool) {}
  void identity(Callback<std::optional<Identity>> done) override;
  void positions(Callback<Positions> done) override;
  void on_moved(std::move_only_function<void(Partition, Offset)> moved) override { moved_ = std::move(moved); }
  void cold_load(ConversationId conversation, Partition partition, Offset from, Callback<ColdLoad> done) override;
  void look_up(std::vector<LookUp> keys, Callback<Snapshot<std::vector<LookedUp>>> done) override;
  void resume(ResumeQuery query, Callback<Snapshot<ResumeResult>> done) override;
  void history(HistoryQuery query, Callback<Snapshot<HistoryResult>> done) override;
  void summaries(UserId user, std::string cursor, std::uint32_t limit, Callback<Snapshot<SummaryPage>> done) override;
  void details(UserId user, ConversationId conversation, Callback<Snapshot<Details>> done) override;
  void standing(UserId user, ConversationId conversation, Callback<Snapshot<Standing>> done) override;
  void mark_target(UserId user, ConversationId conversation, Seq seq, Callback<Snapshot<MarkTarget>> done) override;
  void members(UserId user, ConversationId conversation, std::string cursor, std::uint32_t limit, Callback<Snapshot<MemberPage>> done) override;

  // "<partition> <offset>", as the writer's NOTIFY says it.
  void on_notified(std::string_view payload);
  // Notifications may have been missed: tells every position.
  void on_listening();

 private:
  // Sends `queries` behind the one that reads the positions; `read` turns their rows into the value.
  template <class T, class Read>
  void ask(std::vector<Query> queries, Callback<Snapshot<T>> done, Read read);

  runtime::postgres::Pool& pool_;
  std::move_only_function<void(Partition, Offset)> moved_;
};

Positions read_positions(const Rows& rows);
// Of user $1 in conversation $2, as store::Standing counts.
inline constexpr Sql kStanding =
    "select case when exists (select from members where conversation = $2 and user_id = $1) then 2"
    " when exists (select from stays where conversation = $2 and user_id = $1) then 1 else 0 end";
inline constexpr Sql kPositions = "select next_offset from positions order by partition";

template <class T, class Read>
void PoolReader::ask(std::vector<Query> queries, Callback<Snapshot<T>> done, Read read) {
  queries.insert(queries.begin(), Query{kPositions, {}});
  pool_.queries(std::move(queries), [done = std::move(done), read = std::move(read)](runtime::postgres::Pool::Outcomes rows) mutable {
    if (!rows)
      done(std::unexpected(store_error(rows.error())));
    else
      done(Snapshot<T>{read_positions(rows->front()), read(rows->data() + 1)});
  });
}

}  // namespace parley::store::postgres
