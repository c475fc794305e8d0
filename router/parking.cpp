#include "router/parking.h"

#include <cassert>
#include <cstring>

namespace parley::router {

ParkedRecord::ParkedRecord(const eventlog::Entry& entry)
    : offset(entry.offset), time(entry.time), size_(entry.key.size() + entry.value.size() + entry.traceparent.size()) {
  bytes_ = std::make_unique_for_overwrite<char[]>(size_);
  char* at = bytes_.get();
  auto keep = [&at](std::string_view text) {
    std::memcpy(at, text.data(), text.size());
    std::string_view kept(at, text.size());
    at += text.size();
    return kept;
  };
  std::string_view key = keep(entry.key), value = keep(entry.value);
  traceparent = keep(entry.traceparent);
  auto decoded = chat::decode_record(key, value);
  assert(decoded);
  record = std::move(*decoded);
}

bool Parking::park(const chat::ConversationId& conversation, const eventlog::Entry& entry) {
  auto [it, started] = runs_.try_emplace(conversation);
  ParkedRun& run = it->second;
  if (started) {
    run.first = entry.offset;
    firsts_.insert(entry.offset);
  }
  run.records.emplace_back(entry);
  bytes_ += run.records.back().bytes();
  if (bytes() > bound_) drop_bodies(run);
  return started;
}

void Parking::drop_bodies(ParkedRun& run) {
  for (const ParkedRecord& record : run.records) bytes_ -= record.bytes();
  dropped_ += run.records.size();
  run.dropped_to = run.records.back().offset;
  run.records.clear();
}

ParkedRun Parking::take(const chat::ConversationId& conversation) {
  auto node = runs_.extract(conversation);
  ParkedRun run = std::move(node.mapped());
  firsts_.erase(run.first);
  for (const ParkedRecord& record : run.records) bytes_ -= record.bytes();
  return run;
}

}  // namespace parley::router
