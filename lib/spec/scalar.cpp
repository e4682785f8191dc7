#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "spec/yaml.h"

namespace backlot {
namespace {

bool all_digits(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

std::string_view without_sign(std::string_view text) {
  if (!text.empty() && (text.front() == '-' || text.front() == '+')) text.remove_prefix(1);
  return text;
}

// [-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?
bool looks_like_real(std::string_view text) {
  text = without_sign(text);
  const size_t exponent = text.find_first_of("eE");
  if (exponent != std::string_view::npos) {
    if (!all_digits(without_sign(text.substr(exponent + 1)))) return false;
    text = text.substr(0, exponent);
  }
  const size_t point = text.find('.');
  if (point == std::string_view::npos) return all_digits(text);
  const auto whole = text.substr(0, point), fraction = text.substr(point + 1);
  return (whole.empty() || all_digits(whole)) && (fraction.empty() || all_digits(fraction)) &&
         !(whole.empty() && fraction.empty());
}

bool is_infinite_or_nan(std::string_view text) {
  if (text == ".nan" || text == ".NaN" || text == ".NAN") return true;
  text = without_sign(text);
  return text == ".inf" || text == ".Inf" || text == ".INF";
}

Json integer(std::string_view text, std::string_view digits, int base) {
  uint64_t magnitude = 0;
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), magnitude, base);
  const bool negative = text.front() == '-';
  if (error != std::errc{} || end != digits.data() + digits.size() ||
      (negative && magnitude > uint64_t{1} << 63))
    throw Problem{fmt::format("the number {} is too large", text.substr(0, 40)),
                  "whole numbers have at most 64 bits"};
  if (negative) return static_cast<int64_t>(-magnitude);
  return magnitude;
}

Json real(std::string_view text) {
  double value = 0;
  const auto digits = text.front() == '+' ? text.substr(1) : text;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  // A tiny number that rounds to zero is out of range too, but harmless; only size matters.
  if (error == std::errc::result_out_of_range) {
    const size_t exponent = text.find_first_of("eE");
    if (exponent != std::string_view::npos && text.substr(exponent + 1).starts_with('-'))
      return 0.0;
  }
  if (error != std::errc{} || !std::isfinite(value))
    throw Problem{fmt::format("the number {} is not finite", text.substr(0, 40)),
                  "give a number of ordinary size"};
  return value;
}

}  // namespace

Json plain_scalar(std::string_view text) {
  if (text.empty() || text == "~" || text == "null" || text == "Null" || text == "NULL")
    return nullptr;
  if (text == "true" || text == "True" || text == "TRUE") return true;
  if (text == "false" || text == "False" || text == "FALSE") return false;
  if (all_digits(without_sign(text))) return integer(text, without_sign(text), 10);
  const auto only = [](std::string_view digits, std::string_view allowed) {
    return !digits.empty() && digits.find_first_not_of(allowed) == std::string_view::npos;
  };
  if (text.starts_with("0o") && only(text.substr(2), "01234567"))
    return integer(text, text.substr(2), 8);
  if (text.starts_with("0x") && only(text.substr(2), "0123456789abcdefABCDEF"))
    return integer(text, text.substr(2), 16);
  if (looks_like_real(text)) return real(text);
  if (is_infinite_or_nan(text))
    throw Problem{fmt::format("{} is not a finite number", text),
                  "give a number of ordinary size, or put text in quotes"};
  return std::string(text);
}

}  // namespace backlot
