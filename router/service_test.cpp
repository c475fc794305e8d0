// Whole routers in one process, over real gRPC and the memory log: placement, takeover, handing over.
#include "router/service.h"

#include <gtest/gtest.h>

#include <boost/asio/ip/tcp.hpp>
#include <set>

#include "eventlog/memory/memory_log.h"
#include "router/takeover.h"
#include "router/test_bed.h"

namespace parley::router {
namespace {

using namespace std::chrono_literals;
constexpr std::uint32_t kPartitions = 8;

// The memory log with someone who steps it.
class SteppedLog final : public eventlog::Log {
 public:
  explicit SteppedLog(eventlog::memory::MemoryBroker& broker) : log_(broker) {}
  void open(eventlog::Callback<eventlog::Topic> done) override { log_.open(std::move(done)); }
  void ends(eventlog::Callback<std::vector<Offset>> done) override { log_.ends(std::move(done)); }
  void begins(eventlog::Callback<std::vector<Offset>> done) override { log_.begins(std::move(done)); }
  void since(chat::TimeMs time, eventlog::Callback<std::vector<std::optional<Offset>>> done) override { log_.since(time, std::move(done)); }
  void committed(std::string group, eventlog::Callback<std::vector<std::optional<Offset>>> done) override { log_.committed(std::move(group), std::move(done)); }
  void trim(Partition p, Offset before, eventlog::Callback<void> done) override { log_.trim(p, before, std::move(done)); }
  std::unique_ptr<eventlog::Producer> producer() override { return log_.producer(); }
  std::unique_ptr<eventlog::Consumer> consumer(eventlog::ConsumerOptions options, eventlog::ConsumerEvents& events) override {
    auto made = log_.make_consumer(std::move(options), events);
    consumer_ = made.get();
    return made;
  }
  void step() {
    while (log_.answer()) {
    }
    if (consumer_)
      for (std::uint32_t p = 0; p < kPartitions; ++p) consumer_->deliver({p}, 100);
  }
  std::size_t reading() const { return consumer_->reading().size(); }

 private:
  eventlog::memory::MemoryLog log_;
  eventlog::memory::MemoryConsumer* consumer_ = nullptr;
};

std::string local(int port) { return "127.0.0.1:" + std::to_string(port); }

// Two free ports between which the ring shares out the partitions among that many: with so few partitions, one router may get none.
std::pair<int, int> ports(std::size_t sharers) {
  boost::asio::io_context io;
  const boost::asio::ip::tcp::endpoint any{boost::asio::ip::make_address("127.0.0.1"), 0};
  for (;;) {
    boost::asio::ip::tcp::acceptor a(io, any), b(io, any);
    const int first = a.local_endpoint().port(), second = b.local_endpoint().port();
    runtime::Ring ring({local(first), local(second)});
    std::set<std::string> owners;
    for (std::uint32_t p = 0; p < kPartitions; ++p) owners.insert(ring.owner({p}));
    if (owners.size() == sharers) return {first, second};
  }
}

struct Router {
  SteppedLog log;
  TestLog nothing;  // the persister has not stored anything yet
  TestReader reader{nothing};
  runtime::Metrics metrics{"router", "test"};
  runtime::SystemClock clock;
  runtime::Health health{clock};
  std::unique_ptr<Service> service;

  Router(boost::asio::io_context& io, eventlog::memory::MemoryBroker& broker, int port, std::string members, std::string stored = "topic") : log(broker) {
    ServiceSettings settings;
    settings.core.intake_wait_ms = 0;
    settings.link.listen = local(port);
    settings.members = {.self = {}, .source = std::move(members), .probe_ms = 100, .gone_ms = 300, .reread_ms = 1'000};
    settings.handover_ms = 300;
    reader.holds = store::Identity{std::move(stored), kPartitions};
    service = std::make_unique<Service>(settings, Service::Ports{io, clock, log, reader, metrics, health}, eventlog::Topic{"topic", kPartitions});
    service->start();
  }
  void step() {
    log.step();
    reader.answer();
  }
};

struct Cluster {
  boost::asio::io_context io;
  runtime::SystemClock clock;
  eventlog::memory::MemoryBroker broker{{.partitions = kPartitions, .topic_id = "topic"}, clock};
  std::pair<int, int> chosen;
  int port_a = chosen.first, port_b = chosen.second;
  std::string members = local(port_a) + "," + local(port_b);
  std::string stored;  // PostgreSQL holds the fold of this log
  std::unique_ptr<Router> a = std::make_unique<Router>(io, broker, port_a, members, stored), b = std::make_unique<Router>(io, broker, port_b, members, stored);
  TestLog written;

