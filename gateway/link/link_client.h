// The gateway's end of the streams (R16): one ordered bidirectional gRPC stream to every router, reopened for ever.
//
//   Core -> send -> per-stream queue -> natural batching: what gathers while a write is in flight is merged into the next
//   router -> gRPC -> own completion-queue thread -> inbox -> one post per non-empty inbox -> handlers on the io_context
//
// Threads: everything here is called on the io_context's thread, and handlers run there; the completion-queue thread only
// moves messages. A message costs gRPC about 20 us whatever is in it, hence one write in flight and the rest gathers.
// Bounds: `up_bytes` wait per stream, beyond which the stream is broken (registering anew is the cure); `down_messages`
// unhandled messages per stream, beyond which it is not read. Reopening backs off up to `retry_max_ms`, with full jitter.
// Silence is Core's to judge: it calls break_stream.
#pragma once

#include <grpcpp/grpcpp.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "gateway/core/core.h"
#include "parley/link/v1/link.grpc.pb.h"

namespace parley::gateway {

struct LinkSettings {
  std::uint32_t up_bytes = 16 << 20;
  std::uint32_t down_messages = 64;
  std::uint32_t retry_min_ms = 50, retry_max_ms = 1'000;
};

class LinkClient final : public Links {
 public:
  struct Handlers {
    std::function<void(RouterId)> on_open;  // the first message sent must hold `attach`
    std::function<void(RouterId, const link::Down&)> on_down;
    std::function<void(RouterId)> on_closed;
  };
  using Connect = std::function<std::shared_ptr<grpc::Channel>(const std::string& name)>;

  // `connect`: the way to a router; by default an insecure TCP channel to the name. The small profile gives the in-process one.
  LinkClient(boost::asio::io_context& io, LinkSettings settings, Handlers handlers, Connect connect = {});
  ~LinkClient() override;  // ends all streams and joins; handlers are not called any more
  LinkClient(const LinkClient&) = delete;
  LinkClient& operator=(const LinkClient&) = delete;

  // The routers, in the order that RouterId counts. A stream goes on where the name at its index stays the same.
  void set_members(const std::vector<std::string>& names);

  void send(RouterId router, link::Up message) override;
  void break_stream(RouterId router) override;

  struct Stats {
    std::size_t open = 0;
    std::uint64_t opened = 0, overflowed = 0;
  };
  Stats stats() const { return stats_; }

 private:
  class Call;
  struct Peer {
    std::string name;
    std::shared_ptr<grpc::Channel> channel;
    std::unique_ptr<link::Router::Stub> stub;
    std::shared_ptr<Call> call;  // the present attempt; null while backing off
    std::unique_ptr<boost::asio::steady_timer> retry;
    std::uint32_t retry_ms = 0;
    bool open = false;
  };
  struct Arrival {
    std::shared_ptr<Call> call;
    enum class Kind : std::uint8_t { opened, down, closed } kind;
    std::unique_ptr<link::Down> message;
  };

  void open(std::uint32_t index);
  void close(Peer& peer);
  void retry_later(std::uint32_t index);
  void poll();
  void arrive(Arrival arrival);
  void hand_over();
  void handle(Arrival& arrival);
  void forget(Call* call);

  boost::asio::io_context& io_;
  const LinkSettings settings_;
  Handlers handlers_;
  Connect connect_;
  std::vector<Peer> peers_;  // io_context's thread
  std::minstd_rand jitter_{std::random_device{}()};
  Stats stats_;

  grpc::CompletionQueue queue_;
  std::thread thread_;

  std::mutex mutex_;  // guards what follows
  std::condition_variable all_ended_;
  std::map<Call*, std::shared_ptr<Call>> calls_;  // everything gRPC may still tell about
  std::vector<Arrival> inbox_;
  bool posted_ = false, stopping_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // posts may run after this is gone
};

}  // namespace parley::gateway
