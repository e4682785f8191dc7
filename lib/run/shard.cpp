#include "run/shard.h"

#include <fmt/format.h>

#include <charconv>
#include <optional>

#include "base/error.h"

namespace backlot {
namespace {

constexpr int64_t max_shards = 1'000'000;  // a plan has no more items

std::optional<int64_t> count_from(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

Shard parse_shard(std::string_view text, std::string_view where) {
  const auto refuse = [&](std::string what) {
    return UsageError(std::string(where), std::move(what),
                      "write K/N, K from 1 to N: --shard 2/8 is the second of eight");
  };
  const size_t slash = text.find('/');
  const auto index = count_from(text.substr(0, slash));
  const auto count = slash == text.npos ? std::nullopt : count_from(text.substr(slash + 1));
  if (!index || !count) throw refuse(fmt::format("'{}' is no shard", text));
  if (*count < 1 || *count > max_shards)
    throw refuse(
        fmt::format("'{}' splits into {} shards; 1 to {} are possible", text, *count, max_shards));
  if (*index < 1 || *index > *count)
    throw refuse(fmt::format("'{}' names shard {} of {}", text, *index, *count));
  return {.index = *index, .count = *count};
}

std::string to_string(const Shard& shard) { return fmt::format("{}/{}", shard.index, shard.count); }

std::string file_name_of(const Shard& shard) {
  return fmt::format("shard-{}-of-{}", shard.index, shard.count);
}

}  // namespace backlot
