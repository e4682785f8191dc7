#include "base/units.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <span>

#include "base/text.h"

namespace backlot {
namespace {

struct Unit {
  std::string_view name;
  double worth;
};

constexpr Unit sizes[] = {{"", 1},
                          {"B", 1},
                          {"kB", 1e3},
                          {"KB", 1e3},
                          {"MB", 1e6},
                          {"GB", 1e9},
                          {"TB", 1e12},
                          {"KiB", 1024.0},
                          {"MiB", 1048576.0},
                          {"GiB", 1073741824.0},
                          {"TiB", 1099511627776.0}};
constexpr Unit times[] = {{"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}, {"w", 7 * 86400}};

constexpr double most_bytes = 1e15, most_seconds = 100 * 366 * 86400.0;

// A plain decimal number and one of the units, with or without spaces between.
std::optional<double> parse(std::string_view text, std::span<const Unit> units) {
  const size_t end = std::min(text.find_first_not_of("0123456789."), text.size());
  const std::string_view digits = text.substr(0, end);
  const auto unit = std::ranges::find(units, trim(text.substr(end)), &Unit::name);
  double number = 0;
  const auto [stop, error] = std::from_chars(digits.data(), digits.data() + end, number);
  const bool whole = error == std::errc{} && stop == digits.data() + end;
  if (unit == units.end() || !whole || !std::isfinite(number)) return std::nullopt;
  return number * unit->worth;
}

}  // namespace

std::optional<uint64_t> parse_bytes(std::string_view text) {
  const auto bytes = parse(text, sizes);
  if (!bytes || *bytes < 1 || *bytes > most_bytes) return std::nullopt;
  return static_cast<uint64_t>(std::llround(*bytes));
}

std::optional<double> parse_duration(std::string_view text) {
  const auto seconds = parse(text, times);
  if (!seconds || *seconds <= 0 || *seconds > most_seconds) return std::nullopt;
  return seconds;
}

}  // namespace backlot
