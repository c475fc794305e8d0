#include "chat/record.h"

#include "chat/rules.h"
#include "chat/wire.h"

namespace parley::chat {
namespace {

using wire::Field;
using wire::Reader;
using wire::Type;
using wire::Writer;

// Numbers of parley.log.v1.Record.
enum : std::uint32_t {
  kVersionField = 1,
  kActorField = 2,
  kDeviceField = 3,
  kOriginField = 4,
  kIdField = 5,
  kIdIsOpField = 6,
  kSinceField = 7,
  kSaltField = 8,
  kPayloadHashField = 9,
  kLimitsField = 10,
  kFirstOp = 16,
  kSend = 16,
  kMarkRead = 17,
  kDelivered = 18,
  kCreate = 19,
  kUpdate = 20,
  kAdd = 21,
  kRemove = 22,
  kSetRole = 23,
  kMute = 24,
  kLeave = 25,
  kDissolve = 26,
  kBlock = 31,
  kSchedule = 32,
  kFire = 33,
  kCancel = 34,
  kAccount = 35,
  kLastOp = 35,
};

// ---- reading -----------------------------------------------------------------------------------------------------------

// Calls `take(field)` for each field; false when the bytes or a field are malformed. `take` ignores what it does not know.
template <class Take>
bool each_field(std::string_view bytes, Take&& take) {
  Reader reader(bytes);
  while (!reader.done()) {
    const auto field = reader.next();
    if (!field || !take(*field)) return false;
  }
  return true;
}

// A known field of another wire type is an unknown field to protobuf; here it makes the record malformed, on every side alike.
bool number(const Field& field, std::uint64_t& out) {
  out = field.number;
  return field.type == Type::varint;
}
bool number(const Field& field, std::uint32_t& out) {
  out = static_cast<std::uint32_t>(field.number);
  return field.type == Type::varint;
}
bool boolean(const Field& field, bool& out) {
  out = field.number != 0;
  return field.type == Type::varint;
}
bool raw(const Field& field, std::string_view& out) {
  out = field.bytes;
  return field.type == Type::bytes;
}
// Without U+0000 (D9): PostgreSQL takes none, and what it cannot store would stop the partition.
bool text(const Field& field, std::string_view& out) { return raw(field, out) && wire::valid_utf8(out) && !out.contains(char{}); }

template <class T>
bool id(const Field& field, T& out) {
  if (field.type != Type::bytes) return false;
  const auto parsed = T::from_bytes(field.bytes);
  if (parsed) out = *parsed;
  return parsed.has_value();
}
// Empty bytes are "absent".
template <class T>
bool id(const Field& field, std::optional<T>& out) {
  if (field.type == Type::bytes && field.bytes.empty()) return true;
  return id(field, out.emplace());
}
bool ids(const Field& field, std::vector<UserId>& out) { return id(field, out.emplace_back()); }

bool parse(std::string_view bytes, Origin& origin) {
  return each_field(bytes, [&](const Field& f) {
    switch (f.id) {
      case 1:
        origin.gateway = f.number;
        return f.type == Type::fixed64;
      case 2:
        origin.connection = f.number;
        return f.type == Type::fixed64;
      case 3:
        return number(f, origin.attempt);
      default:
        return true;
    }
  });
}

bool parse(std::string_view bytes, FoldLimits& limits) {
  limits = {.recall_window_ms = 0, .edit_window_ms = 0, .group_size = 0};
  return each_field(bytes, [&](const Field& f) {
    switch (f.id) {
      case 1:
        return number(f, limits.recall_window_ms);
      case 2:
        return number(f, limits.edit_window_ms);
      case 3:
        return number(f, limits.group_size);
      default:
        return true;
    }
  });
}

bool parse(std::string_view bytes, op::Send& send) {
  return each_field(bytes, [&](const Field& f) {
    switch (f.id) {
      case 1:
        return id(f, send.peer);
      case 2:
        return raw(f, send.body);
      case 3:
        return boolean(f, send.mention_all);
      default:
        return true;
    }
  });
}

bool parse(std::string_view bytes, op::MarkRead& mark) {
  return each_field(bytes, [&](const Field& f) {
    switch (f.id) {
      case 1:
        return number(f, mark.seq.value);
      case 2:
        return number(f, mark.number.value);
      default:
        return true;
    }
  });
}

bool parse(std::string_view bytes, op::Delivered& delivered) {
  return each_field(bytes, [&](const Field& f) { return f.id != 1 || number(f, delivered.seq.value); });
}

bool parse(std::string_view bytes, op::Create& create) {
  return each_field(bytes, [&](const Field& f) {
    switch (f.id) {
      case 1:
        return text(f, create.title);
      case 2:
        return ids(f, create.members);
      default:
        return true;
    }
  });
}

bool parse(std::string_view bytes, op::Update& update) {
  return each_field(bytes, [&](const Field& f) {
    switch (f.id) {
      case 1:
        return text(f, update.title.emplace());
      case 2:
        return text(f, update.notice.emplace());
      case 3:
        return text(f, update.avatar.emplace());
      case 4:
        return text(f, update.description.emplace());
      case 5:
        return boolean(f, update.history_for_new_members.emplace());
      case 6:
        return boolean(f, update.members_may_add.emplace());
      case 7:
        return boolean(f, update.mention_all_admins.emplace());
      default:
        return true;
    }
  });
}

bool parse_users(std::string_view bytes, std::vector<UserId>& users) {
  return each_field(bytes, [&](const Field& f) { return f.id != 1 || ids(f, users); });
}
bool parse(std::string_view bytes, op::Add& add) { return parse_users(bytes, add.users); }
bool parse(std::string_view bytes, op::Remove& remove) { return parse_users(bytes, remove.users); }

bool parse(std::string_view bytes, op::SetRole& set) {
  std::uint32_t role = 0;
  const bool good = each_field(bytes, [&](const Field& f) {
    switch (f.id) {
      case 1:
        return id(f, set.user);
      case 2:
        return number(f, role);
      default:
        return true;
    }
  });
  if (!good || role < 1 || role > 3) return false;
  set.role = static_cast<Role>(role);
  return true;
}

bool parse(std::string_view bytes, op::Mute& mute) {
  return each_field(bytes, [&](const Field& f) {
    switch (f.id) {
      case 1:
        return id(f, mute.user);
      case 2:
        return number(f, mute.until.value);
      case 3:
        return boolean(f, mute.off);
      default:
        return true;
    }
  });
}

bool parse(std::string_view bytes, op::Leave&) {
  return each_field(bytes, [](const Field&) { return true; });
}
bool parse(std::string_view bytes, op::Dissolve&) {
  return each_field(bytes, [](const Field&) { return true; });
}

bool parse(std::string_view bytes, op::Block& block) {
  return each_field(bytes, [&](const Field& f) {
    switch (f.id) {
      case 1:
        return boolean(f, block.off);
      case 2:
        return id(f, block.peer);
      default:
        return true;
    }
  });
}

bool parse(std::string_view bytes, op::Schedule& schedule) {
  return each_field(bytes, [&](const Field& f) {
    switch (f.id) {
      case 1:
        return id(f, schedule.peer);
      case 2:
        return raw(f, schedule.body);
      case 3:
        return number(f, schedule.due.value);
      default:
        return true;
    }
  });
}

bool parse(std::string_view bytes, op::Fire& fire) {
  return each_field(bytes, [&](const Field& f) { return f.id != 1 || raw(f, fire.body); });
}
bool parse(std::string_view bytes, op::Cancel& cancel) {
  return each_field(bytes, [&](const Field& f) { return f.id != 1 || id(f, cancel.scheduled); });
}
bool parse(std::string_view bytes, op::Account& account) {
  return each_field(bytes, [&](const Field& f) { return f.id != 1 || raw(f, account.body); });
}

template <class Op>
bool parse_as(std::string_view bytes, Operation& out) {
  return parse(bytes, out.emplace<Op>());
}

bool parse_operation(const Field& f, Operation& op) {
  if (f.type != Type::bytes) return false;
  switch (f.id) {
    case kSend:
      return parse_as<op::Send>(f.bytes, op);
    case kMarkRead:
      return parse_as<op::MarkRead>(f.bytes, op);
    case kDelivered:
      return parse_as<op::Delivered>(f.bytes, op);
    case kCreate:
      return parse_as<op::Create>(f.bytes, op);
    case kUpdate:
      return parse_as<op::Update>(f.bytes, op);
    case kAdd:
      return parse_as<op::Add>(f.bytes, op);
    case kRemove:
      return parse_as<op::Remove>(f.bytes, op);
    case kSetRole:
      return parse_as<op::SetRole>(f.bytes, op);
    case kMute:
      return parse_as<op::Mute>(f.bytes, op);
    case kLeave:
      return parse_as<op::Leave>(f.bytes, op);
    case kDissolve:
      return parse_as<op::Dissolve>(f.bytes, op);
    case kBlock:
      return parse_as<op::Block>(f.bytes, op);
    case kSchedule:
      return parse_as<op::Schedule>(f.bytes, op);
    case kFire:
      return parse_as<op::Fire>(f.bytes, op);
    case kCancel:
      return parse_as<op::Cancel>(f.bytes, op);
    case kAccount:
      return parse_as<op::Account>(f.bytes, op);
    default:
      op.emplace<op::Unsupported>();
      return true;  // edit, recall, react, pin: in the schema, not in this fold
  }
}

bool parse_field(const Field& f, Record& record) {
  switch (f.id) {
    case kVersionField:
      return number(f, record.fold_version);
    case kActorField:
      return id(f, record.actor);
    case kDeviceField:
      return text(f, record.device);
    case kOriginField:
      return f.type == Type::bytes && parse(f.bytes, record.origin);
    case kIdField: {
      std::optional<RequestId> given;
      if (!id(f, given)) return false;
      if (given) record.id = *given;
      return true;
    }
    case kIdIsOpField:
      return boolean(f, record.id_is_op);
    case kSinceField:
      return number(f, record.since.value);
    case kSaltField:
      if (f.type != Type::bytes || f.bytes.size() != record.salt.size()) return false;
      std::memcpy(record.salt.data(), f.bytes.data(), f.bytes.size());
      return true;
    case kPayloadHashField:
      return number(f, record.payload_hash);
    case kLimitsField:
      return f.type == Type::bytes && parse(f.bytes, record.limits);
    default:
      return f.id < kFirstOp || f.id > kLastOp || parse_operation(f, record.op);
  }
}

// A newer record may have shapes this binary does not know, so its version is looked for before anything is judged.
std::uint32_t version_of(std::string_view value) {
  Reader reader(value);
  while (!reader.done()) {
    const auto field = reader.next();
    if (!field) return 0;
    if (field->id == kVersionField && field->type == Type::varint) return static_cast<std::uint32_t>(field->number);
  }
  return 0;
}

// ---- writing -----------------------------------------------------------------------------------------------------------

struct OperationWriter {
  std::uint32_t field = 0;  // of the oneof; 0: nothing to write
  std::string bytes;

