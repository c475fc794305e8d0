#include "bench/load.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <limits>
#include <random>
#include <thread>
#include <unordered_map>

#include "chat/ids.h"

namespace parley::bench {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::duration_cast;
using std::chrono::microseconds;
using std::chrono::nanoseconds;

constexpr std::uint32_t kOpeningAtOnce = 64;  // handshakes in flight: a storm is another benchmark
constexpr std::size_t kFailuresKept = 10;

std::int64_t now_ns() { return duration_cast<nanoseconds>(Clock::now().time_since_epoch()).count(); }

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto s = [](const timeval& t) { return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6; };
  return s(usage.ru_utime) + s(usage.ru_stime);
}

void say(std::string_view line) {
  std::fwrite(line.data(), 1, line.size(), stdout);
  std::fputc('\n', stdout);
  std::fflush(stdout);
}

// A message carries the moment it was due in the first 20 characters of its text, so that nobody keeps a table of what is under way.
std::string text_of(std::int64_t due_ns, std::uint32_t bytes) {
  std::string text = fmt::format("{:020d}", due_ns);
  text.resize(std::max<std::size_t>(bytes, text.size()), '.');
  return text;
}

std::int64_t due_of(const client::Frame& frame) {
  const auto& text = frame.event().message().text().body();
  return text.size() < 20 ? 0 : std::strtoll(text.substr(0, 20).c_str(), nullptr, 10);
}

class Load {
 public:
  explicit Load(const Options& options) : options_(options), ids_(shared_.random()), sweep_(shared_.io), arrivals_(shared_.io), phase_timer_(shared_.io) {
    handlers_.ready = [this](Connection& c) { on_ready(c); };
    handlers_.frame = [this](Connection& c, const client::Frame& frame) { on_frame(c, frame); };
    handlers_.failed = [this](Connection& c, std::string why) { on_failed(c, std::move(why)); };
  }

  Report run() {
    const std::size_t wanted = options_.mode == "idle" ? options_.connections : options_.mode == "durable" ? options_.pairs * 2 : options_.members;
    if (options_.users.size() < wanted) throw std::runtime_error(fmt::format("{} users are needed, the file has {}", wanted, options_.users.size()));
    for (std::size_t i = 0; i < wanted; ++i) connections_.push_back(std::make_unique<Connection>(shared_, handlers_, i, options_.users[i]));
    pairs_.resize(options_.pairs);
    for (std::uint32_t i = 0; i < kOpeningAtOnce; ++i) open_next();
    shared_.io.run();
    return std::move(report_);
  }

 private:
  struct Pair {
    std::string conversation;  // made by the pair's first message, before anything is measured
  };

  void open_next() {
    if (opened_ == connections_.size()) return;
    auto& connection = *connections_[opened_];
    // A pair's two ends sit on different gateways where there are two.
    const auto& endpoint = options_.endpoints[(opened_ + opened_ / 2) % options_.endpoints.size()];
    ++opened_;
    connection.open(endpoint);
  }

  void on_ready(Connection&) {
    ++ready_;
    open_next();
    if (ready_ + report_.failures.size() == connections_.size()) on_all_ready();
  }

  void on_failed(Connection& connection, std::string why) {
    if (finished_) return;
    if (report_.failures.size() < kFailuresKept) report_.failures.push_back(fmt::format("connection {}: {}", connection.index(), why));
    ++failed_;
    if (!ready_all_) open_next();
    if (failed_ == kFailuresKept) finish();
  }

  void on_all_ready() {
    ready_all_ = true;
    sweep();
    if (options_.mode == "idle") return hold();
    if (options_.mode == "fanout") return create_group();
    // The first message of each pair makes its conversation; the measured ones go to a warm one.
    for (std::uint32_t i = 0; i < options_.pairs; ++i) {
      client::Frame frame = new_send(text_of(now_ns(), options_.text_bytes));
      frame.mutable_send()->set_direct_to(connections_[i * 2 + 1]->user());
      connections_[i * 2]->send(frame);
    }
  }

  // Idle: the caller measures, and says when it is done by closing our stdin.
  void hold() {
    say("holding");
    waiter_ = std::thread([this] {
      std::cin.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
      boost::asio::post(shared_.io, [this] { finish(); });
    });
  }

  client::Frame new_send(std::string text) {
    client::Frame frame;
    auto& send = *frame.mutable_send();
    send.set_client_msg_id(chat::uuid_text(
        ids_.next({static_cast<std::uint64_t>(duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count())})));
    send.mutable_text()->set_body(std::move(text));
    return frame;
  }

