#include "router/link_server.h"

#include <boost/asio/post.hpp>
#include <deque>
#include <stdexcept>

namespace parley::router {

namespace {

constexpr std::size_t kMergedBytes = 512 * 1024;
constexpr int kUpBytes = 64 << 20;  // a gateway registers everyone in one message
constexpr std::uint64_t kHeartbeatMs = 1'000;

// Appends `from` to `to` as if they had been one batch. Not allowed across a `from`, which is applied first (Fanout::from).
bool merge(link::Down& to, link::Down& from) {
  if (from.from_size() > 0 || from.has_ring()) return false;
  // The bodies are many and large: moved, not copied.
  auto& deliveries = *from.mutable_deliveries();
  std::vector<link::Delivery*> moved(static_cast<std::size_t>(deliveries.size()));
  if (!moved.empty()) deliveries.ExtractSubrange(0, deliveries.size(), moved.data());
  for (link::Delivery* delivery : moved) to.mutable_deliveries()->AddAllocated(delivery);
  to.MergeFrom(from);
  return true;
}

}  // namespace

// One stream. gRPC holds a pointer to `this` while an operation is outstanding; `calls_` keeps it alive until the last one
// was told about.
class LinkServer::Call : public std::enable_shared_from_this<Call> {
 public:
  enum class Step : std::uint8_t { accepted, read, written, finished };
  struct Tag {
    Call* call;
    Step step;
  };

  explicit Call(LinkServer& server) : server_(server) {}

  StreamId id;  // 0 until the first message

  void begin() { server_.service_.RequestAttach(&context_, &stream_, server_.queue_.get(), server_.queue_.get(), &accepted_); }

  // On the completion-queue thread.
  void on_step(Step step, bool ok) {
    switch (step) {
      case Step::accepted: {
        if (!ok) return server_.forget(this);  // the server stops
        server_.accept();
        std::lock_guard lock(mutex_);
        begun_ = true;
        heard_ms_ = server_.clock_.steady().value;
        read();
        return;
      }
      case Step::read:
        return on_read(ok);
      case Step::written:
        return on_written(ok);
      case Step::finished:
        return server_.forget(this);
    }
  }

  // False: the stream broke because too much waits.
  bool send(link::Down message, std::size_t size) {
    std::lock_guard lock(mutex_);
    if (broken_) return true;
    if (waiting_bytes_ + size > server_.settings_.down_bytes) {
      break_locked();
      return false;
    }
    if (message.ephemeral_size() > 0 && waiting_bytes_ > server_.settings_.down_bytes / 2) {
      server_.shed_ += static_cast<std::uint64_t>(message.ephemeral_size());
      message.clear_ephemeral();
    }
    waiting_bytes_ += size;
    waiting_.push_back({std::move(message), size, server_.clock_.steady().value});
    if (!writing_) write();
    return true;
  }

  void break_off() {
    std::lock_guard lock(mutex_);
    break_locked();
  }

  // The server stops: nobody handles messages any more.
  void shut() {
    std::lock_guard lock(mutex_);
    if (!begun_) return;  // still waits for a gateway: the server's own shutdown ends that
    break_locked();
    ended_ = true;
    end_if_quiet();
  }

  // A message of this stream was handled; reading goes on if it had stopped.
  void handled() {
    std::lock_guard lock(mutex_);
    if (--unhandled_ < server_.settings_.up_messages && !reading_ && !ended_) read();
  }

  // While it is not read for our own slowness it cannot be called silent.
  bool silent(std::uint64_t now_ms) {
    std::lock_guard lock(mutex_);
    return !broken_ && reading_ && now_ms > heard_ms_ + server_.settings_.silence_ms;
  }
  bool idle(std::uint64_t now_ms) {
    std::lock_guard lock(mutex_);
    return !writing_ && now_ms >= said_ms_ + kHeartbeatMs;
  }

 private:
  struct Waiting {
    link::Down message;
    std::size_t size;
    std::uint64_t since_ms;
  };

