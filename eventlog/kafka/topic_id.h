// The topic's id, which librdkafka 2.0 does not tell: one Metadata request (KIP-516) over a plain connection of its own.
//
// Blocking, for the log's worker, once at `open`. A position row holds this id, so that a topic that was deleted and made anew is
// not taken for the old one (R13). Brokers that want TLS or SASL cannot be asked this way; the log speaks to none yet.
#pragma once

#include <chrono>
#include <expected>
#include <string>
#include <string_view>

#include "eventlog/log.h"

namespace parley::eventlog::kafka {

// `bootstrap`: host:port[,host:port...], asked in turn. 32 hex digits.
std::expected<std::string, Error> topic_id(std::string_view bootstrap, std::string_view topic, std::chrono::milliseconds timeout);

// The request and the reading of its answer, without the length that frames both.
std::string encode_metadata_request(std::string_view topic);
std::expected<std::string, Error> decode_metadata_response(std::string_view response, std::string_view topic);

}  // namespace parley::eventlog::kafka
