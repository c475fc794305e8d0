#include "router/registry.h"

#include <utility>

namespace parley::router {

namespace {
constexpr std::size_t kLeast = 64;
}

Registry::Registry() : entries_(kLeast) {}

std::size_t Registry::start(const chat::UserId& user) const {
  std::uint64_t h = std::hash<chat::UserId>{}(user);
  return static_cast<std::size_t>(h ^ (h >> 32)) & mask();  // the product's high bits are the mixed ones
}

void Registry::insert(const Entry& entry) {
  std::size_t i = start(entry.user);
  while (entries_[i].slot != kFree) i = (i + 1) & mask();
  entries_[i] = entry;
}

bool Registry::add(const chat::UserId& user, Slot slot) {
  for (std::size_t i = start(user); entries_[i].slot != kFree; i = (i + 1) & mask())
    if (entries_[i].user == user && entries_[i].slot == slot) return false;
  if ((size_ + 1) * 3 > entries_.size() * 2) rebuild(entries_.size() * 2, kFree);
  insert({user, slot});
  ++size_;
  return true;
}

bool Registry::remove(const chat::UserId& user, Slot slot) {
  for (std::size_t i = start(user); entries_[i].slot != kFree; i = (i + 1) & mask())
    if (entries_[i].user == user && entries_[i].slot == slot) {
      erase(i);
      --size_;
      return true;
    }
  return false;
}

// Moves later entries of the probe run forward over the hole, so that no tombstones are needed.
void Registry::erase(std::size_t hole) {
  for (std::size_t i = (hole + 1) & mask(); entries_[i].slot != kFree; i = (i + 1) & mask()) {
    std::size_t wanted = start(entries_[i].user);
    if (((i - wanted) & mask()) >= ((i - hole) & mask())) {
      entries_[hole] = entries_[i];
      hole = i;
    }
  }
  entries_[hole] = Entry{};
}

void Registry::remove_slot(Slot slot) {
  std::size_t left = 0;
  for (const Entry& entry : entries_) left += entry.slot != kFree && entry.slot != slot;
  if (left == size_) return;
  std::size_t capacity = kLeast;
  while (left * 3 > capacity) capacity *= 2;
  rebuild(capacity, slot);
  size_ = left;
}

void Registry::rebuild(std::size_t capacity, Slot without) {
  std::vector<Entry> old = std::exchange(entries_, std::vector<Entry>(capacity));
  for (const Entry& entry : old)
    if (entry.slot != kFree && entry.slot != without) insert(entry);
}

}  // namespace parley::router
