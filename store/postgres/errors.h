// What the door's errors mean to the store's users.
#pragma once

#include "runtime/postgres/values.h"
#include "store/store.h"

namespace parley::store::postgres {

inline Error store_error(const runtime::postgres::Error& error) {
  if (error.unique_violation()) return {Errc::conflict, error.message};
  std::string message = error.sqlstate.empty() ? error.message : error.sqlstate + ": " + error.message;
  // A statement that is refused for itself (no such table, no right) will be refused again.
  return {error.code == runtime::postgres::Errc::refused ? Errc::misconfigured : Errc::unavailable, std::move(message)};
}

}  // namespace parley::store::postgres
