// syncToken: the barrier vector of a finished resume and the log it belongs to, opaque to clients (R25).
//
// Base64url of: version byte, topic id with its length, one varint offset per partition, XXH3-64 of all that. A token that
// was tampered with, cut, or made for another log or partition count reads as none: the client then gets every changed
// conversation, never a hole. It grants nothing, so the checksum needs no key.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "eventlog/log.h"

namespace parley::gateway {

std::string sync_token(const eventlog::Topic& topic, const std::vector<chat::Offset>& positions);
std::optional<std::vector<chat::Offset>> read_sync_token(const eventlog::Topic& topic, std::string_view token);

}  // namespace parley::gateway
