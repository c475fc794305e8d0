#include "gateway/core/publish.h"

#include "chat/fold.h"

namespace parley::gateway {
namespace {

std::string_view raw(const std::uint64_t& number) { return {reinterpret_cast<const char*>(&number), sizeof number}; }

}  // namespace

Publisher::Publisher(const Settings& settings, eventlog::Producer& producer, std::uint64_t instance, std::vector<chat::Offset> ends)
    : settings_(settings), producer_(producer), instance_(instance), known_(std::move(ends)), purged_(known_.size()) {}

std::expected<std::uint64_t, eventlog::Error> Publisher::produce(chat::Record& record, ConnectionId connection, std::string_view traceparent) {
  std::uint64_t attempt = ++attempts_;
  record.fold_version = settings_.fold_version;
  if (connection.value != 0) record.origin = {.gateway = instance_, .connection = connection.value, .attempt = attempt};
  record.salt = chat::body_hash(settings_.salt_key, raw(attempt));
  record.limits = settings_.fold_limits;
  chat::Partition at = partition(record.conversation);
  auto taken = producer_.produce(at, chat::to_text(record.conversation), chat::encode_record(record), traceparent,
                                 [this, alive = std::weak_ptr(alive_), connection, attempt, at](std::expected<chat::Offset, eventlog::Error> offset) {
                                   if (alive.expired()) return;
                                   --in_flight_;
                                   if (offset) raise(at, offset->next());
                                   logged_(connection, attempt, at, std::move(offset));
                                 });
  if (!taken) return std::unexpected(taken.error());
  ++in_flight_;
  return attempt;
}

bool Publisher::purge(chat::Partition partition, std::uint64_t attempt) {
  if (attempt <= purged_[partition.value]) return false;
  purged_[partition.value] = attempts_;
  producer_.purge(partition);
  return true;
}

void Publisher::raise(chat::Partition partition, chat::Offset end) {
  if (partition.value < known_.size() && known_[partition.value] < end) known_[partition.value] = end;
}

}  // namespace parley::gateway
