#include "runtime/metrics.h"

#include <gtest/gtest.h>

#include <stdexcept>

namespace parley::runtime {
namespace {

bool contains(const std::string& text, std::string_view line) { return text.find(line) != std::string::npos; }

TEST(Metrics, ExposesWhatWasCounted) {
  Metrics metrics("gateway", "gateway-0");
  metrics.counter("parley_log_produced_total", "Records.", {{"outcome", "ok"}}).add();
  metrics.counter("parley_log_produced_total", "Records.", {{"outcome", "ok"}}).add(2);
  metrics.counter("parley_log_produced_total", "Records.", {{"outcome", "failed"}}).add();
  auto connections = metrics.gauge("parley_gateway_connections", "Sockets.");
  connections.set(5);
  connections.add(-2);
  metrics.stage(Stage::fold).observe(0.003);
  auto text = metrics.exposition();
  EXPECT_TRUE(contains(text, "parley_log_produced_total{outcome=\"ok\"} 3\n")) << text;
  EXPECT_TRUE(contains(text, "parley_log_produced_total{outcome=\"failed\"} 1\n")) << text;
  EXPECT_TRUE(contains(text, "parley_gateway_connections 3\n")) << text;
  EXPECT_TRUE(contains(text, "# TYPE parley_message_stage_seconds histogram\n")) << text;
  EXPECT_TRUE(contains(text, "parley_message_stage_seconds_bucket{stage=\"fold\",le=\"0.002\"} 0\n")) << text;
  EXPECT_TRUE(contains(text, "parley_message_stage_seconds_bucket{stage=\"fold\",le=\"0.004\"} 1\n")) << text;
  EXPECT_TRUE(contains(text, "parley_build_info{instance=\"gateway-0\",role=\"gateway\",version=\"")) << text;
}

TEST(Metrics, OneNameHasOneKind) {
  Metrics metrics("test", "");
  metrics.counter("parley_x", "");
  EXPECT_THROW(metrics.gauge("parley_x", ""), std::invalid_argument);
}

}  // namespace
}  // namespace parley::runtime
