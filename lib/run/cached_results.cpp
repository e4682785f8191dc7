#include "run/cached_results.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "run/in_parallel.h"

namespace backlot {
namespace {

// Outputs that are flushed together: enough to share the waiting, few enough for the limit of open
// files (a writer has two) and for the memory that they take.
constexpr size_t most_together = 256;
constexpr uint64_t most_bytes_together = uint64_t{64} << 20;

std::optional<CachedOutput> look_up(ResultCache& cache, const Item& item,
                                    const OutputSettings& output, std::span<const MadeWith> ways) {
  for (const auto& way : ways)
    if (auto found = cache.get(cache_key(item, output, way, cache.version()))) return found;
  return std::nullopt;
}

}  // namespace

int64_t take_from_cache(RunFolder& folder, const OutputSettings& output, ResultCache& cache,
                        std::span<const MadeWith> ways, const LookedUp& looked_up,
                        const std::function<bool()>& stop) {
  int64_t taken = 0;
  std::vector<RunFolder::Finished> batch;
  uint64_t bytes = 0;
  const auto write = [&] {
    std::vector<const Item*> items;
    for (const auto& each : batch) items.push_back(each.item);
    const auto records = folder.write_done(std::exchange(batch, {}));
    bytes = 0;
    taken += std::ssize(items);
    for (size_t i = 0; i < items.size(); ++i) looked_up(*items[i], &records[i]);
  };

  const auto pending = folder.pending();
  for (size_t at = 0; at < pending.size() && !stop();) {
    const size_t count = std::min(pending.size() - at, 4 * usual_threads());
    std::vector<std::optional<CachedOutput>> found(count);
    in_parallel(count,
                [&](size_t i) { found[i] = look_up(cache, *pending[at + i], output, ways); });
    for (size_t i = 0; i < count; ++i) {
      if (!found[i]) {
        looked_up(*pending[at + i], nullptr);
        continue;
      }
      bytes += found[i]->bytes.size();
      RunFolder::Finished finished;
      finished.item = pending[at + i];
      finished.bytes = std::move(found[i]->bytes);
      finished.sha256 = std::move(found[i]->sha256);
      finished.width = found[i]->width;
      finished.height = found[i]->height;
      finished.attempt = std::move(found[i]->attempt);
      finished.clip = std::move(found[i]->clip);
      batch.push_back(std::move(finished));
    }
    at += count;
    if (batch.size() >= most_together || bytes >= most_bytes_together) write();
  }
  if (!batch.empty()) write();
  // What puts would do; a run that only takes has none.
  cache.hold_limits();
  return taken;
}

}  // namespace backlot