  explicit Cluster(std::size_t sharers = 2, std::string of = "topic") : chosen(ports(sharers)), stored(std::move(of)) {}

  template <class F>
  bool until(F&& f, std::chrono::milliseconds limit = 10s) {
    auto deadline = std::chrono::steady_clock::now() + limit;
    while (!f()) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      for (Router* router : {a.get(), b.get()})
        if (router) router->step();
      io.restart();
      io.run_for(2ms);
    }
    return true;
  }
  static std::size_t owned(const std::unique_ptr<Router>& router) { return router->service->stats().partitions; }
  bool settled() {
    return until([&] { return owned(a) + owned(b) == kPartitions && owned(a) > 0 && owned(b) > 0; });
  }
  // A group of users 1 and 2 in every partition, by as many conversations as it takes.
  void write_everywhere() {
    std::set<std::uint32_t> covered;
    for (std::uint8_t n = 1; covered.size() < kPartitions; ++n) {
      Partition p = chat::partition_of(conversation(n), kPartitions);
      if (!covered.insert(p.value).second) continue;
      written.create(n, {1, 2});
      const auto& kept = written.kept.back();
      broker.append({p, kept.key, kept.value, {}});
    }
  }
};

// One gateway, reading on a thread of its own.
struct Gateway {
  std::unique_ptr<link::Router::Stub> stub;
  grpc::ClientContext context;
  std::unique_ptr<grpc::ClientReaderWriter<link::Up, link::Down>> stream;
  std::mutex mutex;
  std::set<std::uint32_t> partitions;  // an event of which was delivered
  std::uint64_t confirmed = 0;
  int ring = 0;
  bool ended = false;
  std::thread reader;