  void operator()(const op::Unsupported&) {}
  void operator()(const op::Send& send) {
    bytes.reserve(send.body.size() + 32);
    Writer w = begin(kSend);
    if (send.peer) w.bytes(1, send.peer->view());
    w.bytes(2, send.body);
    w.number(3, send.mention_all);
  }
  void operator()(const op::MarkRead& mark) {
    Writer w = begin(kMarkRead);
    w.number(1, mark.seq.value);
    w.number(2, mark.number.value);
  }
  void operator()(const op::Delivered& delivered) { begin(kDelivered).number(1, delivered.seq.value); }
  void operator()(const op::Create& create) {
    Writer w = begin(kCreate);
    w.bytes(1, create.title);
    for (const UserId& user : create.members) w.bytes(2, user.view());
  }
  void operator()(const op::Update& update) {
    Writer w = begin(kUpdate);
    if (update.title) w.bytes_even_if_empty(1, *update.title);
    if (update.notice) w.bytes_even_if_empty(2, *update.notice);
    if (update.avatar) w.bytes_even_if_empty(3, *update.avatar);
    if (update.description) w.bytes_even_if_empty(4, *update.description);
    if (update.history_for_new_members) w.number_even_if_zero(5, *update.history_for_new_members);
    if (update.members_may_add) w.number_even_if_zero(6, *update.members_may_add);
    if (update.mention_all_admins) w.number_even_if_zero(7, *update.mention_all_admins);
  }
  void operator()(const op::Add& add) { users(kAdd, add.users); }
  void operator()(const op::Remove& remove) { users(kRemove, remove.users); }
  void operator()(const op::SetRole& set) {
    Writer w = begin(kSetRole);
    w.bytes(1, set.user.view());
    w.number(2, static_cast<std::uint32_t>(set.role));
  }
  void operator()(const op::Mute& mute) {
    Writer w = begin(kMute);
    if (mute.user) w.bytes(1, mute.user->view());
    w.number(2, mute.until.value);
    w.number(3, mute.off);
  }
  void operator()(const op::Leave&) { begin(kLeave); }
  void operator()(const op::Dissolve&) { begin(kDissolve); }
  void operator()(const op::Block& block) {
    Writer w = begin(kBlock);
    w.number(1, block.off);
    if (block.peer) w.bytes(2, block.peer->view());
  }
  void operator()(const op::Schedule& schedule) {
    Writer w = begin(kSchedule);
    if (schedule.peer) w.bytes(1, schedule.peer->view());
    w.bytes(2, schedule.body);
    w.number(3, schedule.due.value);
  }
  void operator()(const op::Fire& fire) { begin(kFire).bytes(1, fire.body); }
  void operator()(const op::Cancel& cancel) { begin(kCancel).bytes(1, cancel.scheduled.view()); }
  void operator()(const op::Account& account) { begin(kAccount).bytes(1, account.body); }