  void create_group() {
    client::Frame frame;
    frame.set_req_id(1);
    auto& create = *frame.mutable_create_conversation();
    create.set_op_id(chat::uuid_text(ids_.next({1})));
    create.set_kind("group");
    create.set_title("bench");
    // A frame of 64 KiB holds some 1,600 ids; the others are added.
    for (std::size_t i = 1; i < connections_.size() && i < kMembersAFrame; ++i) create.add_members(connections_[i]->user());
    members_in_ = std::min<std::size_t>(connections_.size(), kMembersAFrame);
    connections_[0]->send(frame);
  }

  void on_result(const client::Frame& frame) {
    if (options_.mode != "fanout" || measuring_) return;
    if (group_.empty()) group_ = frame.result().conversation();
    if (members_in_ == connections_.size()) return begin_warmup();
    client::Frame next;
    next.set_req_id(1);
    auto& add = *next.mutable_add_members();
    add.set_op_id(chat::uuid_text(ids_.next({1})));
    add.set_conversation(group_);
    for (std::size_t i = 0; i < kMembersAFrame && members_in_ < connections_.size(); ++i) add.add_users(connections_[members_in_++]->user());
    connections_[0]->send(next);
  }

  void on_frame(Connection& connection, const client::Frame& frame) {
    if (frame.has_event()) return on_event(connection, frame);
    if (frame.has_send_ack()) {
      if (measuring_) ++report_.acked;
      return on_send_ack(connection, frame.send_ack());
    }
    if (frame.has_result()) return on_result(frame);
    if (frame.has_nack()) {
      ++report_.nacked;
      if (report_.failures.size() < kFailuresKept) report_.failures.push_back(fmt::format("nack {}: {}", frame.nack().code(), frame.nack().message()));
      if (!measuring_) ++failed_;
      if (failed_ >= kFailuresKept) finish();
    }
  }

  void on_send_ack(Connection& connection, const client::SendAck& ack) {
    if (options_.mode != "durable") return;
    auto& pair = pairs_[connection.index() / 2];
    if (pair.conversation.empty()) {
      pair.conversation = ack.conversation();
      if (++warm_pairs_ == options_.pairs) begin_warmup();
      return;
    }
    if (auto it = sent_at_.find(ack.client_msg_id()); it != sent_at_.end()) {
      if (measuring_) report_.ack.add(elapsed_us(it->second));
      sent_at_.erase(it);
    }
  }

  static std::uint64_t elapsed_us(std::int64_t since_ns) { return static_cast<std::uint64_t>(std::max<std::int64_t>(0, now_ns() - since_ns) / 1000); }

  void on_event(Connection& connection, const client::Frame& frame) {
    const std::int64_t due = due_of(frame);
    if (due == 0) return;
    const bool counts = due >= begin_ns_ && due < end_ns_;
    if (counts) {
      ++report_.delivered;
      report_.delivery.add(elapsed_us(due));
    }
    if (options_.mode == "fanout") {
      if (due == fanout_due_ && ++fanout_got_ == connections_.size() - 1) on_fanned_out(due, counts);
    } else if (begin_ns_ != 0 && options_.rate == 0) {
      closed_loop_next(connection.index() / 2, connection.index() % 2);
    }
    if (finishing_ && report_.delivered >= expected()) finish();
  }

  std::uint64_t expected() const { return options_.mode == "fanout" ? report_.sent * (connections_.size() - 1) : report_.sent; }

  void begin_warmup() {
    begin_ns_ = now_ns() + static_cast<std::int64_t>(options_.warmup_s * 1e9);
    end_ns_ = begin_ns_ + static_cast<std::int64_t>(options_.seconds * 1e9);
    phase_timer_.expires_at(Clock::time_point(nanoseconds(begin_ns_)));
    phase_timer_.async_wait([this](auto) { begin(); });
    if (options_.mode == "fanout") return fan_out(now_ns());
    if (options_.rate > 0) {
      next_due_ns_ = static_cast<double>(now_ns());
      return arrive();
    }
    for (std::uint32_t i = 0; i < options_.pairs; ++i)
      for (std::uint32_t w = 0; w < options_.window; ++w) closed_loop_next(i, w % 2);
  }

