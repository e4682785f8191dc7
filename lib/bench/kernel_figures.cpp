#include "bench/kernel_figures.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "bench/tables.h"

namespace backlot {
namespace {

std::string network_of(const BenchCase& each) {
  const std::string kernel = each.parameters.value("kernel", "");
  return kernel.substr(0, kernel.find('/'));
}

// Kernels of one evaluation of one network, in one setting.
std::string evaluation_of(const BenchCase& each) {
  return each.parameters.value("setting", "") + '/' + network_of(each);
}

double total_seconds(const BenchCase& each) {
  return each.parameters.value("calls", 0.0) * each.summary().median;
}

}  // namespace

void add_roofline_figures(BenchCase& each, const KernelFigure& kernel,
                          const MeasuredCeiling& ceiling) {
  const double seconds = each.summary().median;
  if (seconds <= 0) return;
  each.figures["flops_per_second"] = kernel.flops / seconds;
  each.figures["bytes_per_second"] = kernel.bytes / seconds;
  if (kernel.bytes > 0) each.figures["flops_per_byte"] = kernel.flops / kernel.bytes;
  if (ceiling.flops_per_second <= 0 || ceiling.bytes_per_second <= 0) return;
  // The least time that either ceiling allows; the longer one binds.
  const double arithmetic = kernel.flops / ceiling.flops_per_second;
  const double traffic = kernel.bytes / ceiling.bytes_per_second;
  each.figures["of_ceiling"] = std::max(arithmetic, traffic) / seconds;
  each.parameters["bound"] = arithmetic > traffic ? "compute" : "memory";
}

void add_shares(std::vector<BenchCase>& cases) {
  std::map<std::string, double> totals;
  for (const auto& each : cases)
    if (each.suite == "kernels") totals[evaluation_of(each)] += total_seconds(each);
  for (auto& each : cases)
    if (each.suite == "kernels" && totals[evaluation_of(each)] > 0)
      each.figures["share"] = total_seconds(each) / totals[evaluation_of(each)];
}

std::vector<KernelRoofline> rooflines(const BenchResults& results) {
  std::vector<KernelRoofline> out;
  for (const auto& each : results.cases) {
    if (each.suite != "kernels" || each.seconds.empty()) continue;
    const auto& p = each.parameters;
    const std::string title = p.value("setting", "");
    auto found = std::ranges::find(out, title, &KernelRoofline::title);
    if (found == out.end()) {
      KernelRoofline roofline{.title = title};
      for (const auto& ceiling : results.ceilings)
        if (ceiling.device == p.value("device", "") && ceiling.dtype == p.value("dtype", ""))
          roofline.ceiling = ceiling;
      found = out.insert(out.end(), std::move(roofline));
    }
    const std::string kernel = p.value("kernel", "");
    found->dots.push_back(
        {.label = kernel.substr(kernel.find('/') + 1),
         .network = network_of(each),
         .flops_per_byte = each.figure("flops_per_byte"),
         .flops_per_second = each.figure("flops_per_second"),
         .share = each.figure("share"),
         .seconds = total_seconds(each),
         .facts = fmt::format("{}, {}: {}, {}FLOP/s, {}B/s, {} of what binds it ({}), "
                              "{:.1f} % of the network's time",
                              kernel, p.value("shape", ""), human_seconds(each.summary().median),
                              human_rate(each.figure("flops_per_second")),
                              human_rate(each.figure("bytes_per_second")),
                              human_share(each.figure("of_ceiling")), p.value("bound", ""),
                              100 * each.figure("share"))});
  }
  return out;
}

std::vector<std::string> engine_filters(const std::vector<std::string>& filters,
                                        std::string_view prefix) {
  std::vector<std::string> out;
  for (const std::string_view filter : filters) {
    if (prefix.find(filter) != std::string_view::npos) return {};
    // The part of the filter that the end of the prefix answers for.
    size_t said = std::min(filter.size(), prefix.size());
    while (said > 0 && !prefix.ends_with(filter.substr(0, said))) --said;
    // Beyond a space comes the shape, which is no part of the name either.
    const std::string rest(filter.substr(said, filter.find(' ') - said));
    if (rest.empty()) return {};
    out.push_back(rest);
  }
  return out;
}

}  // namespace backlot
