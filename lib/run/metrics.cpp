#include "run/metrics.h"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <limits>
#include <vector>

#include "run/manifest.h"
#include "run/stage_seconds.h"

namespace backlot {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;

// Done items' seconds in one stage.
ClientMetric::Histogram histogram_of(std::span<const Record> records, const Stage& stage) {
  ClientMetric::Histogram histogram;
  for (const double bound : stage_seconds_bounds) histogram.bucket.push_back({0, bound});
  histogram.bucket.push_back({0, std::numeric_limits<double>::infinity()});
  for (const auto& record : records) {
    if (record.status != ItemStatus::done) continue;
    const double seconds = record.attempt.*stage.seconds;
    ++histogram.sample_count;
    histogram.sample_sum += seconds;
    for (auto& bucket : histogram.bucket)
      if (seconds <= bucket.upper_bound) ++bucket.cumulative_count;
  }
  return histogram;
}

class Families {
 public:
  explicit Families(std::string run_name) : run_name_(std::move(run_name)) {}

  ClientMetric& add(const char* name, const char* help, MetricType type, Labels labels = {}) {
    if (families_.empty() || families_.back().name != name)
      families_.push_back({.name = name, .help = help, .type = type});
    ClientMetric& metric = families_.back().metric.emplace_back();
    metric.label = std::move(labels);
    metric.label.push_back({"run", run_name_});
    return metric;
  }

  std::string text() const { return prometheus::TextSerializer().Serialize(families_); }

 private:
  std::string run_name_;
  std::vector<MetricFamily> families_;
};

}  // namespace

std::string metrics_text(const std::string& run_name, std::span<const Record> records) {
  const Totals totals = totals_of(records);
  int64_t attempts = 0;
  for (const auto& record : records) attempts += record.attempts;

  Families families(run_name);
  const auto gauge = [&](const char* status, int64_t count) {
    families
        .add("backlot_items", "Items of the run's plan by status.", MetricType::Gauge,
             {{"status", status}})
        .gauge.value = static_cast<double>(count);
  };
  gauge("done", totals.done);
  gauge("failed", totals.failed);
  gauge("pending", totals.pending);
  families
      .add("backlot_attempts_total", "Tries to make an item, over all starts of the run.",
           MetricType::Counter)
      .counter.value = static_cast<double>(attempts);
  families.add("backlot_output_bytes_total", "Bytes of finished outputs.", MetricType::Counter)
      .counter.value = static_cast<double>(totals.bytes);
  for (const Stage& stage : stages)
    families
        .add("backlot_item_seconds", "Seconds a finished item took, by stage.",
             MetricType::Histogram, {{"stage", stage.name}})
        .histogram = histogram_of(records, stage);
  return families.text();
}

}  // namespace backlot
