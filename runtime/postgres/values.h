// Parameters in and rows out, in PostgreSQL's binary format: nothing is ever pasted into SQL text, nothing is parsed from text.
//
//   Params().uuid(user.bytes).i8(seq)          $1 uuid, $2 bigint
//   rows[0].u8(0), rows[0].text(1)             by column number
//
// Reading a column as another type than the statement gives is a fault of the statement, found by its first test: it aborts.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

struct pg_result;

namespace parley::runtime::postgres {

using Uuid = std::array<std::uint8_t, 16>;

enum class Errc : std::uint8_t {
  unavailable,  // no connection, connection lost, server short of something or stopping: for writes the outcome is unknown
  timed_out,    // no answer by the deadline; outcome unknown
  overloaded,   // the bound of waiting queries is reached: nothing was sent
  refused,      // PostgreSQL refused the statement: `sqlstate` tells why; nothing was done
};

struct Error {
  Errc code = Errc::unavailable;
  std::string sqlstate;  // five characters, empty where the server did not speak
  std::string message;

  bool unique_violation() const { return sqlstate == "23505"; }
};

// PostgreSQL's type numbers (catalog pg_type), fixed for ever.
enum class Oid : std::uint32_t {
  boolean = 16,
  bytes = 17,
  i8 = 20,
  i2 = 21,
  i4 = 23,
  text = 25,
  uuid = 2950,
  booleans = 1000,
  bytes_array = 1001,
  i2s = 1005,
  i4s = 1007,
  texts = 1009,
  i8s = 1016,
  uuids = 2951,
};

// Network byte order.
template <class T>
void put_be(std::string& out, T value) {
  char raw[sizeof(T)];
  for (std::size_t i = 0; i < sizeof(T); ++i) raw[i] = static_cast<char>(static_cast<std::make_unsigned_t<T>>(value) >> (8 * (sizeof(T) - 1 - i)));
  out.append(raw, sizeof(T));
}
template <class T>
T get_be(const char* raw) {
  std::make_unsigned_t<T> value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i) value = static_cast<std::make_unsigned_t<T>>(value << 8 | static_cast<unsigned char>(raw[i]));
  return static_cast<T>(value);
}

// One array parameter: `Array(Oid::i8).i8(1).i8(2)`. All elements are of its type.
class Array {
 public:
  explicit Array(Oid element) : element_(element) {}
  Array& i8(std::uint64_t v) { return fixed(static_cast<std::int64_t>(v)); }
  Array& i4(std::uint32_t v) { return fixed(static_cast<std::int32_t>(v)); }
  Array& i2(std::uint16_t v) { return fixed(static_cast<std::int16_t>(v)); }
  Array& boolean(bool v) { return raw({v ? "\1" : "\0", 1}); }
  Array& uuid(const Uuid& v) { return raw({reinterpret_cast<const char*>(v.data()), v.size()}); }
  Array& raw(std::string_view v) {  // text and bytes
    put_be(data_, static_cast<std::int32_t>(v.size()));
    data_ += v;
    ++count_;
    return *this;
  }
  Array& null() {
    put_be(data_, std::int32_t{-1});
    has_null_ = true;
    ++count_;
    return *this;
  }
  std::size_t size() const { return count_; }
  Oid type() const;  // of the array
  std::string encode() const;

 private:
  template <class T>
  Array& fixed(T v) {
    put_be(data_, static_cast<std::int32_t>(sizeof v));
    put_be(data_, v);
    ++count_;
    return *this;
  }
  Oid element_;
  std::uint32_t count_ = 0;
  bool has_null_ = false;
  std::string data_;
};

class Params {
 public:
  Params& i8(std::uint64_t v) { return fixed(Oid::i8, static_cast<std::int64_t>(v)); }
  Params& i4(std::uint32_t v) { return fixed(Oid::i4, static_cast<std::int32_t>(v)); }
  Params& i2(std::uint16_t v) { return fixed(Oid::i2, static_cast<std::int16_t>(v)); }
  Params& boolean(bool v) { return raw(Oid::boolean, {v ? "\1" : "\0", 1}); }
  Params& uuid(const Uuid& v) { return raw(Oid::uuid, {reinterpret_cast<const char*>(v.data()), v.size()}); }
  Params& text(std::string_view v) { return raw(Oid::text, v); }
  Params& bytes(std::string_view v) { return raw(Oid::bytes, v); }
  Params& array(const Array& v) { return raw(v.type(), v.encode()); }
  Params& null(Oid type) {
    fields_.push_back({type, data_.size(), -1});
    return *this;
  }

  // The C arrays libpq wants, valid while this Params lives unchanged.
  struct Raw {
    std::vector<unsigned> types;
    std::vector<const char*> values;
    std::vector<int> lengths, formats;
  };
  Raw encode() const;
  std::size_t size() const { return fields_.size(); }

 private:
  struct Field {
    Oid type;
    std::size_t begin;
    int length;
  };
  template <class T>
  Params& fixed(Oid type, T v) {
    fields_.push_back({type, data_.size(), static_cast<int>(sizeof v)});
    put_be(data_, v);
    return *this;
  }
  Params& raw(Oid type, std::string_view v) {
    fields_.push_back({type, data_.size(), static_cast<int>(v.size())});
    data_ += v;
    return *this;
  }
  std::string data_;
  std::vector<Field> fields_;
};

class Rows;

class Row {
 public:
  bool null(int column) const;
  std::uint64_t u8(int column) const { return get_be<std::uint64_t>(fixed(column, 8)); }
  std::uint32_t u4(int column) const { return get_be<std::uint32_t>(fixed(column, 4)); }
  std::uint16_t u2(int column) const { return get_be<std::uint16_t>(fixed(column, 2)); }
  bool boolean(int column) const { return *fixed(column, 1) != 0; }
  // Views into the result: valid while the Rows live.
  std::string_view text(int column) const { return raw(column); }
  std::string_view bytes(int column) const { return raw(column); }
  Uuid uuid(int column) const {
    Uuid id;
    std::memcpy(id.data(), fixed(column, 16), 16);
    return id;
  }
  std::optional<std::uint64_t> maybe_u8(int column) const { return null(column) ? std::nullopt : std::optional(u8(column)); }
  // Elements of an array column as raw bytes; NULL elements and a NULL array read as nothing.
  std::vector<std::string_view> array(int column) const;
  std::vector<std::uint64_t> u8s(int column) const;

 private:
  friend class Rows;
  Row(const pg_result* result, int row) : result_(result), row_(row) {}
  std::string_view raw(int column) const;
  const char* fixed(int column, std::size_t size) const;
  const pg_result* result_;
  int row_;
};

class Rows {
 public:
  Rows() = default;
  explicit Rows(pg_result* owned);
  int size() const;
  bool empty() const { return size() == 0; }
  Row operator[](int row) const { return {result_.get(), row}; }
  std::uint64_t affected() const;  // of insert, update, delete, copy

 private:
  struct Clear {
    void operator()(pg_result* result) const;
  };
  std::unique_ptr<pg_result, Clear> result_;
};

// What a failed PGresult (or none) means.
Error error_of(const pg_result* result, std::string_view connection_message);

}  // namespace parley::runtime::postgres
