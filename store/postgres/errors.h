// What the door's errors mean to the store's users.
#pragma once

#include "runtime/postgres/values.h"
#include "store/store.h"

namespace parley::store::postgres {

inline Error store_error(const runtime::postgres::Error& error) {
  if (error.unique_violation()) return {Errc::conflict, error.message};
  // A refusal too: a right, a table, a disk that is missing now is there again when a person or a restore is done.
  return {Errc::unavailable, error.sqlstate.empty() ? error.message : error.sqlstate + ": " + error.message};
}

}  // namespace parley::store::postgres
