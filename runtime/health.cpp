#include "runtime/health.h"

namespace parley::runtime {

void Health::declare(std::string_view check) {
  std::lock_guard lock(mutex_);
  checks_.emplace(check, "starting");
}

void Health::ready(std::string_view check) { not_ready(check, ""); }

void Health::not_ready(std::string_view check, std::string_view reason) {
  std::lock_guard lock(mutex_);
  if (auto found = checks_.find(check); found != checks_.end())
    found->second = reason;
  else
    checks_.emplace(check, reason);
}

void Health::beat(std::string_view loop, std::uint32_t silence_ms) {
  auto now = clock_.steady().value;
  std::lock_guard lock(mutex_);
  if (auto found = beats_.find(loop); found != beats_.end())
    found->second = {now, silence_ms};
  else
    beats_.emplace(loop, Beat{now, silence_ms});
}

void Health::end_beat(std::string_view loop) {
  std::lock_guard lock(mutex_);
  if (auto found = beats_.find(loop); found != beats_.end()) beats_.erase(found);
}

std::vector<Health::Reason> Health::unready() const {
  std::lock_guard lock(mutex_);
  std::vector<Reason> reasons;
  for (const auto& [name, reason] : checks_)
    if (!reason.empty()) reasons.push_back({name, reason});
  return reasons;
}

std::vector<Health::Reason> Health::hanging() const {
  auto now = clock_.steady().value;
  std::lock_guard lock(mutex_);
  std::vector<Reason> reasons;
  for (const auto& [name, beat] : beats_)
    if (now > beat.last_ms + beat.silence_ms) reasons.push_back({name, "no beat for " + std::to_string(now - beat.last_ms) + " ms"});
  return reasons;
}

}  // namespace parley::runtime