  void begin() {
    measuring_ = true;
    cpu_before_ = cpu_seconds();
    say("measuring");
    phase_timer_.expires_at(Clock::time_point(nanoseconds(end_ns_)));
    phase_timer_.async_wait([this](auto) { end(); });
  }

  void end() {
    report_.window_s = options_.seconds;
    report_.cpu_share = (cpu_seconds() - cpu_before_) / options_.seconds;
    say("measured");
    finishing_ = true;
    if (report_.delivered >= expected()) return finish();
    phase_timer_.expires_after(std::chrono::seconds(10));  // what is under way may still arrive, and counts: it was due in time
    phase_timer_.async_wait([this](auto) { finish(); });
  }

  void finish() {
    if (finished_) return;
    finished_ = true;
    report_.undelivered = expected() - std::min(expected(), report_.delivered);
    for (auto& connection : connections_) connection->close();
    shared_.io.stop();
    if (waiter_.joinable()) waiter_.join();
  }

  // ---- durable ----

  void send_pair(std::size_t pair, std::size_t side, std::int64_t due) {
    client::Frame frame = new_send(text_of(due, options_.text_bytes));
    frame.mutable_send()->set_conversation(pairs_[pair].conversation);
    sent_at_.emplace(frame.send().client_msg_id(), due);
    if (due >= begin_ns_ && due < end_ns_) ++report_.sent;
    connections_[pair * 2 + side]->send(frame);
  }

  void closed_loop_next(std::size_t pair, std::size_t side) {
    if (!finishing_) send_pair(pair, side, now_ns());
  }

  void arrive() {
    const double now = static_cast<double>(now_ns());
    while (next_due_ns_ <= now && !finishing_) {
      if (measuring_) report_.late_ms = std::max(report_.late_ms, (now - next_due_ns_) / 1e6);
      const std::size_t pair = shared_.random() % pairs_.size();
      send_pair(pair, shared_.random() % 2, static_cast<std::int64_t>(next_due_ns_));
      next_due_ns_ += std::exponential_distribution<double>(options_.rate / 1e9)(shared_.random);
    }
    if (finishing_) return;
    arrivals_.expires_at(Clock::time_point(nanoseconds(static_cast<std::int64_t>(next_due_ns_))));
    arrivals_.async_wait([this](auto error) {
      if (!error) arrive();
    });
  }

  // ---- fanout ----

  void fan_out(std::int64_t due) {
    if (finishing_) return;
    fanout_due_ = due;
    fanout_got_ = 0;
    client::Frame frame = new_send(text_of(due, options_.text_bytes));
    frame.mutable_send()->set_conversation(group_);
    if (due >= begin_ns_ && due < end_ns_) ++report_.sent;
    connections_[0]->send(frame);
  }

  void on_fanned_out(std::int64_t due, bool counts) {
    if (counts) report_.last.add(elapsed_us(due));
    if (options_.rate == 0) return fan_out(now_ns());
    const std::int64_t next = std::max(now_ns(), due + static_cast<std::int64_t>(1e9 / options_.rate));
    arrivals_.expires_at(Clock::time_point(nanoseconds(next)));
    arrivals_.async_wait([this, next](auto error) {
      if (!error) fan_out(next);
    });
  }

  void sweep() {
    sweep_.expires_after(std::chrono::seconds(1));
    sweep_.async_wait([this](auto error) {
      if (error || finished_) return;
      for (auto& connection : connections_) connection->acknowledge();
      sweep();
    });
  }

  static constexpr std::size_t kMembersAFrame = 1500;

  const Options& options_;
  Shared shared_;
  Connection::Handlers handlers_;
  std::vector<std::unique_ptr<Connection>> connections_;
  chat::IdGenerator ids_;
  boost::asio::steady_timer sweep_, arrivals_, phase_timer_;
  std::thread waiter_;
  std::vector<Pair> pairs_;
  std::unordered_map<std::string, std::int64_t> sent_at_;  // clientMsgId -> due; at most what is unanswered
  std::string group_;
  std::size_t opened_ = 0, ready_ = 0, failed_ = 0, warm_pairs_ = 0, members_in_ = 0, fanout_got_ = 0;
  std::int64_t begin_ns_ = 0, end_ns_ = 0, fanout_due_ = 0;
  double next_due_ns_ = 0, cpu_before_ = 0;
  bool ready_all_ = false, measuring_ = false, finishing_ = false, finished_ = false;
  Report report_;
};

}  // namespace

Report run(const Options& options) { return Load(options).run(); }

}  // namespace parley::bench
