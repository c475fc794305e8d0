// limits.*: what a user may do, declared once for every role that must agree on it (gateways announce and check, homes lease).
#pragma once

#include "chat/limits.h"
#include "runtime/config.h"

namespace parley::runtime {

void declare(Config& config, chat::Limits& limits);

}  // namespace parley::runtime
