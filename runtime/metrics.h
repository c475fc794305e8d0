// Metrics of one process: counters, gauges and histograms in the Prometheus text format.
//
//   struct LogMetrics {   // one object per component, with verbs
//     explicit LogMetrics(runtime::Metrics& m) : produced(m.counter("parley_log_produced_total", "Records accepted by the log.")) {}
//     runtime::Counter produced;
//   };
//
// Prefix parley_, base units (seconds, bytes); ids are never labels. A handle is a pointer, its verbs are one atomic operation each and may
// be used by any thread; make handles at start, never on a hot path. Metrics outlives its handles.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace prometheus {
class Counter;
class Gauge;
class Histogram;
class Registry;
}  // namespace prometheus

namespace parley::runtime {

using Labels = std::vector<std::pair<std::string, std::string>>;

class Counter {
 public:
  explicit Counter(prometheus::Counter& counter) : counter_(&counter) {}
  void add(double amount = 1) const;
  double value() const;

 private:
  prometheus::Counter* counter_;
};

class Gauge {
 public:
  explicit Gauge(prometheus::Gauge& gauge) : gauge_(&gauge) {}
  void set(double value) const;
  void add(double amount) const;
  double value() const;

 private:
  prometheus::Gauge* gauge_;
};

class Histogram {
 public:
  explicit Histogram(prometheus::Histogram& histogram) : histogram_(&histogram) {}
  void observe(double value) const;

 private:
  prometheus::Histogram* histogram_;
};

// The way of one message; the stages' names are those of ARCHITECTURE.md.
enum class Stage : unsigned char { accept, log, fold, dispatch, deliver, persist };

class Metrics {
 public:
  // `role` and `instance` are on parley_build_info only: Prometheus adds its own target labels to the rest.
  Metrics(std::string_view role, std::string_view instance);
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  // The same name and labels again give the same metric; the same name with another kind throws std::invalid_argument.
  Counter counter(std::string_view name, std::string_view help, const Labels& labels = {});
  Gauge gauge(std::string_view name, std::string_view help, const Labels& labels = {});
  // Upper bounds, ascending.
  Histogram histogram(std::string_view name, std::string_view help, const std::vector<double>& bounds, const Labels& labels = {});

  // parley_message_stage_seconds{stage}
  Histogram stage(Stage stage);

  std::string exposition() const;  // Prometheus text format 0.0.4

  static std::vector<double> latency_bounds();  // 250 us to 10 s

 private:
  std::unique_ptr<prometheus::Registry> registry_;
};

}  // namespace parley::runtime
