#include "runtime/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <map>

#include "runtime/config.h"

namespace parley::runtime {
namespace {

std::map<std::string, std::string> to_map(const Labels& labels) { return {labels.begin(), labels.end()}; }

std::string_view name(Stage stage) {
  static constexpr std::string_view kNames[] = {"accept", "log", "fold", "dispatch", "deliver", "persist"};
  return kNames[static_cast<int>(stage)];
}

}  // namespace

void Counter::add(double amount) const { counter_->Increment(amount); }
double Counter::value() const { return counter_->Value(); }
void Gauge::set(double value) const { gauge_->Set(value); }
void Gauge::add(double amount) const { gauge_->Increment(amount); }
double Gauge::value() const { return gauge_->Value(); }
void Histogram::observe(double value) const { histogram_->Observe(value); }

Metrics::Metrics(std::string_view role, std::string_view instance)
    : registry_(std::make_unique<prometheus::Registry>(prometheus::Registry::InsertBehavior::Merge)) {
  gauge("parley_build_info", "Constant 1; the labels tell what runs.",
        {{"role", std::string(role)}, {"instance", std::string(instance)}, {"version", std::string(version())}})
      .set(1);
}

Metrics::~Metrics() = default;

Counter Metrics::counter(std::string_view name, std::string_view help, const Labels& labels) {
  return Counter(prometheus::BuildCounter().Name(std::string(name)).Help(std::string(help)).Register(*registry_).Add(to_map(labels)));
}

Gauge Metrics::gauge(std::string_view name, std::string_view help, const Labels& labels) {
  return Gauge(prometheus::BuildGauge().Name(std::string(name)).Help(std::string(help)).Register(*registry_).Add(to_map(labels)));
}

Histogram Metrics::histogram(std::string_view name, std::string_view help, const std::vector<double>& bounds, const Labels& labels) {
  return Histogram(prometheus::BuildHistogram().Name(std::string(name)).Help(std::string(help)).Register(*registry_).Add(to_map(labels), bounds));
}

Histogram Metrics::stage(Stage stage) {
  return histogram("parley_message_stage_seconds", "Time a message spends in each stage of its way.", latency_bounds(), {{"stage", std::string(name(stage))}});
}

std::string Metrics::exposition() const { return prometheus::TextSerializer().Serialize(registry_->Collect()); }

std::vector<double> Metrics::latency_bounds() {
  return {0.000'25, 0.000'5, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1, 2.5, 5, 10};
}

}  // namespace parley::runtime
