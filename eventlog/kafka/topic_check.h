// The topic as the design needs it (R13): made if asked for, looked at before anything is read or written.
//
// Blocking, for the log's worker.
#pragma once

#include <chrono>
#include <cstdint>
#include <expected>
#include <map>
#include <string>

#include "eventlog/kafka/handle.h"
#include "eventlog/log.h"

namespace parley::eventlog::kafka {

std::expected<Topic, Error> open_topic(rd_kafka_t* client, const Settings& settings);

// What is wrong with these settings, in words an operator can act on; empty: nothing.
std::string wrong_settings(const std::map<std::string, std::string>& topic, std::uint32_t replication_factor, std::uint32_t entry_bytes);

}  // namespace parley::eventlog::kafka
