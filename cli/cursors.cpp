#include "cli/cursors.h"

#include <algorithm>

namespace parley::cli {

std::vector<Cursors::Cursor>::const_iterator Cursors::find(const std::string& conversation) const {
  return std::ranges::find(cursors_, conversation, &Cursor::conversation);
}

std::uint64_t Cursors::held(const std::string& conversation) const {
  auto found = find(conversation);
  return found == cursors_.end() ? 0 : found->seq;
}

bool Cursors::knows(const std::string& conversation) const { return find(conversation) != cursors_.end(); }

Cursors::Take Cursors::look(const std::string& conversation, std::uint64_t seq) const {
  auto last = held(conversation);
  return seq <= last ? Take::drop : seq == last + 1 ? Take::take : Take::ask;
}

void Cursors::hold(const std::string& conversation, std::uint64_t seq) {
  auto found = find(conversation);
  if (found != cursors_.end()) {
    seq = std::max(seq, found->seq);
    cursors_.erase(found);
  }
  if (cursors_.size() == kMax) cursors_.erase(cursors_.begin());
  cursors_.push_back({conversation, seq});
}

}  // namespace parley::cli