  explicit Gateway(int port)
      : stub(link::Router::NewStub(grpc::CreateChannel(local(port), grpc::InsecureChannelCredentials()))), stream(stub->Attach(&context)) {
    link::Up up = registering({1}, 1);
    up.mutable_attach()->set_gateway(static_cast<std::uint64_t>(port));
    up.mutable_attach()->set_topic_id("topic");
    stream->Write(up);
    reader = std::thread([this] {
      for (link::Down down; stream->Read(&down);) {
        std::lock_guard lock(mutex);
        for (const auto& d : down.deliveries()) partitions.insert(d.partition());
        if (down.confirmed()) confirmed = down.confirmed();
        if (down.has_ring()) ring = down.ring().members_size();
      }
      std::lock_guard lock(mutex);
      ended = true;
    });
  }
  ~Gateway() {
    context.TryCancel();
    reader.join();
  }
  template <class F>
  auto get(F&& f) {
    std::lock_guard lock(mutex);
    return f();
  }
};

TEST(RouterService, the_ring_is_shared_out_and_what_is_written_reaches_gateways) {
  Cluster cluster;
  ASSERT_TRUE(cluster.settled());
  EXPECT_TRUE(cluster.a->health.unready().empty());
  Gateway at_a(cluster.port_a), at_b(cluster.port_b);
  ASSERT_TRUE(cluster.until([&] { return at_a.get([&] { return at_a.confirmed; }) && at_b.get([&] { return at_b.confirmed; }); }));
  EXPECT_EQ(at_a.get([&] { return at_a.ring; }), 2);
  cluster.write_everywhere();
  ASSERT_TRUE(cluster.until([&] {
    auto one = at_a.get([&] { return at_a.partitions; }), other = at_b.get([&] { return at_b.partitions; });
    return one.size() + other.size() == kPartitions;
  }));
  EXPECT_NE(cluster.a->metrics.exposition().find("parley_router_ring_members 2"), std::string::npos);
}

TEST(RouterService, a_router_to_which_the_ring_gives_nothing_is_ready) {
  Cluster t(1);
  EXPECT_TRUE(t.until([&] { return t.a->health.unready().empty() && t.b->health.unready().empty(); }));
  EXPECT_EQ(Cluster::owned(t.a) + Cluster::owned(t.b), kPartitions);
  EXPECT_TRUE(Cluster::owned(t.a) == 0 || Cluster::owned(t.b) == 0);
}

TEST(RouterService, the_partitions_of_a_router_that_is_gone_are_taken_over_and_refolded) {
  Cluster cluster;
  ASSERT_TRUE(cluster.settled());
  Gateway at_b(cluster.port_b);
  ASSERT_TRUE(cluster.until([&] { return at_b.get([&] { return at_b.confirmed; }) == 1; }));
  cluster.write_everywhere();
  cluster.a.reset();
  auto killed = std::chrono::steady_clock::now();
  ASSERT_TRUE(cluster.until([&] { return at_b.get([&] { return at_b.partitions.size(); }) == kPartitions; }));
  EXPECT_LT(std::chrono::steady_clock::now() - killed, 3s);
  EXPECT_EQ(at_b.get([&] { return at_b.ring; }), 1);
}

TEST(RouterService, a_router_that_comes_back_gets_its_share_and_the_other_lets_go_later) {
  Cluster cluster;
  ASSERT_TRUE(cluster.settled());
  std::size_t share = Cluster::owned(cluster.a);
  cluster.a.reset();
  ASSERT_TRUE(cluster.until([&] { return Cluster::owned(cluster.b) == kPartitions; }));
  cluster.a = std::make_unique<Router>(cluster.io, cluster.broker, cluster.port_a, cluster.members);
  ASSERT_TRUE(cluster.until([&] { return Cluster::owned(cluster.a) == share; }));
  EXPECT_EQ(Cluster::owned(cluster.b), kPartitions);  // make before break
  ASSERT_TRUE(cluster.settled());
}

TEST(RouterService, stopping_hands_over_before_the_streams_end) {
  Cluster cluster;
  ASSERT_TRUE(cluster.settled());
  Gateway at_a(cluster.port_a);
  ASSERT_TRUE(cluster.until([&] { return at_a.get([&] { return at_a.confirmed; }) == 1; }));
  bool stopped = false;
  cluster.a->service->stop([&] { stopped = true; });
  EXPECT_FALSE(cluster.a->health.unready().empty());
  ASSERT_TRUE(cluster.until([&] { return Cluster::owned(cluster.b) == kPartitions; }));
  EXPECT_FALSE(stopped);
  EXPECT_FALSE(at_a.get([&] { return at_a.ended; }));
  ASSERT_TRUE(cluster.until([&] { return stopped; }));
  cluster.a.reset();
  ASSERT_TRUE(cluster.until([&] { return at_a.get([&] { return at_a.ended; }); }));
}

// R13: its positions and events belong to other offsets.
TEST(RouterService, nothing_is_taken_over_while_postgresql_holds_the_fold_of_another_log) {
  Cluster cluster(2, "another");
  EXPECT_FALSE(cluster.until([&] { return Cluster::owned(cluster.a) + Cluster::owned(cluster.b) > 0; }, 1'500ms));
  EXPECT_FALSE(cluster.a->health.unready().empty());
  for (Router* router : {cluster.a.get(), cluster.b.get()}) router->reader.holds = store::Identity{"topic", kPartitions};
  EXPECT_TRUE(cluster.settled());
  EXPECT_TRUE(cluster.until([&] { return cluster.a->health.unready().empty(); }));
}

TEST(RouterService, a_log_that_was_trimmed_is_followed_from_its_begin) {
  Cluster cluster;
  cluster.broker.set_available(false);  // takeovers ask in vain
  cluster.write_everywhere();
  for (std::uint32_t p = 0; p < kPartitions; ++p) cluster.broker.trim({p}, {1});
  EXPECT_FALSE(cluster.until([&] { return Cluster::owned(cluster.a) > 0; }, 600ms));
  cluster.broker.set_available(true);
  ASSERT_TRUE(cluster.settled());
  ASSERT_TRUE(cluster.until([&] { return cluster.a->log.reading() + cluster.b->log.reading() == kPartitions; }));
  EXPECT_EQ(cluster.a->service->stats().records + cluster.b->service->stats().records, 0u);
}

}  // namespace
}  // namespace parley::router
