#include "gateway/core/rates.h"

#include <algorithm>
#include <cmath>
#include <iterator>

namespace parley::gateway {

Rates::Entry& Rates::entry(const chat::UserId& user) {
  Entry& e = users_[user];
  e.used = clock_.steady();
  return e;
}

bool Rates::take(const chat::UserId& user) {
  if (limits_.sends_per_second == 0) return true;
  Entry& e = entry(user);
  if (e.tokens == 0 || !e.waiting.empty()) return false;
  --e.tokens;
  return true;
}

void Rates::wait(const chat::UserId& user, Granted granted) {
  Entry& e = entry(user);
  e.waiting.push_back(std::move(granted));
  if (e.asked.value == 0) ask(user, e);
}

void Rates::ask(const chat::UserId& user, Entry& e) {
  auto home = routers_.home(user);
  if (!home) return serve_locally(e);
  e.asked = clock_.steady();
  link::HomeRequest request;
  request.set_user(std::string(user.view()));
  request.mutable_lease()->set_tokens(kLease);
  routers_.to_home(*home, std::move(request));
}

void Rates::serve_locally(Entry& e) {
  e.asked = {};
  auto waiting = std::exchange(e.waiting, {});
  chat::TimeMs now = clock_.steady();
  for (Granted& granted : waiting)
    granted(e.fallback.take(now, limits_.sends_per_second, limits_.send_burst) ? std::nullopt : std::optional(1'000 / limits_.sends_per_second + 1));
}

void Rates::refund(const chat::UserId& user) {
  if (limits_.sends_per_second == 0) return;
  Entry& e = entry(user);
  e.tokens = std::min(e.tokens + 1, limits_.send_burst);
}

std::uint32_t Rates::wait_ms(const chat::UserId& user) {
  const double tokens = entry(user).refused.fill(clock_.steady(), kRefusedPerSecond, kRefusedBurst);
  return tokens >= 1 ? 0 : static_cast<std::uint32_t>(std::ceil((1 - tokens) * 1000 / kRefusedPerSecond));
}

void Rates::owe(const chat::UserId& user) { entry(user).refused.fill(clock_.steady(), kRefusedPerSecond, kRefusedBurst) -= 1; }

bool Rates::take_read(const chat::UserId& user, std::size_t cursors) {
  // However many there are: what costs more than the bucket holds could never be asked, and one request is not to block all others.
  const double cost = std::min(1 + static_cast<double>(cursors) / kCursorsPerRead, kReadBurst / 4);
  return entry(user).reads.take(clock_.steady(), kReadsPerSecond, kReadBurst, cost);
}

void Rates::on_leased(const chat::UserId& user, std::uint32_t tokens, std::uint32_t retry_after_ms) {
  if (limits_.sends_per_second == 0) return;
  Entry& e = entry(user);
  e.asked = {};
  e.tokens = std::min(e.tokens + tokens, limits_.send_burst);
  // What is granted may refund, wait or take anew while this runs: nothing of the entry is used after a call.
  auto waiting = std::exchange(e.waiting, {});
  const std::size_t served = std::min<std::size_t>(waiting.size(), e.tokens);
  e.tokens -= static_cast<std::uint32_t>(served);
  const bool again = served < waiting.size() && tokens > 0;
  if (again) {
    e.waiting.assign(std::move_iterator(waiting.begin() + static_cast<std::ptrdiff_t>(served)), std::move_iterator(waiting.end()));
    waiting.resize(served);
    ask(user, e);
  }
  for (std::size_t i = 0; i < waiting.size(); ++i) waiting[i](i < served ? std::nullopt : std::optional(std::max<std::uint32_t>(retry_after_ms, 1)));
}

void Rates::on_tick() {
  chat::TimeMs now = clock_.steady();
  if (now < sweep_at_) return;
  sweep_at_ = {now.value + kAnswerMs / 4};
  std::vector<chat::UserId> late;
  std::erase_if(users_, [&](const auto& pair) {
    const Entry& e = pair.second;
    if (e.asked.value != 0 && now.value - e.asked.value >= kAnswerMs) late.push_back(pair.first);
    return e.waiting.empty() && e.asked.value == 0 && now.value - e.used.value >= kIdleMs;
  });
  std::ranges::sort(late);
  for (const chat::UserId& user : late)
    if (auto it = users_.find(user); it != users_.end()) serve_locally(it->second);
}

}  // namespace parley::gateway
