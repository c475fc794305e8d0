// R15: the consistent-hash ring that places partitions (their owner) and users (their home) on routers.
//
// Pure and immutable: equal member lists give equal rings in every process, whatever the order they were listed in (golden
// vectors in ring_test.cpp; changing them means moving every partition during a rolling upgrade). It stands in runtime/
// because both routers and gateways need it and services never include each other.
// Bound: 160 points a member, 16 bytes each.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "chat/ids.h"

namespace parley::runtime {

class Ring {
 public:
  static constexpr std::uint32_t kVirtualNodes = 160;

  Ring() = default;  // nobody: owner() and home() must not be asked
  // Duplicates count once.
  explicit Ring(std::vector<std::string> members);

  bool empty() const { return members_.empty(); }
  const std::vector<std::string>& members() const { return members_; }  // ascending

  const std::string& owner(chat::Partition partition) const;
  const std::string& home(const chat::UserId& user) const;

  bool operator==(const Ring& other) const { return members_ == other.members_; }

 private:
  struct Point {
    std::uint64_t hash;
    std::uint32_t member;
  };
  const std::string& at(std::uint64_t hash) const;

  std::vector<std::string> members_;
  std::vector<Point> points_;  // ascending by hash, then member
};

}  // namespace parley::runtime
