#include "gateway/link/link_client.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <deque>

#include "runtime/log.h"

namespace parley::gateway {

namespace log = runtime::log;

namespace {

constexpr std::size_t kMergedBytes = 512 * 1024;
constexpr int kDownBytes = 64 << 20;

std::shared_ptr<grpc::Channel> connect_tcp(const std::string& name) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kDownBytes);
  // Each shard has a connection of its own; a router that comes back is found within a second.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 1'000);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1'000);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return grpc::CreateCustomChannel(name, grpc::InsecureChannelCredentials(), arguments);
}

}  // namespace

// One attempt at a stream. gRPC holds a pointer to `this` while an operation is outstanding; `calls_` keeps it alive until
// the last one was told about.
class LinkClient::Call : public std::enable_shared_from_this<Call> {
 public:
  enum class Step : std::uint8_t { started, read, written, finished };
  struct Tag {
    Call* call;
    Step step;
  };

  Call(LinkClient& client, RouterId r) : router(r), client_(client) {}

  const RouterId router;

  void begin(link::Router::Stub& stub) {
    context_.set_wait_for_ready(true);  // until the router can be reached
    stream_ = stub.PrepareAsyncAttach(&context_, &client_.queue_);
    stream_->StartCall(&started_);
  }

  // On the completion-queue thread.
  void on_step(Step step, bool ok) {
    switch (step) {
      case Step::started: {
        std::unique_lock lock(mutex_);
        if (!ok || broken_) return end(lock);
        open_ = true;
        read();
        lock.unlock();
        client_.arrive({shared_from_this(), Arrival::Kind::opened, nullptr});
        return;
      }
      case Step::read:
        return on_read(ok);
      case Step::written:
        return on_written(ok);
      case Step::finished:
        // Told only now: no further message of this attempt can come behind it.
        client_.arrive({shared_from_this(), Arrival::Kind::closed, nullptr});
        return client_.forget(this);
    }
  }

  // False: the stream broke because too much waits.
  bool send(link::Up message) {
    auto size = message.ByteSizeLong();
    std::lock_guard lock(mutex_);
    if (broken_ || !open_) return true;
    if (waiting_bytes_ + size > client_.settings_.up_bytes) {
      break_locked();
      return false;
    }
    waiting_bytes_ += size;
    waiting_.push_back({std::move(message), size});
    if (!writing_) write();
    return true;
  }

  void break_off() {
    std::lock_guard lock(mutex_);
    break_locked();
  }

  // A message of this stream was handled; reading goes on if it had stopped.
  void handled() {
    std::lock_guard lock(mutex_);
    if (--unhandled_ < client_.settings_.down_messages && open_ && !reading_ && !ended_) read();
  }

 private:
  struct Waiting {
    link::Up message;
    std::size_t size;
  };

  void read() {
    reading_ = true;
    incoming_ = std::make_unique<link::Down>();
    stream_->Read(incoming_.get(), &read_);
  }

  void on_read(bool ok) {
    std::unique_lock lock(mutex_);
    reading_ = false;
    if (!ok || broken_) return end(lock);
    auto message = std::move(incoming_);
    if (++unhandled_ < client_.settings_.down_messages) read();
    lock.unlock();
    client_.arrive({shared_from_this(), Arrival::Kind::down, std::move(message)});
  }

  void write() {
    Waiting next = std::move(waiting_.front());
    waiting_.pop_front();
    // Registrations keep their order when merged, and a later `confirm` stands for the earlier ones.
    while (!waiting_.empty() && next.size + waiting_.front().size <= kMergedBytes) {
      next.message.MergeFrom(waiting_.front().message);
      next.size += waiting_.front().size;
      waiting_.pop_front();
    }
    writing_ = true;
    writing_bytes_ = next.size;
    stream_->Write(next.message, &written_);
  }

  void on_written(bool ok) {
    std::unique_lock lock(mutex_);
    writing_ = false;
    waiting_bytes_ -= std::min(waiting_bytes_, writing_bytes_);
    if (!ok) break_locked();
    if (broken_) return finish_if_quiet();
    if (!waiting_.empty()) write();
  }

  void break_locked() {
    if (broken_) return;
    broken_ = true;
    waiting_.clear();
    waiting_bytes_ = 0;
    context_.TryCancel();
    // The outstanding read fails, and that is how the end is told; where none is outstanding it must be told here.
    if (open_ && !reading_) {
      ended_ = true;
      finish_if_quiet();
    }
  }

  void end(std::unique_lock<std::mutex>&) {
    if (!broken_) {
      broken_ = true;
      waiting_.clear();
      waiting_bytes_ = 0;
      context_.TryCancel();
    }
    ended_ = true;
    finish_if_quiet();
  }

  void finish_if_quiet() {
    if (!ended_ || writing_ || reading_ || finishing_) return;
    finishing_ = true;
    stream_->Finish(&status_, &finished_);
  }

  LinkClient& client_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientAsyncReaderWriter<link::Up, link::Down>> stream_;
  grpc::Status status_;
  Tag started_{this, Step::started}, read_{this, Step::read}, written_{this, Step::written}, finished_{this, Step::finished};

  std::mutex mutex_;  // guards what follows
  std::unique_ptr<link::Down> incoming_;
  std::deque<Waiting> waiting_;
  std::size_t waiting_bytes_ = 0, writing_bytes_ = 0;  // waiting includes what is being written
  std::size_t unhandled_ = 0;
  bool open_ = false, reading_ = false, writing_ = false, finishing_ = false;
  bool broken_ = false;  // nothing is sent any more
  bool ended_ = false;   // nothing is read any more
};

