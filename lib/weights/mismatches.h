// What does not agree between a checkpoint and a model, said all at once. No LibTorch here.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace backlot {

struct Mismatches {
  std::vector<std::string> misshapen, missing, unused;

  bool empty() const { return misshapen.empty() && missing.empty() && unused.empty(); }

  // "3 tensors do not match the model: 1 missing (…); …": the first few of each kind, with counts.
  std::string text() const;
};

}  // namespace backlot
