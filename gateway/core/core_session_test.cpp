// Connections through the whole core: hello, resume, progress, heartbeat, logins, drain.
#include "gateway/core/session_bed.h"
#include "gateway/core/sync_token.h"

namespace parley::gateway {
namespace {

using F = client::Frame;

class CoreSession : public SessionBed {};

// ---- hello ----

TEST_F(CoreSession, welcome_then_caught_up) {
  start();
  auto frame = hello_frame(1, "web-1");
  frame.set_req_id(9);
  auto id = hello(frame);
  ASSERT_EQ(of(id).got.size(), 2u);
  const auto& welcome = of(id).at(F::kWelcome);
  EXPECT_EQ(welcome.req_id(), 9u);
  EXPECT_EQ(welcome.welcome().user_id(), text(user(1)));
  EXPECT_TRUE(chat::parse_uuid(welcome.welcome().session_id()));
  EXPECT_EQ(welcome.welcome().heartbeat_ms(), 25'000u);
  EXPECT_EQ(welcome.welcome().limits().frame_bytes(), 65'536u);
  EXPECT_EQ(welcome.welcome().limits().resume_events(), 1'000u);
  EXPECT_TRUE(read_sync_token({"topic", kPartitions}, of(id).at(F::kCaughtUp).caught_up().sync_token()));
  EXPECT_EQ(opened_devices.at(0).device(), "web-1");
  EXPECT_EQ(core->stats().sessions, 1u);
}

TEST_F(CoreSession, hello_errors) {
  start();
  auto other = hello(send_frame(1, 2));
  expect_closed(other, 4500, "badFrame", "invalid", "never");
  auto bad = hello_frame(1);
  bad.mutable_hello()->set_token("nonsense");
  expect_closed(hello(bad), 4501, "authFailed", "unauthenticated", "never");
  bad.mutable_hello()->clear_token();
  expect_closed(hello(bad), 4501, "authFailed", "unauthenticated", "never");
  bad.mutable_hello()->set_token("expired");
  expect_closed(hello(bad), 4009, "tokenExpired", "unauthenticated", "now");
  expect_closed(hello(hello_frame(1, "")), 4500, "badFrame", "invalid", "never");
  expect_closed(hello(hello_frame(1, "with space")), 4500, "badFrame", "invalid", "never");
  expect_closed(hello(hello_frame(1, std::string(65, 'x'))), 4500, "badFrame", "invalid", "never");
  expect_closed(hello(with_cursor(hello_frame(1), "no-uuid", 1)), 4500, "badFrame", "invalid", "never");
  auto many = hello_frame(1);
  for (std::uint32_t i = 0; i < 1'001; ++i) many = with_cursor(many, uuid(i), 1);
  expect_closed(hello(many), 4500, "badFrame", "invalid", "never");
  auto twice = connect(1);
  give(twice, hello_frame(1));
  expect_closed(twice, 4500, "badFrame", "invalid", "never");
  auto malformed = open();
  core->on_invalid(malformed, 1, "", "", "no valid frame");
  expect_closed(malformed, 4500, "badFrame", "invalid", "never");
}

TEST_F(CoreSession, no_hello_in_time) {
  start();
  auto id = open();
  pass(4'900);
  EXPECT_FALSE(of(id).close);
  pass(300);
  expect_closed(id, 4509, "helloTimeout", "invalid", "never");
}

TEST_F(CoreSession, an_ended_login_is_revoked) {
  start();
  accounts->end_login(user(1), login(1), [](auto) {});
  run();
  expect_closed(hello(hello_frame(1)), 4502, "authRevoked", "unauthenticated", "never");
}

TEST_F(CoreSession, without_a_router_hello_is_refused) {
  start(false);
  expect_closed(hello(hello_frame(1)), 4005, "overloaded", "unavailable", "backoff");
}

TEST_F(CoreSession, a_refused_device_conflicts) {
  start();
  refuse_devices = true;
  expect_closed(hello(hello_frame(1)), 4005, "overloaded", "conflict", "backoff");
}

TEST_F(CoreSession, a_home_that_does_not_answer_refuses) {
  start();
  opening = false;
  auto id = hello(hello_frame(1));
  for (int i = 0; i < 64; ++i) {
    pass(50);
    core->on_link_down({0}, link::Down());
  }
  expect_closed(id, 4005, "overloaded", "unavailable", "backoff");
}

TEST_F(CoreSession, frames_before_welcome_wait) {
  start();
  connect(2);
  auto id = open();
  core->on_frame(id, hello_frame(1));
  core->on_frame(id, send_frame(1, 2));
  EXPECT_TRUE(of(id).got.empty());
  run();
  EXPECT_TRUE(of(id).got.at(0).has_welcome());
  EXPECT_TRUE(of(id).got.at(1).has_caught_up());
  EXPECT_TRUE(of(id).got.at(2).has_send_ack());
}

TEST_F(CoreSession, too_many_connections) {
  settings.max_connections = 1;
  start();
  connect(1);
  expect_closed(open(), 4005, "overloaded", "unavailable", "backoff");
}

TEST_F(CoreSession, superseded_and_after_goaway) {
  start();
  auto a = connect(1), b = connect(2);
  auto supersede = [&](ConnectionId id, std::uint8_t n) {
    link::Down down;
    auto& reply = *down.add_home();
    reply.set_user(std::string(user(n).view()));
    reply.mutable_superseded()->set_connection(id.value);
    core->on_link_down({0}, down);
  };
  supersede(b, 1);  // somebody else's connection is never closed
  EXPECT_FALSE(of(b).close);
  supersede(a, 1);
  expect_closed(a, 4507, "superseded", "conflict", "never");
  core->drain(0, {clock.wall().value + 10'000});
  ASSERT_EQ(of(b).count(F::kGoaway), 1u);
  supersede(b, 2);
  EXPECT_EQ(of(b).close, 1000);
  EXPECT_EQ(of(b).count(F::kError), 0u);
}

TEST_F(CoreSession, logins_that_end_close_their_sockets) {
  start();
  auto a = connect(1), a2 = connect(1, "e"), b = connect(2);
  core->on_login_ended(user(1), login(3), false);
  EXPECT_FALSE(of(a).close);
  core->on_login_ended(user(1), login(1), false);
  expect_closed(a, 4508, "loggedOut", "unauthenticated", "never");
  expect_closed(a2, 4508, "loggedOut", "unauthenticated", "never");
  core->on_login_ended(user(2), std::nullopt, true);
  expect_closed(b, 4502, "authRevoked", "unauthenticated", "never");
}

TEST_F(CoreSession, tokens_expire_and_are_refreshed_in_place) {
  token_lifetime_ms = 60'000;
  settings.heartbeat_ms = 600'000;
  start();
  auto a = connect(1), b = connect(2);
  pass(50'000);
  client::Frame auth;
  auth.set_req_id(3);
  auth.mutable_auth()->set_token("bad");
  give(a, auth);
  EXPECT_EQ(of(a).last(F::kNack).nack().code(), "unauthenticated");
  auth.mutable_auth()->set_token("u2");
  give(a, auth);
  EXPECT_EQ(of(a).last(F::kNack).nack().code(), "forbidden");
  auth.mutable_auth()->set_token("u1");
  give(a, auth);
  ASSERT_EQ(of(a).count(F::kAuth), 1u);
  EXPECT_EQ(of(a).at(F::kAuth).req_id(), 3u);
  EXPECT_EQ(of(a).at(F::kAuth).auth().expires_at_ms(), clock.wall().value + 60'000);
  pass(10'200);
  expect_closed(b, 4009, "tokenExpired", "unauthenticated", "now");
  EXPECT_FALSE(of(a).close);
  pass(50'000);
  EXPECT_EQ(of(a).close, 4009);
}

TEST_F(CoreSession, the_user_is_registered_once_and_gone_with_the_last_session) {
  start();
  auto a = connect(1), a2 = connect(1, "e");
  EXPECT_TRUE(registered.contains(user(1)));
  core->on_closed(a);
  run();
  EXPECT_TRUE(registered.contains(user(1)));
  core->on_closed(a2);
  run();
  EXPECT_FALSE(registered.contains(user(1)));
  ASSERT_EQ(closed_devices.size(), 2u);
  EXPECT_EQ(closed_devices[0].connection(), a.value);
}

// ---- heartbeat (D16) ----

TEST_F(CoreSession, pings_when_it_has_said_nothing_and_gives_up_on_silence) {
  settings.heartbeat_ms = 1'000;
  start();
  auto a = connect(1);
  client::Frame ping;
  ping.set_req_id(4);
  ping.mutable_ping()->set_t("17");
  give(a, ping);
  EXPECT_EQ(of(a).at(F::kPong).pong().t(), "17");
  EXPECT_EQ(of(a).at(F::kPong).req_id(), 4u);
  pass(1'200);
  EXPECT_GE(of(a).count(F::kPing), 1u);
  core->on_alive(a);
  pass(2'000);
  EXPECT_FALSE(of(a).close);
  pass(400);
  expect_closed(a, 4004, "heartbeatTimeout", "unavailable", "backoff");
}

// ---- resume (R25) ----

TEST_F(CoreSession, replays_what_is_missing_with_marks_then_live) {
  start();
  auto c = conversation(3);
  auto id = hello(with_cursor(hello_frame(2), c, 1));
  std::vector<F::BodyCase> order;
  for (const auto& frame : of(id).got) order.push_back(frame.body_case());
  // D28: the peer's marks (his own are 0), then the events, then caughtUp.
  EXPECT_EQ(order, (std::vector{F::kWelcome, F::kMarker, F::kEvent, F::kEvent, F::kCaughtUp}));
  EXPECT_EQ(of(id).at(F::kMarker).marker().read_seq(), 3u);
  EXPECT_EQ(of(id).at(F::kEvent, 0).event().seq(), 2u);
  EXPECT_EQ(of(id).at(F::kEvent, 1).event().seq(), 3u);
  EXPECT_EQ(of(id).at(F::kCaughtUp).caught_up().changed_size(), 0);
}

TEST_F(CoreSession, conversations_changed_since_the_token) {
  start();
  auto c = conversation(1);
  auto id = connect(2);
  std::string token = of(id).at(F::kCaughtUp).caught_up().sync_token();
  core->on_closed(id);
  auto frame = hello_frame(2);
  frame.mutable_hello()->set_sync_token(token);
  EXPECT_EQ(of(hello(frame)).at(F::kCaughtUp).caught_up().changed_size(), 0);
  auto a = connect(1);
  give(a, send_frame(1, 2));
  auto changed = of(hello(frame)).at(F::kCaughtUp).caught_up();
  ASSERT_EQ(changed.changed_size(), 1);
  EXPECT_EQ(changed.changed(0).conversation(), c);
  EXPECT_EQ(changed.changed(0).unread(), 2u);
  EXPECT_EQ(changed.changed(0).last_message().message().text().body(), "hi");
  // A token that was tampered with is none; with cursors everything not held counts as changed.
  token[4] = token[4] == 'A' ? 'B' : 'A';
  frame.mutable_hello()->set_sync_token(token);
  EXPECT_EQ(of(hello(frame)).at(F::kCaughtUp).caught_up().changed_size(), 1);
}

TEST_F(CoreSession, too_many_missing_events_resync) {
  settings.limits.resume_events = 3;
  start();
  auto c = conversation(5);
  auto exactly = hello(with_cursor(hello_frame(2), c, 2));
  EXPECT_EQ(of(exactly).count(F::kEvent), 3u) << "D32: exactly that many are replayed";
  auto more = hello(with_cursor(hello_frame(2), c, 1));
  EXPECT_EQ(of(more).count(F::kEvent), 0u);
  EXPECT_EQ(of(more).at(F::kResync).resync().reason(), "tooManyEvents");
  ASSERT_EQ(of(more).at(F::kResync).resync().conversations_size(), 1) << "held ones too: the cursors are dropped";
  EXPECT_EQ(of(more).count(F::kCaughtUp), 1u);
  EXPECT_TRUE(of(more).got.back().has_caught_up());
}

TEST_F(CoreSession, a_cursor_ahead_of_the_log_resyncs) {
  start();
  auto c = conversation(1);
  auto id = hello(with_cursor(hello_frame(2), c, 7));
  EXPECT_EQ(of(id).at(F::kResync).resync().reason(), "cursorAhead");
  EXPECT_EQ(of(id).count(F::kCaughtUp), 1u);
}

TEST_F(CoreSession, replay_is_paced_by_acks) {
  settings.replay_window = 2;
  settings.heartbeat_ms = 600'000;
  start();
  auto c = conversation(5);
  auto id = hello(with_cursor(hello_frame(2), c, 0));
  EXPECT_EQ(of(id).count(F::kEvent), 2u);
  EXPECT_EQ(of(id).count(F::kCaughtUp), 0u);
  give(id, ack_frame(c, 1));
  EXPECT_EQ(of(id).count(F::kEvent), 3u) << "an ack that advances by n opens n";
  give(id, ack_frame(c, 1));
  EXPECT_EQ(of(id).count(F::kEvent), 3u);
  give(id, ack_frame(c, 3));
  EXPECT_EQ(of(id).count(F::kEvent), 5u);
  EXPECT_EQ(of(id).count(F::kCaughtUp), 1u);

  auto lazy = hello(with_cursor(hello_frame(2, "lazy"), c, 0));
  pass(29'000);
  EXPECT_FALSE(of(lazy).close);
  pass(1'300);
  expect_closed(lazy, 4003, "slowConsumer", "unavailable", "now");
}

TEST_F(CoreSession, a_resume_that_is_replaced_is_answered_too) {
  start();
  auto id = connect(1);
  broker_moves = false;
  give(id, resume_frame(5));
  give(id, resume_frame(6));
  EXPECT_EQ(of(id).at(F::kNack).req_id(), 5u);
  EXPECT_EQ(of(id).at(F::kNack).nack().code(), "conflict");
  broker_moves = true;
  run();
  ASSERT_EQ(of(id).count(F::kCaughtUp), 2u);
  EXPECT_EQ(of(id).last(F::kCaughtUp).req_id(), 6u);
}

TEST_F(CoreSession, live_frames_wait_for_caught_up) {
  start();
  auto c = conversation(1);
  auto a = connect(1);
  store_moves = false;
  auto id = open();
  core->on_frame(id, with_cursor(hello_frame(2), c, 0));
  store.step_all();  // the login
  run();
  EXPECT_EQ(of(id).count(F::kWelcome), 1u);
  give(a, send_frame(1, 2));
  EXPECT_EQ(of(id).count(F::kEvent), 0u);
  store_moves = true;
  run();
  EXPECT_EQ(of(id).at(F::kEvent, 0).event().seq(), 1u);
  EXPECT_TRUE(of(id).got.back().has_event());
  EXPECT_EQ(of(id).got.back().event().seq(), 2u);
}

TEST_F(CoreSession, an_overflowing_buffer_closes) {
  settings.buffered_frames_bytes = 600;
  start();
  auto c = conversation(1);
  auto a = connect(1);
  store_moves = false;
  auto id = open();
  core->on_frame(id, with_cursor(hello_frame(2), c, 0));
  store.step_all();
  run();
  for (std::uint32_t i = 1; i <= 3; ++i) give(a, send_frame(i, 2));
  expect_closed(id, 4003, "slowConsumer", "unavailable", "now");
  store_moves = true;
  run();
  EXPECT_EQ(of(id).count(F::kCaughtUp), 0u);
}

TEST_F(CoreSession, the_barrier_is_asked_after_the_routers_confirmed) {
  start();
  confirming = false;
  auto id = hello(hello_frame(1));
  EXPECT_EQ(of(id).count(F::kWelcome), 1u);
  EXPECT_EQ(of(id).count(F::kCaughtUp), 0u);
  confirming = true;
  pass(1'000);  // the beat repeats the question
  EXPECT_EQ(of(id).count(F::kCaughtUp), 1u);
}

TEST_F(CoreSession, a_router_that_leaves_is_not_waited_for) {
  start();
  core->on_members({"router-0", "router-1"});
  core->on_link_open({1});  // opens, and never says a word
  auto id = hello(hello_frame(1));
  EXPECT_EQ(of(id).count(F::kCaughtUp), 0u);
  pass(4'100);
  EXPECT_EQ(broken, 1) << "R16: silent for 3 s";
  EXPECT_EQ(of(id).count(F::kCaughtUp), 1u);
}

TEST_F(CoreSession, store_away_says_so_goes_live_and_asks_again) {
  start();
  auto c = conversation(2);
  auto token = of(connect(2, "other")).at(F::kCaughtUp).caught_up().sync_token();
  store.set_away(true);
  auto frame = with_cursor(hello_frame(2), c, 1);
  frame.mutable_hello()->set_sync_token(token);
  auto id = hello(frame);
  pass(3'200);
  ASSERT_EQ(of(id).count(F::kCaughtUp), 1u);
  EXPECT_EQ(of(id).at(F::kResync).resync().reason(), "storeUnavailable");
  EXPECT_EQ(of(id).at(F::kCaughtUp).caught_up().sync_token(), token) << "the old one";
  EXPECT_EQ(core->stats().behind, 1u);
  auto a = connect(1);
  give(a, send_frame(1, 2));
  EXPECT_EQ(of(id).last(F::kEvent).event().seq(), 3u) << "live";
  store.set_away(false);
  pass(1'000);
  ASSERT_EQ(of(id).count(F::kResume), 1u);
  EXPECT_EQ(core->stats().behind, 0u);
  client::Frame resume = resume_frame(5);
  resume.mutable_resume()->add_cursors()->set_conversation(c);
  resume.mutable_resume()->mutable_cursors(0)->set_seq(1);
  give(id, resume);
  ASSERT_EQ(of(id).count(F::kCaughtUp), 2u);
  EXPECT_EQ(of(id).at(F::kCaughtUp, 1).req_id(), 5u);
  EXPECT_EQ(of(id).at(F::kEvent, 1).event().seq(), 2u);
}

TEST_F(CoreSession, a_login_that_could_not_be_checked_is_checked_later) {
  start();
  store.set_away(true);
  auto id = hello(with_cursor(hello_frame(1), uuid(3), 1));
  pass(3'200);
  EXPECT_EQ(of(id).count(F::kCaughtUp), 1u) << "P7: a verified token is enough";
  store.set_away(false);
  accounts->end_login(user(1), login(1), [](auto) {});
  pass(1'000);
  EXPECT_EQ(of(id).close, 4502);
}

// ---- progress (R21) ----

TEST_F(CoreSession, a_gap_asks_everyone_to_resume_and_who_does_not_is_closed) {
  settings.heartbeat_ms = 600'000;
  start();
  auto a = connect(1), b = connect(2);
  drop_deliveries = true;
  close_link();
  give(a, send_frame(1, 2));
  link_open = true;
  route();  // folded, told to nobody
  drop_deliveries = false;
  open_link();
  run();
  EXPECT_EQ(of(b).count(F::kResume), 0u) << "another stream may cure it";
  pass(1'200);
  ASSERT_EQ(of(a).count(F::kResume), 1u);
  ASSERT_EQ(of(b).count(F::kResume), 1u);
  EXPECT_EQ(of(b).at(F::kResume).resume().reason(), "gap");
  client::Frame resume = resume_frame();
  resume.mutable_resume()->add_cursors()->set_conversation(chat::to_text(chat::direct_conversation(user(1), user(2))));
  give(b, resume);
  EXPECT_EQ(of(b).count(F::kEvent), 1u) << "what was missed";
  EXPECT_EQ(of(b).count(F::kCaughtUp), 2u);
  pass(31'000);
  EXPECT_FALSE(of(b).close);
  expect_closed(a, 4007, "resyncRequired", "unavailable", "now");
}

TEST_F(CoreSession, a_stream_that_continues_is_no_gap) {
  start();
  auto a = connect(1);
  connect(2);
  give(a, send_frame(1, 2));
  close_link();
  open_link();
  run();
  pass(1'500);
  EXPECT_EQ(of(a).count(F::kResume), 0u);
}

TEST_F(CoreSession, a_stream_that_opens_gets_everyone_and_the_devices) {
  start();
  auto a = connect(1);
  connect(2);
  close_link();
  opened_devices.clear();
  open_link();
  run();
  EXPECT_EQ(registered.size(), 2u);
  ASSERT_EQ(opened_devices.size(), 2u);
  EXPECT_TRUE(opened_devices[0].moved());
  EXPECT_EQ(of(a).close, std::nullopt);
}

// ---- drain (P6) ----

TEST_F(CoreSession, drain_tells_everyone_spread_over_the_window_then_closes) {
  settings.limits.sends_per_second = 0;
  start();
  std::vector<ConnectionId> ids;
  for (int i = 0; i < 10; ++i) ids.push_back(connect(1, "d" + std::to_string(i)));
  auto told = [&] { return std::ranges::count_if(ids, [&](auto id) { return of(id).count(F::kGoaway) == 1; }); };
  std::uint64_t deadline = clock.wall().value + 5'000;
  core->drain(1'000, {deadline});
  EXPECT_EQ(told(), 0);
  pass(500);
  EXPECT_GE(told(), 3);
  EXPECT_LE(told(), 7);
  pass(600);
  EXPECT_EQ(told(), 10);
  EXPECT_EQ(of(ids[0]).at(F::kGoaway).goaway().deadline_ms(), deadline);
  EXPECT_FALSE(core->drained());
  expect_closed(open(), 4001, "goawayDeadline", "unavailable", "now");
  for (std::size_t i = 1; i < 10; ++i) core->on_closed(ids[i]);
  pass(4'000);
  expect_closed(ids[0], 4001, "goawayDeadline", "unavailable", "now");
  EXPECT_TRUE(core->drained());
}

}  // namespace
}  // namespace parley::gateway
