#include "runtime/limits.h"

namespace parley::runtime {

void declare(Config& config, chat::Limits& limits) {
  config.number("limits.frame_bytes", limits.frame_bytes, 1'024, 16 << 20, "Longest frame a client may send.");
  config.number("limits.text_bytes", limits.text_bytes, 1, 16 << 20, "Longest text of a message, in UTF-8.");
  config.number("limits.unacked_sends", limits.unacked_sends, 1, 65'536, "Sends of one connection that may wait for their answer.");
  config.number("limits.sends_per_second", limits.sends_per_second, 0, 1'000'000, "Sends and operations of one user, over all connections; 0: no limit.");
  config.number("limits.send_burst", limits.send_burst, 1, 1'000'000, "How many of them at once after a pause.");
  config.number("limits.devices", limits.devices, 1, 10'000, "Devices of one user connected at the same time.");
  config.number("limits.resume_events", limits.resume_events, 1, 100'000, "Events replayed to a device that comes back; owed more, it gets `resync`.");
  config.number("limits.cursors", limits.cursors, 1, 100'000, "Cursors a device may send.");
}

}  // namespace parley::runtime
