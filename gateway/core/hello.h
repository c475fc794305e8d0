// From a fresh socket to `welcome`: token, login, device, home (D12-D14), and the same checks for `auth` (D17).
//
// The registration with every router starts together with the checks, so that a hello costs one round trip. A session without
// an answer from its home within 3 s is refused: the device limit and superseding need that one place (R16). With
// PostgreSQL away a verified token is enough; the login is asked about again until there is an answer, kChecks at a time.
// Owner's thread only. Bound: limits.unacked_sends frames, kEarlyBytes in all and kSmallBytes each beyond that, held before `welcome`.
#pragma once

#include <deque>

#include "gateway/core/known_users.h"
#include "gateway/core/rates.h"
#include "gateway/core/resumes.h"

namespace parley::gateway {

class Hello {
 public:
  static constexpr std::size_t kChecks = 64;
  static constexpr std::size_t kEarlyBytes = 1 << 20, kSmallBytes = 1'024;  // what is smaller and no send is held beyond that
  static constexpr std::uint64_t kCheckMs = 100;

  Hello(const Settings& settings, Ports& ports, Sessions& sessions, Routers& routers, Rates& rates, KnownUsers& users, Resumes& resumes, std::uint64_t seed);

  // Frames that were held run through this once the session is greeted.
  void on_frame(std::move_only_function<void(Session&, client::Frame&&)> frame) { frame_ = std::move(frame); }

  void hello(Session& session, client::Frame&& frame);
  void on_refused(std::move_only_function<void(Session&, const Greeting::Refused&, client::Frame&&)> refused) { refused_ = std::move(refused); }
  // A frame before `welcome`. False: it is too much to be held, and as it was; an answer to it can be.
  bool early(Session& session, client::Frame&& frame);
  // An answer that is sent after `welcome`.
  void early_answer(Session& session, client::Frame&& nack, std::optional<Greeting::Refused> refused = {});
  void auth(Session& session, const client::Auth& auth, std::uint32_t req_id);
  void on_home(const link::HomeReply& reply);
  void on_login_ended(const chat::UserId& user, const std::optional<chat::LoginId>& login, bool revoked);
  // Streams opened or closed: homes may have moved.
  void on_homes_moved();
  void on_gone(Session& session, bool last);
  void on_tick();

  // When the greeting is overdue; 0: there is none.
  static chat::TimeMs deadline(const Session& session) { return session.greeting ? session.greeting->deadline : chat::TimeMs{}; }

 private:
  void hold(Session& session, Greeting::Early early);
  bool open_device(Session& session, bool moved);
  void check_login(Session& session);
  void check_later(Session& session);
  void login_answered(Session& session, std::optional<bool> open);
  void welcome_if_ready(Session& session);
  void nack(Session& session, std::uint32_t req_id, chat::Code code, std::string message);

  const Settings& settings_;
  Ports& ports_;
  Sessions& sessions_;
  Routers& routers_;
  Rates& rates_;
  KnownUsers& users_;
  Resumes& resumes_;
  chat::IdGenerator ids_;
  std::uint64_t jitter_;
  std::deque<ConnectionId> unchecked_;  // whose logins the store was not there to tell of
  chat::TimeMs check_at_{};
  std::move_only_function<void(Session&, client::Frame&&)> frame_;
  std::move_only_function<void(Session&, const Greeting::Refused&, client::Frame&&)> refused_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

// Cursors of a `hello`, `resume` or `ack`, or what is wrong with them.
std::expected<std::vector<store::Cursor>, std::string_view> read_cursors(const google::protobuf::RepeatedPtrField<client::Cursor>& cursors, std::uint32_t most);

}  // namespace parley::gateway
