#include "persister/service.h"

namespace parley::persister {

void declare(runtime::Config& config, ServiceSettings& settings) {
  config.number("persister.batch_rows", settings.worker.batch_rows, 1, 100'000, "Most records in one transaction.");
  config.number("persister.batch_wait_ms", settings.worker.batch_wait_ms, 0, 10'000,
                "How long records gather before they are written: what a fresh read waits for, against PostgreSQL's CPU.");
  config.number("persister.cached_conversations", settings.worker.cached_conversations, 1, 10'000'000, "Conversations kept folded for each partition.");
  config.number("persister.cache_bytes", settings.worker.cache_bytes, 1 << 20, 1ull << 40, "About what all of them may take in memory.");
  config.text("persister.member", settings.member, "Static membership in the group, for quick restarts: a name of its own for each persister, or empty.");
  config.number("persister.fetch_min_bytes", settings.fetch_min_bytes, 1, 64 << 20, "The broker lets records gather up to this ...");
  config.number("persister.fetch_wait_ms", settings.fetch_wait_ms, 1, 10'000, "... for so long.");
  config.number("persister.keep_hours", settings.keep_hours, 0, 87'600,
                "What is stored and older is deleted from the log; 0: never. A database restored from an older backup cannot catch up.");
  config.number("persister.due_every_ms", settings.due_every_ms, 10, 600'000, "How often scheduled messages that are due are looked for.");
}

}  // namespace parley::persister