  void read() {
    reading_ = true;
    incoming_ = std::make_unique<link::Up>();
    stream_.Read(incoming_.get(), &read_);
  }

  void on_read(bool ok) {
    std::unique_lock lock(mutex_);
    reading_ = false;
    heard_ms_ = server_.clock_.steady().value;
    const bool first = id.value == 0;
    if (!ok || broken_ || (first && !incoming_->has_attach())) {
      broken_ = ended_ = true;
      context_.TryCancel();
      end_if_quiet();
      lock.unlock();
      if (!first) server_.arrive({shared_from_this(), Arrival::Kind::closed, nullptr});
      return;
    }
    auto message = std::move(incoming_);
    if (++unhandled_ < server_.settings_.up_messages) read();
    lock.unlock();
    server_.arrive({shared_from_this(), first ? Arrival::Kind::opened : Arrival::Kind::up, std::move(message)});
  }

  void write() {
    Waiting next = std::move(waiting_.front());
    waiting_.pop_front();
    while (!waiting_.empty() && next.size + waiting_.front().size <= kMergedBytes && merge(next.message, waiting_.front().message)) {
      next.size += waiting_.front().size;
      waiting_.pop_front();
    }
    writing_ = true;
    writing_bytes_ = next.size;
    writing_since_ms_ = next.since_ms;
    said_ms_ = server_.clock_.steady().value;
    ++server_.messages_;
    server_.bytes_ += next.size;
    stream_.Write(next.message, &written_);
  }

  void on_written(bool ok) {
    double waited = 0;
    {
      std::lock_guard lock(mutex_);
      writing_ = false;
      waiting_bytes_ -= writing_bytes_;
      waited = static_cast<double>(server_.clock_.steady().value - writing_since_ms_) / 1000.0;
      if (!ok) break_locked();
      if (broken_) {
        end_if_quiet();
      } else if (!waiting_.empty()) {
        write();
      }
    }
    if (ok && server_.handlers_.on_written) server_.handlers_.on_written(waited);
  }

  void break_locked() {
    if (broken_) return;
    broken_ = true;
    waiting_.clear();
    context_.TryCancel();  // the outstanding read fails: that is how the end is told
  }

  void end_if_quiet() {
    if (!ended_ || writing_ || reading_ || finishing_) return;
    finishing_ = true;
    stream_.Finish(grpc::Status::CANCELLED, &finished_);
  }

  LinkServer& server_;
  grpc::ServerContext context_;
  grpc::ServerAsyncReaderWriter<link::Down, link::Up> stream_{&context_};
  Tag accepted_{this, Step::accepted}, read_{this, Step::read}, written_{this, Step::written}, finished_{this, Step::finished};

