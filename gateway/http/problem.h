// Errors as RFC 9457 problem+json with the published codes (D48).
#pragma once

#include <string_view>

#include "chat/codes.h"
#include "gateway/http/message.h"

namespace parley::gateway::http {

// 401 bears WWW-Authenticate; `retry_after_ms` > 0 bears Retry-After, in whole seconds, at least one.
Response problem(chat::Code code, std::string_view detail, std::uint32_t retry_after_ms = 0);
// The same with a status that D48 does not give (405, 426, 431).
Response problem(unsigned status, chat::Code code, std::string_view detail);

}  // namespace parley::gateway::http
