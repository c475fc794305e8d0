// SQL text that is a constant of the program. The compiler refuses anything else, so no input can ever become SQL.
#pragma once

#include "runtime/postgres/values.h"

namespace parley::runtime::postgres {

class Sql {
 public:
  consteval Sql(const char* text) : text_(text) {}  // NOLINT(google-explicit-constructor): written as a plain literal at each call
  const char* text() const { return text_; }

 private:
  const char* text_;
};

struct Query {
  Sql sql;
  Params params;
};

}  // namespace parley::runtime::postgres
