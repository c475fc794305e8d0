#include "runtime/postgres/values.h"

#include <libpq-fe.h>
#include <cstdio>
#include <cstdlib>

namespace parley::runtime::postgres {

namespace {

[[noreturn]] void wrong_type(int column) {
  std::fprintf(stderr, "postgres: column %d does not have the type it is read as\n", column);
  std::abort();
}

}  // namespace

Oid Array::type() const {
  switch (element_) {
    case Oid::boolean:
      return Oid::booleans;
    case Oid::bytes:
      return Oid::bytes_array;
    case Oid::i8:
      return Oid::i8s;
    case Oid::i2:
      return Oid::i2s;
    case Oid::i4:
      return Oid::i4s;
    case Oid::text:
      return Oid::texts;
    case Oid::uuid:
      return Oid::uuids;
    default:
      std::abort();
  }
}

std::string Array::encode() const {
  std::string out;
  out.reserve(20 + data_.size());
  put_be(out, std::int32_t{count_ == 0 ? 0 : 1});  // dimensions
  put_be(out, std::int32_t{has_null_ ? 1 : 0});
  put_be(out, static_cast<std::int32_t>(element_));
  if (count_ == 0) return out;
  put_be(out, static_cast<std::int32_t>(count_));
  put_be(out, std::int32_t{1});  // first index
  return out += data_;
}

Params::Raw Params::encode() const {
  Raw out;
  for (const Field& field : fields_) {
    out.types.push_back(static_cast<unsigned>(field.type));
    out.values.push_back(field.length < 0 ? nullptr : data_.data() + field.begin);
    out.lengths.push_back(field.length < 0 ? 0 : field.length);
    out.formats.push_back(1);
  }
  return out;
}

bool Row::null(int column) const { return PQgetisnull(result_, row_, column) != 0; }

std::string_view Row::raw(int column) const { return {PQgetvalue(result_, row_, column), static_cast<std::size_t>(PQgetlength(result_, row_, column))}; }

const char* Row::fixed(int column, std::size_t size) const {
  std::string_view value = raw(column);
  if (value.size() != size) wrong_type(column);
  return value.data();
}

std::vector<std::string_view> Row::array(int column) const {
  std::vector<std::string_view> out;
  if (null(column)) return out;
  std::string_view rest = raw(column);
  if (rest.size() < 12) wrong_type(column);
  if (get_be<std::int32_t>(rest.data()) == 0) return out;
  if (get_be<std::int32_t>(rest.data()) != 1 || rest.size() < 20) wrong_type(column);
  auto count = get_be<std::int32_t>(rest.data() + 12);
  rest.remove_prefix(20);
  for (std::int32_t i = 0; i < count; ++i) {
    if (rest.size() < 4) wrong_type(column);
    auto length = get_be<std::int32_t>(rest.data());
    rest.remove_prefix(4);
    if (length < 0) continue;
    if (rest.size() < static_cast<std::size_t>(length)) wrong_type(column);
    out.push_back(rest.substr(0, static_cast<std::size_t>(length)));
    rest.remove_prefix(static_cast<std::size_t>(length));
  }
  return out;
}

std::vector<std::uint64_t> Row::u8s(int column) const {
  std::vector<std::uint64_t> out;
  for (std::string_view element : array(column)) {
    if (element.size() != 8) wrong_type(column);
    out.push_back(get_be<std::uint64_t>(element.data()));
  }
  return out;
}

Rows::Rows(pg_result* owned) : result_(owned) {}
int Rows::size() const { return result_ ? PQntuples(result_.get()) : 0; }
std::uint64_t Rows::affected() const { return result_ ? std::strtoull(PQcmdTuples(result_.get()), nullptr, 10) : 0; }
void Rows::Clear::operator()(pg_result* result) const { PQclear(result); }

Error error_of(const pg_result* result, std::string_view connection_message) {
  Error error;
  const char* state = result == nullptr ? nullptr : PQresultErrorField(result, PG_DIAG_SQLSTATE);
  if (state == nullptr) {
    error.message = connection_message;
    if (error.message.empty() && result != nullptr) error.message = PQresultErrorMessage(result);
  } else {
    error.sqlstate = state;
    const char* text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    error.message = text == nullptr ? "" : text;
    // Classes of https://www.postgresql.org/docs/15/errcodes-appendix.html that say "not now" rather than "never".
    std::string_view cls = std::string_view(error.sqlstate).substr(0, 2);
    bool passing = cls == "08" || cls == "53" || cls == "57" || cls == "58" || cls == "40" || error.sqlstate == "55P03" || error.sqlstate == "25006";
    if (error.sqlstate == "57014")
      error.code = Errc::timed_out;
    else
      error.code = passing ? Errc::unavailable : Errc::refused;
  }
  while (!error.message.empty() && error.message.back() == '\n') error.message.pop_back();
  return error;
}

}  // namespace parley::runtime::postgres