LinkClient::LinkClient(boost::asio::io_context& io, LinkSettings settings, Handlers handlers, Connect connect)
    : io_(io), settings_(settings), handlers_(std::move(handlers)), connect_(connect ? std::move(connect) : connect_tcp) {
  thread_ = std::thread([this] { poll(); });
}

LinkClient::~LinkClient() {
  {
    std::unique_lock lock(mutex_);
    stopping_ = true;
    alive_.reset();
    for (auto& [call, kept] : calls_) kept->break_off();
    all_ended_.wait(lock, [this] { return calls_.empty(); });
  }
  queue_.Shutdown();
  thread_.join();
}

void LinkClient::poll() {
  void* tag = nullptr;
  bool ok = false;
  while (queue_.Next(&tag, &ok)) {
    auto [call, step] = *static_cast<Call::Tag*>(tag);
    call->on_step(step, ok);
  }
}

void LinkClient::forget(Call* call) {
  std::shared_ptr<Call> last;  // destroyed after the lock is gone
  std::lock_guard lock(mutex_);
  auto it = calls_.find(call);
  last = std::move(it->second);
  calls_.erase(it);
  if (calls_.empty()) all_ended_.notify_all();
}

void LinkClient::arrive(Arrival arrival) {
  std::lock_guard lock(mutex_);
  if (stopping_) return;
  inbox_.push_back(std::move(arrival));
  if (std::exchange(posted_, true)) return;
  boost::asio::post(io_, [this, alive = std::weak_ptr(alive_)] {
    if (!alive.expired()) hand_over();
  });
}

void LinkClient::hand_over() {
  std::vector<Arrival> arrivals;
  {
    std::lock_guard lock(mutex_);
    posted_ = false;
    arrivals.swap(inbox_);
  }
  for (Arrival& arrival : arrivals) handle(arrival);
}

void LinkClient::handle(Arrival& arrival) {
  auto router = arrival.call->router;
  bool present = router.value < peers_.size() && peers_[router.value].call == arrival.call;  // not of an earlier attempt
  switch (arrival.kind) {
    case Arrival::Kind::opened:
      if (!present) return;
      peers_[router.value].open = true;
      ++stats_.open;
      ++stats_.opened;
      log::info("gateway.link_open", {{"router", peers_[router.value].name}});
      return handlers_.on_open(router);
    case Arrival::Kind::down:
      if (present && peers_[router.value].open) {
        peers_[router.value].retry_ms = 0;  // it speaks
        handlers_.on_down(router, *arrival.message);
      }
      return arrival.call->handled();
    case Arrival::Kind::closed:
      if (!present) return;
      close(peers_[router.value]);
      return retry_later(router.value);
  }
}

void LinkClient::close(Peer& peer) {
  peer.call.reset();
  if (!std::exchange(peer.open, false)) return;
  --stats_.open;
  log::info("gateway.link_closed", {{"router", peer.name}});
  handlers_.on_closed({static_cast<std::uint32_t>(&peer - peers_.data())});
}

void LinkClient::open(std::uint32_t index) {
  auto& peer = peers_[index];
  auto call = std::make_shared<Call>(*this, RouterId{index});
  {
    std::lock_guard lock(mutex_);
    calls_[call.get()] = call;
  }
  peer.call = call;
  call->begin(*peer.stub);
}

void LinkClient::retry_later(std::uint32_t index) {
  auto& peer = peers_[index];
  peer.retry_ms = std::clamp(peer.retry_ms * 2, settings_.retry_min_ms, settings_.retry_max_ms);
  peer.retry->expires_after(std::chrono::milliseconds(jitter_() % peer.retry_ms));
  peer.retry->async_wait([this, index, name = peer.name, alive = std::weak_ptr(alive_)](boost::system::error_code stopped) {
    if (stopped || alive.expired()) return;
    if (index < peers_.size() && peers_[index].name == name && !peers_[index].call) open(index);
  });
}

void LinkClient::set_members(const std::vector<std::string>& names) {
  for (std::size_t i = 0; i < peers_.size(); ++i) {
    if (i < names.size() && peers_[i].name == names[i]) continue;
    if (peers_[i].call) peers_[i].call->break_off();
    close(peers_[i]);
    peers_[i].retry->cancel();
  }
  auto known = peers_.size();
  peers_.resize(names.size());
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (i < known && peers_[i].name == names[i]) continue;
    peers_[i] = {};
    peers_[i].name = names[i];
    peers_[i].channel = connect_(names[i]);
    peers_[i].stub = link::Router::NewStub(peers_[i].channel);
    peers_[i].retry = std::make_unique<boost::asio::steady_timer>(io_);
    open(static_cast<std::uint32_t>(i));
  }
}

void LinkClient::send(RouterId router, link::Up message) {
  if (router.value >= peers_.size() || !peers_[router.value].open) return;
  if (!peers_[router.value].call->send(std::move(message))) {
    ++stats_.overflowed;
    log::limited(log::Level::warn, "gateway.link_overflow", peers_[router.value].name, {{"router", peers_[router.value].name}});
  }
}

void LinkClient::break_stream(RouterId router) {
  if (router.value < peers_.size() && peers_[router.value].call) peers_[router.value].call->break_off();
}

}  // namespace parley::gateway
