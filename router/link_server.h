// The router's end of the streams (R16): one gRPC server, one ordered bidirectional stream per gateway shard.
//
//   gateway -> gRPC -> own completion-queue thread -> inbox -> one post per non-empty inbox -> handlers on the io_context
//   Core -> send -> per-stream queue -> natural batching: what gathers while a write is in flight is merged into the next
//
// Threads: everything here is called on the io_context's thread, and handlers run there; the completion-queue thread only
// moves messages. A message costs gRPC about 20 us whatever is in it, hence one write in flight and the rest gathers.
// Bounds: `down_bytes` wait per stream, beyond which the stream is broken; ephemeral messages are shed at half of it.
// `up_messages` unhandled messages per stream, beyond which it is not read. A stream that says nothing for `silence_ms` is
// broken; this side says something at least once a second.
#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "parley/link/v1/link.grpc.pb.h"
#include "router/core.h"
#include "runtime/clock.h"

namespace parley::router {

struct LinkSettings {
  std::string listen = "127.0.0.1:7070";  // port 0: any free one; empty: in-process only
  std::uint32_t down_bytes = 8 << 20;
  std::uint32_t up_messages = 64;
  std::uint32_t silence_ms = 3'000;
};

class LinkServer final : public Streams {
 public:
  struct Handlers {
    std::function<void(StreamId, const link::Attach&)> on_stream;
    std::function<void(StreamId, const link::Up&)> on_up;  // the one that held `attach` too
    std::function<void(StreamId)> on_closed;
    std::function<void(double seconds)> on_written;  // on the completion-queue thread: hand-over to written
  };
  struct Stats {
    std::uint64_t opened = 0, overflowed = 0, silent = 0, shed = 0, messages = 0, bytes = 0;
  };

  // Throws std::runtime_error if it cannot listen.
  LinkServer(boost::asio::io_context& io, const runtime::Clock& clock, LinkSettings settings, Handlers handlers);
  ~LinkServer() override;  // ends all streams and joins; handlers are not called any more
  LinkServer(const LinkServer&) = delete;
  LinkServer& operator=(const LinkServer&) = delete;

  void send(StreamId stream, link::Down message) override;
  void break_stream(StreamId stream) override;
  void send_all(const link::Down& message);

  // Says something on idle streams, breaks silent ones; to be called several times a second.
  void on_tick();

  // No new streams; the open ones go on for `open_streams`, then they are cut. At once, in the background.
  void close_listener(std::chrono::milliseconds open_streams);

  int port() const { return port_; }
  // For a gateway in the same process (small profile).
  std::shared_ptr<grpc::Channel> in_process_channel() { return server_->InProcessChannel({}); }

  Stats stats() const;

 private:
  class Call;
  struct Arrival {
    std::shared_ptr<Call> call;
    enum class Kind : std::uint8_t { opened, up, closed } kind;
    std::unique_ptr<link::Up> message;
  };

  void poll();
  void accept();
  void arrive(Arrival arrival);
  void hand_over();
  void forget(Call* call);

  boost::asio::io_context& io_;
  const runtime::Clock& clock_;
  const LinkSettings settings_;
  Handlers handlers_;

  link::Router::AsyncService service_;
  int port_ = 0;
  std::unique_ptr<grpc::ServerCompletionQueue> queue_;
  std::unique_ptr<grpc::Server> server_;
  std::thread thread_, closing_;

  std::map<StreamId, std::shared_ptr<Call>> streams_;  // io_context's thread

  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable all_ended_;
  std::map<Call*, std::shared_ptr<Call>> calls_;  // everything gRPC may still tell about
  std::vector<Arrival> inbox_;
  bool posted_ = false, stopping_ = false;
  std::uint64_t last_stream_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // posts may run after this is gone

  std::atomic<std::uint64_t> opened_{0}, overflowed_{0}, silent_{0}, shed_{0}, messages_{0}, bytes_{0};
};

}  // namespace parley::router
