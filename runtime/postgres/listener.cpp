#include "runtime/postgres/listener.h"

#include <libpq-fe.h>

#include "runtime/postgres/link.h"

namespace parley::runtime::postgres {

class Listener::Ear final : public LinkEvents {
 public:
  Ear(boost::asio::io_context& io, const std::string& dsn, std::vector<Sql> listens, std::move_only_function<void(std::string_view, std::string_view)> notified,
      std::move_only_function<void()> listening)
      : listens_(std::move(listens)), notified_(std::move(notified)), listening_(std::move(listening)), link_(io, connection_keywords(dsn, ""), *this) {}

  void on_up() override {
    next_ = 0;
    listen();
  }

  void on_readable() override {
    while (link_.raw() != nullptr && PQisBusy(link_.raw()) == 0) {
      pg_result* result = PQgetResult(link_.raw());
      if (result == nullptr) {
        if (!std::exchange(asked_, false)) break;
        listen();
        continue;
      }
      Rows rows(result);
      if (PQresultStatus(result) != PGRES_COMMAND_OK) return link_.fail(error_of(result, PQerrorMessage(link_.raw())));
    }
    while (link_.raw() != nullptr) {
      PGnotify* note = PQnotifies(link_.raw());
      if (note == nullptr) return;
      notified_(note->relname, note->extra);
      PQfreemem(note);
    }
  }

  void on_down(const Error&) override { asked_ = false; }

 private:
  void listen() {
    if (next_ == listens_.size()) {
      ++next_;
      return listening_();
    }
    if (next_ > listens_.size()) return;
    if (PQsendQueryParams(link_.raw(), listens_[next_++].text(), 0, nullptr, nullptr, nullptr, nullptr, 1) != 1)
      return link_.fail({Errc::unavailable, "", PQerrorMessage(link_.raw())});
    asked_ = true;
    link_.flush();
  }

  std::vector<Sql> listens_;
  std::move_only_function<void(std::string_view, std::string_view)> notified_;
  std::move_only_function<void()> listening_;
  std::size_t next_ = 0;
  bool asked_ = false;
  Link link_;
};

Listener::Listener(boost::asio::io_context& io, const std::string& dsn, std::vector<Sql> listens,
                   std::move_only_function<void(std::string_view, std::string_view)> notified, std::move_only_function<void()> listening)
    : ear_(std::make_unique<Ear>(io, dsn, std::move(listens), std::move(notified), std::move(listening))) {}

Listener::~Listener() = default;

}  // namespace parley::runtime::postgres