 private:
  Writer begin(std::uint32_t number) {
    field = number;
    return Writer(bytes);
  }
  void users(std::uint32_t number, const std::vector<UserId>& users) {
    Writer w = begin(number);
    for (const UserId& user : users) w.bytes(1, user.view());
  }
};

}  // namespace

std::expected<Record, DecodeError> decode_record(std::string_view key, std::string_view value) {
  const std::uint32_t newest = on(Rule::fold_known) ? newest_fold() : UINT32_MAX;
  if (version_of(value) > newest && on(Rule::fold_stop)) return std::unexpected(DecodeError::newer_version);
  Record record;
  record.fold_version = 0;
  record.limits = {.recall_window_ms = 0, .edit_window_ms = 0, .group_size = 0};
  const auto conversation = parse_id<ConversationId>(key);
  const bool good = each_field(value, [&](const Field& field) { return parse_field(field, record); });
  // A repeated version field would be judged by its last value; none and zero are no version.
  if (!conversation || !good || record.fold_version < 1 || record.fold_version > newest || !record.actor) {
    return std::unexpected(DecodeError::malformed);
  }
  record.conversation = *conversation;
  return record;
}

std::string encode_record(const Record& record) {
  OperationWriter operation;
  std::visit(operation, record.op);

  std::string out;
  out.reserve(operation.bytes.size() + record.device.size() + 160);
  Writer w(out);
  w.number(kVersionField, record.fold_version);
  w.bytes(kActorField, record.actor.view());
  w.bytes(kDeviceField, record.device);
  std::string nested;
  if (record.origin != Origin{}) {
    Writer n(nested);
    n.fixed64(1, record.origin.gateway);
    n.fixed64(2, record.origin.connection);
    n.number(3, record.origin.attempt);
    w.bytes_even_if_empty(kOriginField, nested);
    nested.clear();
  }
  if (record.id) w.bytes(kIdField, record.id.view());
  w.number(kIdIsOpField, record.id_is_op);
  w.number(kSinceField, record.since.value);
  w.bytes(kSaltField, {reinterpret_cast<const char*>(record.salt.data()), record.salt.size()});
  w.number(kPayloadHashField, record.payload_hash);
  {
    Writer n(nested);
    n.number(1, record.limits.recall_window_ms);
    n.number(2, record.limits.edit_window_ms);
    n.number(3, record.limits.group_size);
    w.bytes_even_if_empty(kLimitsField, nested);
  }
  if (operation.field != 0) w.bytes_even_if_empty(operation.field, operation.bytes);
  return out;
}

}  // namespace parley::chat
