#include "runtime/postgres/connection.h"

#include <libpq-fe.h>

#include "runtime/postgres/link.h"

namespace parley::runtime::postgres {

void Connection::Finish::operator()(pg_conn* connection) const { PQfinish(connection); }

std::expected<Connection, Error> Connection::open(const std::string& dsn, std::uint32_t timeout_ms) {
  Keywords keywords = connection_keywords(dsn, "-c statement_timeout=" + std::to_string(timeout_ms));
  std::vector<const char*> names, values;
  for (const auto& [name, value] : keywords) {
    if (value.empty()) continue;
    names.push_back(name.c_str());
    values.push_back(value.c_str());
  }
  names.push_back(nullptr), values.push_back(nullptr);
  Connection connection(PQconnectdbParams(names.data(), values.data(), 0));
  if (connection.broken()) return std::unexpected(connection.error(nullptr));
  PQsetNoticeProcessor(connection.connection_.get(), [](void*, const char*) {}, nullptr);
  return connection;
}

bool Connection::broken() const { return !connection_ || PQstatus(connection_.get()) != CONNECTION_OK; }

Error Connection::error(const pg_result* result) const { return error_of(result, connection_ ? PQerrorMessage(connection_.get()) : "out of memory"); }

std::expected<Rows, Error> Connection::query(Sql sql, const Params& params) {
  Params::Raw raw = params.encode();
  auto name = prepare(sql, raw);
  if (!name) return std::unexpected(name.error());
  pg_result* result =
      PQexecPrepared(connection_.get(), name->c_str(), static_cast<int>(raw.types.size()), raw.values.data(), raw.lengths.data(), raw.formats.data(), 1);
  Rows rows(result);
  if (auto status = PQresultStatus(result); status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) return std::unexpected(error(result));
  return rows;
}

std::expected<std::string, Error> Connection::prepare(Sql sql, const Params::Raw& raw) {
  if (auto known = prepared_.find(sql.text()); known != prepared_.end()) return known->second;
  std::string name = "p" + std::to_string(prepared_.size());
  pg_result* result = PQprepare(connection_.get(), name.c_str(), sql.text(), static_cast<int>(raw.types.size()), raw.types.data());
  Rows rows(result);
  if (PQresultStatus(result) != PGRES_COMMAND_OK) return std::unexpected(error(result));
  prepared_.emplace(sql.text(), name);
  return name;
}

std::expected<std::vector<Rows>, Error> Connection::queries(const std::vector<Query>& queries) {
  std::vector<std::pair<std::string, Params::Raw>> calls;
  for (const Query& query : queries) {
    Params::Raw raw = query.params.encode();
    auto name = prepare(query.sql, raw);  // a round trip the first time only
    if (!name) return std::unexpected(name.error());
    calls.emplace_back(std::move(*name), std::move(raw));
  }
  pg_conn* connection = connection_.get();
  if (PQenterPipelineMode(connection) != 1) return std::unexpected(error(nullptr));
  bool sent = true;
  for (const auto& [name, raw] : calls)
    sent = sent &&
           PQsendQueryPrepared(connection, name.c_str(), static_cast<int>(raw.types.size()), raw.values.data(), raw.lengths.data(), raw.formats.data(), 1) == 1;
  sent = sent && PQpipelineSync(connection) == 1;
  std::vector<Rows> out;
  std::expected<std::vector<Rows>, Error> outcome;
  if (!sent) outcome = std::unexpected(error(nullptr));
  for (bool synced = false; sent && !synced;) {
    pg_result* result = PQgetResult(connection);
    if (result == nullptr) {
      if (!broken()) continue;  // the end of one statement's results
      if (outcome) outcome = std::unexpected(error(nullptr));
      break;
    }
    Rows rows(result);
    switch (PQresultStatus(result)) {
      case PGRES_PIPELINE_SYNC:
        synced = true;
        break;
      case PGRES_PIPELINE_ABORTED:
        break;  // the error came before
      case PGRES_TUPLES_OK:
      case PGRES_COMMAND_OK:
        out.push_back(std::move(rows));
        break;
      default:
        if (outcome) outcome = std::unexpected(error(result));
    }
  }
  PQexitPipelineMode(connection);
  if (outcome) outcome = std::move(out);
  return outcome;
}

std::expected<void, Error> Connection::script(const std::string& sql) {
  pg_result* result = PQexec(connection_.get(), sql.c_str());
  Rows rows(result);
  if (auto status = PQresultStatus(result); status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK && status != PGRES_EMPTY_QUERY)
    return std::unexpected(error(result));
  return {};
}

std::expected<void, Error> Connection::copy_begin(Sql sql) {
  pg_result* result = PQexec(connection_.get(), sql.text());
  Rows rows(result);
  if (PQresultStatus(result) != PGRES_COPY_IN) return std::unexpected(error(result));
  return {};
}

std::expected<void, Error> Connection::copy_data(std::string_view bytes) {
  constexpr std::size_t kPiece = 64 * 1024;
  for (; !bytes.empty(); bytes.remove_prefix(std::min(kPiece, bytes.size())))
    if (PQputCopyData(connection_.get(), bytes.data(), static_cast<int>(std::min(kPiece, bytes.size()))) != 1) return std::unexpected(error(nullptr));
  return {};
}

std::expected<void, Error> Connection::copy_end() {
  if (PQputCopyEnd(connection_.get(), nullptr) != 1) return std::unexpected(error(nullptr));
  std::expected<void, Error> outcome;
  while (pg_result* result = PQgetResult(connection_.get())) {
    Rows rows(result);
    if (PQresultStatus(result) != PGRES_COMMAND_OK && outcome) outcome = std::unexpected(error(result));
    if (broken()) break;
  }
  return outcome;
}

}  // namespace parley::runtime::postgres
