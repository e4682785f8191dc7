// A share of a plan: shard K of N makes every N-th item, from the K-th on.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "spec/item.h"

namespace backlot {

struct Shard {
  int64_t index = 1;  // K, from 1
  int64_t count = 1;  // N
  bool operator==(const Shard&) const = default;

  // Neighbours in a plan cost alike (sizes and steps vary from job to job), so taking turns shares
  // the work evenly without knowing its cost.
  bool owns(const Item& item) const { return item.index % count == index - 1; }
};

// "K/N", e.g. "2/8". Throws UsageError with `where` ("--shard").
Shard parse_shard(std::string_view text, std::string_view where);

std::string to_string(const Shard& shard);  // "2/8"

// What its files in journal/ are called: "shard-2-of-8".
std::string file_name_of(const Shard& shard);

}  // namespace backlot
