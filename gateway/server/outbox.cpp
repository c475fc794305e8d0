#include "gateway/server/outbox.h"

#include <algorithm>

namespace parley::gateway {

bool Outbox::push(OutgoingPtr frame, std::string_view wire, std::size_t max_bytes) {
  if (bytes_ + wire.size() > max_bytes) {
    if (frame->ephemeral) {
      ++shed_;
      return true;
    }
    shed_ephemeral();
    if (bytes_ + wire.size() > max_bytes) return false;
  }
  bytes_ += wire.size();
  items_.push_back({std::move(frame), wire});
  return true;
}

void Outbox::shed_ephemeral() {
  auto first = items_.begin() + static_cast<std::ptrdiff_t>(head_);
  if (first != items_.end() && (offset_ > 0 || head_pinned_)) ++first;  // partly written: cannot be taken back
  auto kept = std::remove_if(first, items_.end(), [this](const Item& item) {
    if (!item.frame->ephemeral) return false;
    bytes_ -= item.wire.size();
    ++shed_;
    return true;
  });
  items_.erase(kept, items_.end());
}

std::size_t Outbox::gather(std::span<iovec> out) const {
  std::size_t n = 0, offset = offset_;
  for (auto i = head_; i < items_.size() && n < out.size(); ++i) {
    auto piece = items_[i].wire.substr(offset);
    offset = 0;
    out[n++] = {const_cast<char*>(piece.data()), piece.size()};
  }
  return n;
}

std::string_view Outbox::front() {
  if (empty()) return {};
  head_pinned_ = true;
  return items_[head_].wire.substr(offset_);
}

void Outbox::written(std::size_t bytes) {
  bytes_ -= bytes;
  while (bytes > 0) {
    auto left = items_[head_].wire.size() - offset_;
    if (bytes < left) {
      offset_ += bytes;
      return;
    }
    bytes -= left;
    offset_ = 0;
    head_pinned_ = false;
    items_[head_++].frame.reset();
  }
  if (empty()) {
    clear();
  } else if (head_ >= 64 && head_ * 2 >= items_.size()) {  // a reader that is slow for long must not keep what was sent
    items_.erase(items_.begin(), items_.begin() + static_cast<std::ptrdiff_t>(head_));
    head_ = 0;
  }
}

void Outbox::clear() {
  items_.clear();
  head_ = offset_ = bytes_ = 0;
  head_pinned_ = false;
}

}  // namespace parley::gateway
