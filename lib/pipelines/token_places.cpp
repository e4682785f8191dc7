#include "pipelines/token_places.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>

namespace backlot {
namespace {

int64_t slot_of(const TokenRun& run, int64_t place, int64_t block_tokens) {
  return run.blocks[place / block_tokens] * block_tokens + place % block_tokens;
}

int64_t length_of(const TokenRun& run) {
  return run.position + static_cast<int64_t>(run.tokens.size());
}

std::vector<int64_t> slots_of(const TokenRun& run, int64_t block_tokens) {
  std::vector<int64_t> slots(length_of(run));
  for (int64_t place = 0; place < length_of(run); ++place)
    slots[place] = slot_of(run, place, block_tokens);
  return slots;
}

// The runs of one token, each with the slots of its whole sequence.
void place_singles(std::span<const TokenRun> runs, std::span<const size_t> singles,
                   int64_t block_tokens, at::Device device, TokenPlaces& places) {
  int64_t longest = 0;
  for (const size_t i : singles) longest = std::max(longest, length_of(runs[i]));
  const auto count = static_cast<int64_t>(singles.size());
  std::vector<int64_t> slots(count * longest), lengths;
  for (int64_t row = 0; row < count; ++row) {
    const auto of_run = slots_of(runs[singles[row]], block_tokens);
    const auto begin = slots.begin() + row * longest;
    // Padding is a place of its own: what is no number elsewhere would come through the mask.
    std::fill(std::copy(of_run.begin(), of_run.end(), begin), begin + longest, of_run.front());
    lengths.push_back(static_cast<int64_t>(of_run.size()));
  }
  places.singles = count;
  places.single_slots = at::tensor(slots).view({count, longest}).to(device);
  places.single_mask = at::arange(longest)
                           .unsqueeze(0)
                           .lt(at::tensor(lengths).unsqueeze(1))
                           .view({count, 1, 1, longest})
                           .to(device);
}

}  // namespace

TokenPass make_token_pass(std::span<const TokenRun> runs, int64_t block_tokens, at::Device device) {
  std::vector<size_t> order(runs.size());
  std::iota(order.begin(), order.end(), 0);
  const auto first_longer = std::stable_partition(
      order.begin(), order.end(), [&](size_t i) { return runs[i].tokens.size() == 1; });
  const std::span singles(order.begin(), first_longer);

  TokenPass pass;
  pass.last_rows.resize(runs.size());
  std::vector<int64_t> ids, positions, slots;
  for (const size_t i : order) {
    const TokenRun& run = runs[i];
    const auto begin = static_cast<int64_t>(ids.size());
    for (size_t k = 0; k < run.tokens.size(); ++k) {
      const int64_t place = run.position + static_cast<int64_t>(k);
      ids.push_back(run.tokens[k]);
      positions.push_back(place);
      slots.push_back(slot_of(run, place, block_tokens));
    }
    pass.last_rows[i] = static_cast<int64_t>(ids.size()) - 1;
    if (run.tokens.size() > 1)
      pass.places.runs.push_back({begin, static_cast<int64_t>(run.tokens.size()), run.position,
                                  at::tensor(slots_of(run, block_tokens)).to(device)});
  }
  pass.ids = at::tensor(ids).to(device);
  pass.places.positions = at::tensor(positions).to(device);
  pass.places.slots = at::tensor(slots).to(device);
  if (!singles.empty()) place_singles(runs, singles, block_tokens, device, pass.places);
  return pass;
}

}  // namespace backlot
