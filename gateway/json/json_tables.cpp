#include "gateway/json/json_tables.h"

#include <algorithm>
#include <cstdlib>

#include "parley/client/v1/client.pb.h"
#include "parley/rest/v1/rest.pb.h"

namespace parley::gateway::json {

namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::FileDescriptor;

std::size_t hash(std::string_view name) {
  std::size_t h = name.size();
  for (char c : name) h = h * 31 + static_cast<std::uint8_t>(c);
  return h ^ h >> 7;
}

Kind kind_of(const FieldDescriptor& field) {
  switch (field.type()) {
    case FieldDescriptor::TYPE_UINT32:
      return Kind::uint32;
    case FieldDescriptor::TYPE_UINT64:
      return Kind::uint64;
    case FieldDescriptor::TYPE_BOOL:
      return Kind::boolean;
    case FieldDescriptor::TYPE_STRING:
      return Kind::string;
    case FieldDescriptor::TYPE_BYTES:
      return Kind::bytes;
    case FieldDescriptor::TYPE_DOUBLE:
      return Kind::real;
    case FieldDescriptor::TYPE_MESSAGE:
      return Kind::message;
    default:
      std::abort();  // the schema has grown a type that this file does not know
  }
}

std::uint32_t wire_type(Kind kind) {
  switch (kind) {
    case Kind::uint32:
    case Kind::uint64:
    case Kind::boolean:
      return kVarint;
    case Kind::real:
      return kFixed64;
    default:
      return kDelimited;
  }
}

class Schema {
 public:
  Schema() {
    for (auto* file : {client::v1::Frame::descriptor()->file(), rest::v1::User::descriptor()->file()}) {
      for (int i = 0; i < file->message_type_count(); ++i) add(*file->message_type(i));
    }
  }
  const Table& table(const Descriptor& type) const {
    auto found = tables_.find(&type);
    if (found == tables_.end()) std::abort();  // not a message of the client protocol
    return *found->second;
  }

 private:
  Table* add(const Descriptor& type) {
    auto& slot = tables_[&type];
    if (slot) return slot.get();
    slot = std::make_unique<Table>();
    Table* table = slot.get();
    table->descriptor = &type;
    if (type.field_count() > 64) std::abort();  // the reader notes in one word which fields it has seen
    std::vector<const FieldDescriptor*> ordered;
    for (int i = 0; i < type.field_count(); ++i) ordered.push_back(type.field(i));
    std::sort(ordered.begin(), ordered.end(), [](auto* a, auto* b) { return a->number() < b->number(); });
    std::size_t slots = 4;
    while (slots < ordered.size() * 4) slots *= 2;
    table->slots.resize(slots);
    for (auto* field : ordered) {
      Field out;
      out.number = static_cast<std::uint32_t>(field->number());
      out.kind = kind_of(*field);
      out.repeated = field->is_repeated();
      if (auto* oneof = field->real_containing_oneof()) out.oneof = static_cast<std::int8_t>(oneof->index());
      if (out.kind == Kind::message) out.type = add(*field->message_type());
      out.key = "\"" + field->json_name() + "\":";
      out.tag = out.number << 3 | wire_type(out.kind);
      if (out.number >= table->by_number.size()) table->by_number.resize(out.number + 1);
      table->fields.push_back(std::move(out));
      auto index = static_cast<std::uint8_t>(table->fields.size());
      table->by_number[static_cast<std::size_t>(field->number())] = index;
      insert(*table, field->json_name(), static_cast<std::uint8_t>(index - 1));
      if (field->name() != field->json_name()) insert(*table, field->name(), static_cast<std::uint8_t>(index - 1));
    }
    return table;
  }

  static void insert(Table& table, const std::string& name, std::uint8_t field) {
    auto at = hash(name) & (table.slots.size() - 1);
    while (!table.slots[at].name.empty()) at = (at + 1) & (table.slots.size() - 1);
    table.slots[at] = {name, field};
  }

  std::unordered_map<const Descriptor*, std::unique_ptr<Table>> tables_;
};

}  // namespace

const Field* Table::find(std::string_view name) const {
  if (name.empty()) return nullptr;
  for (auto at = hash(name) & (slots.size() - 1);; at = (at + 1) & (slots.size() - 1)) {
    if (slots[at].name.empty()) return nullptr;
    if (slots[at].name == name) return &fields[slots[at].field];
  }
}

const Table& table_of(const Descriptor& type) {
  static const Schema schema;
  return schema.table(type);
}

}  // namespace parley::gateway::json
