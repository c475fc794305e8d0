// The logs under contract_test.cpp: one subject per implementation, driven by the same few verbs.
#pragma once

#include <chrono>
#include <concepts>
#include <cstdint>
#include <memory>
#include <string>

#include "eventlog/log.h"

namespace parley::eventlog::test {

struct Wish {
  std::uint32_t partitions = 4;
  std::uint32_t queue_entries = 100'000;
  std::uint32_t entry_bytes = 64 << 10;
};

class Subject {
 public:
  virtual ~Subject() = default;
  virtual std::unique_ptr<Log> connect() = 0;  // a process's own connection to the same log
  virtual void turn() = 0;                     // lets things happen for a moment

  // Turns until it holds; false after `limit`.
  bool until(std::predicate auto holds, std::chrono::milliseconds limit = std::chrono::seconds(60)) {
    const auto deadline = std::chrono::steady_clock::now() + limit;
    while (!holds()) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      turn();
    }
    return true;
  }
};

enum class Kind : std::uint8_t { memory, kafka, postgres };

std::unique_ptr<Subject> make_subject(Kind kind, const Wish& wish = {});

}  // namespace parley::eventlog::test