  std::mutex mutex_;  // guards what follows
  std::unique_ptr<link::Up> incoming_;
  std::deque<Waiting> waiting_;
  std::size_t waiting_bytes_ = 0, writing_bytes_ = 0;  // waiting includes what is being written
  std::size_t unhandled_ = 0;
  bool begun_ = false, reading_ = false, writing_ = false, finishing_ = false;
  bool broken_ = false;  // nothing is sent any more
  bool ended_ = false;   // nothing is read any more
  std::uint64_t heard_ms_ = 0, said_ms_ = 0, writing_since_ms_ = 0;
};

LinkServer::LinkServer(boost::asio::io_context& io, const runtime::Clock& clock, LinkSettings settings, Handlers handlers)
    : io_(io), clock_(clock), settings_(std::move(settings)), handlers_(std::move(handlers)) {
  grpc::ServerBuilder builder;
  if (!settings_.listen.empty()) builder.AddListeningPort(settings_.listen, grpc::InsecureServerCredentials(), &port_);
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.SetMaxReceiveMessageSize(kUpBytes);
  builder.RegisterService(&service_);
  queue_ = builder.AddCompletionQueue();
  server_ = builder.BuildAndStart();
  if (!server_ || (!settings_.listen.empty() && port_ == 0)) throw std::runtime_error("router link: cannot listen on " + settings_.listen);
  accept();
  thread_ = std::thread([this] { poll(); });
}

LinkServer::~LinkServer() {
  {
    std::unique_lock lock(mutex_);
    stopping_ = true;
    alive_.reset();
    for (auto& [call, kept] : calls_) kept->shut();
  }
  if (closing_.joinable())
    closing_.join();  // soon: no stream is left to wait for
  else
    server_->Shutdown(std::chrono::system_clock::now());  // cancels what is left; the queue still runs and hears of it
  {
    std::unique_lock lock(mutex_);
    all_ended_.wait(lock, [this] { return calls_.empty(); });
  }
  queue_->Shutdown();
  thread_.join();
}

void LinkServer::close_listener(std::chrono::milliseconds open_streams) {
  if (closing_.joinable()) return;
  // Shutdown waits for the open streams.
  closing_ = std::thread([this, until = std::chrono::system_clock::now() + open_streams] { server_->Shutdown(until); });
}

void LinkServer::poll() {
  void* tag = nullptr;
  bool ok = false;
  while (queue_->Next(&tag, &ok)) {
    auto [call, step] = *static_cast<Call::Tag*>(tag);
    call->on_step(step, ok);
  }
}

void LinkServer::accept() {
  std::lock_guard lock(mutex_);
  if (stopping_) return;
  auto call = std::make_shared<Call>(*this);
  calls_[call.get()] = call;
  call->begin();
}

void LinkServer::forget(Call* call) {
  std::shared_ptr<Call> last;  // destroyed after the lock is gone
  std::lock_guard lock(mutex_);
  auto it = calls_.find(call);
  last = std::move(it->second);
  calls_.erase(it);
  if (calls_.empty()) all_ended_.notify_all();
}

void LinkServer::arrive(Arrival arrival) {
  std::lock_guard lock(mutex_);
  if (stopping_) return;
  if (arrival.kind == Arrival::Kind::opened) arrival.call->id = StreamId{++last_stream_};
  inbox_.push_back(std::move(arrival));
  if (std::exchange(posted_, true)) return;
  boost::asio::post(io_, [this, alive = std::weak_ptr(alive_)] {
    if (!alive.expired()) hand_over();
  });
}

void LinkServer::hand_over() {
  std::vector<Arrival> arrivals;
  {
    std::lock_guard lock(mutex_);
    posted_ = false;
    arrivals.swap(inbox_);
  }
  for (Arrival& arrival : arrivals) {
    const StreamId id = arrival.call->id;
    switch (arrival.kind) {
      case Arrival::Kind::opened:
        ++opened_;
        streams_[id] = arrival.call;
        handlers_.on_stream(id, arrival.message->attach());
        [[fallthrough]];
      case Arrival::Kind::up:
        handlers_.on_up(id, *arrival.message);
        arrival.call->handled();
        break;
      case Arrival::Kind::closed:
        streams_.erase(id);
        handlers_.on_closed(id);
        break;
    }
  }
}

void LinkServer::send(StreamId stream, link::Down message) {
  auto it = streams_.find(stream);
  if (it == streams_.end()) return;
  std::size_t size = message.ByteSizeLong();
  if (!it->second->send(std::move(message), size)) ++overflowed_;
}

void LinkServer::send_all(const link::Down& message) {
  for (const auto& [id, call] : streams_) send(id, message);
}

void LinkServer::break_stream(StreamId stream) {
  if (auto it = streams_.find(stream); it != streams_.end()) it->second->break_off();
}

void LinkServer::on_tick() {
  const std::uint64_t now = clock_.steady().value;
  for (const auto& [id, call] : streams_) {
    if (call->silent(now)) {
      ++silent_;
      call->break_off();
    } else if (call->idle(now)) {
      send(id, link::Down{});
    }
  }
}

LinkServer::Stats LinkServer::stats() const { return {opened_, overflowed_, silent_, shed_, messages_, bytes_}; }

}  // namespace parley::router
