#include "runtime/postgres/connection.h"

#include <libpq-fe.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "runtime/postgres/link.h"

namespace parley::runtime::postgres {

namespace {
constexpr std::chrono::milliseconds kPatientLook{60'000};
}

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
  // Bounded by connect_timeout.
  Connection connection(PQconnectdbParams(names.data(), values.data(), 0), std::chrono::milliseconds(timeout_ms) + kGrace);
  if (connection.broken() || PQsetnonblocking(connection.connection_.get(), 1) != 0) return std::unexpected(connection.error(nullptr));
  PQsetNoticeProcessor(connection.connection_.get(), [](void*, const char*) {}, nullptr);
  return connection;
}

bool Connection::broken() const { return !connection_ || PQstatus(connection_.get()) != CONNECTION_OK; }

Error Connection::error(const pg_result* result) const { return error_of(result, connection_ ? PQerrorMessage(connection_.get()) : "no connection"); }

// Until everything is sent and, `for_result`, PQgetResult does not block. A connection that fails is gone.
std::expected<void, Error> Connection::wait(bool for_result, bool patient) {
  const auto gone = [this](Error why) {
    ::shutdown(PQsocket(connection_.get()), SHUT_RDWR);  // so that no parting word waits either
    connection_.reset();
    return std::unexpected(std::move(why));
  };
  const auto deadline = std::chrono::steady_clock::now() + patience_;
  for (;;) {
    const int unsent = PQflush(connection_.get());
    if (unsent < 0) return gone(error(nullptr));
    if (unsent == 0 && (!for_result || PQisBusy(connection_.get()) == 0)) return {};
    const auto left = patient ? kPatientLook : std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    pollfd socket{.fd = PQsocket(connection_.get()), .events = static_cast<short>(unsent > 0 ? POLLIN | POLLOUT : POLLIN), .revents = 0};
    const int ready = ::poll(&socket, 1, static_cast<int>(std::clamp<std::chrono::milliseconds::rep>(left.count(), 0, 60'000)));
    if (ready < 0 && errno != EINTR) return gone(error(nullptr));
    if (!patient && ready == 0 && left.count() <= 0) return gone({Errc::timed_out, "", "no sign of the server in time"});
    if (ready > 0 && (socket.revents & ~POLLOUT) != 0 && PQconsumeInput(connection_.get()) == 0) return gone(error(nullptr));
  }
}

// Of the one statement that was sent; of several, of the last or of the first that failed. COPY: that it may begin.
std::expected<Rows, Error> Connection::answer(bool sent, bool patient) {
  std::expected<Rows, Error> outcome = std::unexpected(error(nullptr));
  if (!sent) return outcome;
  for (bool failed = false;;) {
    if (auto waited = wait(true, patient); !waited) return std::unexpected(waited.error());
    pg_result* result = PQgetResult(connection_.get());
    if (result == nullptr) return outcome;
    Rows rows(result);
    switch (PQresultStatus(result)) {
      case PGRES_COPY_IN:
        return rows;
      case PGRES_TUPLES_OK:
      case PGRES_COMMAND_OK:
      case PGRES_EMPTY_QUERY:
        if (!failed) outcome = std::move(rows);
        break;
      default:
        if (!std::exchange(failed, true)) outcome = std::unexpected(error(result));
    }
    if (broken()) return outcome;
  }
}

std::expected<Rows, Error> Connection::query(Sql sql, const Params& params) {
  Params::Raw raw = params.encode();
  auto name = prepare(sql, raw);
  if (!name) return std::unexpected(name.error());
  return answer(PQsendQueryPrepared(connection_.get(), name->c_str(), static_cast<int>(raw.types.size()), raw.values.data(), raw.lengths.data(),
                                    raw.formats.data(), 1) == 1);
}

std::expected<std::string, Error> Connection::prepare(Sql sql, const Params::Raw& raw) {
  if (auto known = prepared_.find(sql.text()); known != prepared_.end()) return known->second;
  std::string name = "p" + std::to_string(prepared_.size());
  auto made = answer(PQsendPrepare(connection_.get(), name.c_str(), sql.text(), static_cast<int>(raw.types.size()), raw.types.data()) == 1);
  if (!made) return std::unexpected(made.error());
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
  if (connection == nullptr || PQenterPipelineMode(connection) != 1) return std::unexpected(error(nullptr));
  bool sent = true;
  for (const auto& [name, raw] : calls)
    sent = sent &&
           PQsendQueryPrepared(connection, name.c_str(), static_cast<int>(raw.types.size()), raw.values.data(), raw.lengths.data(), raw.formats.data(), 1) == 1;
  sent = sent && PQpipelineSync(connection) == 1;
  std::vector<Rows> out;
  std::expected<std::vector<Rows>, Error> outcome;
  if (!sent) outcome = std::unexpected(error(nullptr));
  for (bool synced = false; sent && !synced;) {
    if (auto waited = wait(true); !waited) return std::unexpected(waited.error());
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
  if (auto done = answer(PQsendQuery(connection_.get(), sql.c_str()) == 1, true); !done) return std::unexpected(done.error());
  return {};
}

std::expected<void, Error> Connection::copy_begin(Sql sql) {
  if (auto begun = answer(PQsendQuery(connection_.get(), sql.text()) == 1); !begun) return std::unexpected(begun.error());
  return {};
}

std::expected<void, Error> Connection::copy_data(std::string_view bytes) {
  constexpr std::size_t kPiece = 64 * 1024;
  for (; !bytes.empty(); bytes.remove_prefix(std::min(kPiece, bytes.size()))) {
    if (PQputCopyData(connection_.get(), bytes.data(), static_cast<int>(std::min(kPiece, bytes.size()))) != 1) return std::unexpected(error(nullptr));
    if (auto sent = wait(false); !sent) return sent;  // libpq would keep all that the server does not take
  }
  return {};
}

std::expected<void, Error> Connection::copy_end() {
  if (auto done = answer(PQputCopyEnd(connection_.get(), nullptr) == 1); !done) return std::unexpected(done.error());
  return {};
}

}  // namespace parley::runtime::postgres
