// The schema as the JSON reader and writer want it: per message, fields by name and by number.
#pragma once

#include <google/protobuf/descriptor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace parley::gateway::json {

enum class Kind : std::uint8_t { uint32, uint64, boolean, string, bytes, real, message };

enum WireType : std::uint32_t { kVarint = 0, kFixed64 = 1, kDelimited = 2, kFixed32 = 5 };

struct Table;

struct Field {
  std::uint32_t number = 0;
  Kind kind = Kind::string;
  bool repeated = false;
  std::int8_t oneof = -1;       // index among the message's oneofs; -1: none
  const Table* type = nullptr;  // of a message
  std::string key;              // "\"reqId\":"
  std::uint32_t tag = 0;        // as the wire has it
};

struct Table {
  const google::protobuf::Descriptor* descriptor = nullptr;
  std::vector<Field> fields;            // in number order, at most 64
  std::vector<std::uint8_t> by_number;  // index into fields + 1; 0: unknown
  // Names (lowerCamelCase and as written in the schema), open addressing over a power of two.
  struct Slot {
    std::string name;
    std::uint8_t field = 0;
  };
  std::vector<Slot> slots;

  const Field* find(std::string_view name) const;
  const Field* find(std::uint32_t number) const { return number < by_number.size() && by_number[number] ? &fields[by_number[number] - 1] : nullptr; }
};

// The table of a message of parley.client.v1 or parley.rest.v1. Made once, at first use; immutable from then on.
const Table& table_of(const google::protobuf::Descriptor& type);

}  // namespace parley::gateway::json
