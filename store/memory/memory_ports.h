// The three ports over MemoryStore. Not for use outside of store/memory/.
#pragma once

#include "store/memory/memory_store.h"

namespace parley::store::memory {

class MemoryWriter final : public Writer {
 public:
  explicit MemoryWriter(MemoryStore& store) : store_(store) {}
  Result<std::vector<Offset>> open(std::string_view topic_id, std::uint32_t partitions) override;
  Result<Offset> position(Partition partition) override;
  Result<std::vector<chat::ConversationState>> load(Partition partition, Offset at, const std::vector<ConversationId>& conversations) override;
  Result<void> commit(const Batch& batch) override { return store_.commit(batch, quarantined_); }
  void on_quarantined(std::move_only_function<void(Partition, const StoredEvent&, std::string_view)> told) override { quarantined_ = std::move(told); }
  Result<std::vector<StoredSchedule>> due(Partition partition, TimeMs now, std::size_t limit) override;

 private:
  MemoryStore& store_;
  std::move_only_function<void(Partition, const StoredEvent&, std::string_view)> quarantined_;
};

class MemoryReader final : public Reader {
 public:
  explicit MemoryReader(MemoryStore& store);
  ~MemoryReader() override;
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

  void moved(Partition partition, Offset position);

 private:
  // Answers, when stepped, with what `ask` finds then.
  template <class T, class Ask>
  void later(Callback<T> done, Ask ask);
  template <class T, class Ask>
  void snapshot(Callback<Snapshot<T>> done, Ask ask);

  MemoryStore& store_;
  std::move_only_function<void(Partition, Offset)> moved_;
};

struct MemoryStore::People {
  struct Login {
    UserId user;
    bool ended = false;
  };
  struct Token {
    LoginId login;
    bool used = false;
    TimeMs expires;
  };
  std::map<UserId, Credentials> users;
  std::map<LoginId, Login> logins;
  std::map<TokenHash, Token> tokens;
};

class MemoryAccounts final : public Accounts {
 public:
  explicit MemoryAccounts(MemoryStore& store);
  ~MemoryAccounts() override;
  void create_user(User user, std::string password_hash, Callback<void> done) override;
  void credentials(std::string username, Callback<std::optional<Credentials>> done) override;
  void user(UserId id, Callback<std::optional<User>> done) override;
  void users(std::vector<UserId> ids, Callback<std::vector<User>> done) override;
  void search(std::string prefix, std::uint32_t limit, Callback<std::vector<User>> done) override;
  void rename(UserId id, std::string display_name, Callback<std::optional<User>> done) override;
  void open_login(UserId user, LoginId login, std::string device, TokenHash refresh, TimeMs expires, Callback<void> done) override;
  void rotate(TokenHash old_token, TokenHash new_token, TimeMs now, TimeMs expires, Callback<Rotation> done) override;
  void end_login(UserId user, LoginId login, Callback<void> done) override;
  void end_all_logins(UserId user, Callback<void> done) override;
  void login_open(LoginId login, Callback<bool> done) override;
  void on_login_ended(std::move_only_function<void(UserId, std::optional<LoginId>, bool revoked)> ended) override { ended_ = std::move(ended); }

 private:
  template <class T, class Ask>
  void later(Callback<T> done, Ask ask);
  void tell_ended(UserId user, std::optional<LoginId> login, bool revoked);

  MemoryStore& store_;
  std::move_only_function<void(UserId, std::optional<LoginId>, bool)> ended_;
};

}  // namespace parley::store::memory
