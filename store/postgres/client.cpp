#include "store/postgres/client.h"

#include <cstdlib>

#include "runtime/postgres/listener.h"
#include "store/postgres/pool_accounts.h"
#include "store/postgres/pool_reader.h"

namespace parley::store::postgres {

using runtime::postgres::Listener;
using runtime::postgres::Pool;

struct Client::Parts {
  Parts(boost::asio::io_context& io, const Settings& settings)
      : reads(io, {.dsn = settings.dsn, .connections = settings.reads, .timeout_ms = settings.timeout_ms, .snapshots = true}), reader(reads) {
    std::vector<runtime::postgres::Sql> channels{"listen parley_moved"};
    if (settings.accounts > 0) {
      account_pool =
          std::make_unique<Pool>(io, runtime::postgres::Settings{.dsn = settings.dsn, .connections = settings.accounts, .timeout_ms = settings.timeout_ms});
      accounts = std::make_unique<PoolAccounts>(*account_pool);
      channels.push_back("listen parley_login_ended");
    }
    listener = std::make_unique<Listener>(
        io, settings.dsn, std::move(channels),
        [this](std::string_view channel, std::string_view payload) {
          if (channel == "parley_moved")
            reader.on_notified(payload);
          else if (accounts)
            accounts->on_notified(payload);
        },
        [this] {
          reader.on_listening();
          if (accounts) accounts->on_listening();
        });
  }

  Pool reads;
  PoolReader reader;
  std::unique_ptr<Pool> account_pool;
  std::unique_ptr<PoolAccounts> accounts;
  std::unique_ptr<Listener> listener;
};

Client::Client(boost::asio::io_context& io, const Settings& settings) : parts_(std::make_unique<Parts>(io, settings)) {}
Client::~Client() = default;

store::Reader& Client::reader() { return parts_->reader; }

store::Accounts& Client::accounts() {
  if (!parts_->accounts) std::abort();  // made without: see Settings::accounts
  return *parts_->accounts;
}

Client::Stats Client::stats() const { return {parts_->reads.stats(), parts_->account_pool ? parts_->account_pool->stats() : Pool::Stats{}}; }

}  // namespace parley::store::postgres
