#include "fleet/batching.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <set>

namespace backlot {
namespace {

Item item(int64_t index, const std::string& model, int64_t width, double guidance) {
  Item out;
  out.index = index;
  out.model = model;
  out.parameters = Json{
      {"prompt", "p"}, {"width", width}, {"height", 64}, {"steps", 4}, {"guidance_scale", guidance},
      {"seed", index}};
  return out;
}

TEST(GroupItems, KeepsModelsLoadedAndShapesTogether) {
  const std::vector<Item> items{item(0, "a", 64, 5), item(1, "b", 64, 5), item(2, "a", 128, 5),
                                item(3, "a", 64, 7), item(4, "a", 64, 1)};
  std::vector<const Item*> pointers;
  for (const auto& each : items) pointers.push_back(&each);
  const auto groups = group_items(pointers);
  ASSERT_EQ(groups.size(), 2u);
  ASSERT_EQ(groups[0].batches.size(), 3u);
  // Scales may differ within a batch; guidance on and off may not.
  EXPECT_EQ(groups[0].batches[0].items, (std::vector<const Item*>{&items[0], &items[3]}));
  EXPECT_EQ(groups[0].batches[1].items, (std::vector<const Item*>{&items[2]}));
  EXPECT_EQ(groups[0].batches[2].items, (std::vector<const Item*>{&items[4]}));
  EXPECT_EQ(groups[1].batches[0].items, (std::vector<const Item*>{&items[1]}));
}

TEST(GroupItems, ABatchSharesItsCache) {
  std::vector<Item> items{item(0, "a", 64, 5), item(1, "a", 64, 5), item(2, "a", 64, 5)};
  items[1].parameters["cache"] = 2;
  const auto groups = group_items({&items[0], &items[1], &items[2]});
  ASSERT_EQ(groups.size(), 1u);
  ASSERT_EQ(groups[0].batches.size(), 2u);
  EXPECT_EQ(groups[0].batches[1].items, (std::vector<const Item*>{&items[1]}));
}

TEST(GroupItems, HoldsEveryItemOnce) {
  EXPECT_TRUE(rc::check([](const std::vector<uint8_t>& draws) {
    std::vector<Item> items;
    for (size_t i = 0; i < draws.size(); ++i)
      items.push_back(item(static_cast<int64_t>(i), draws[i] & 1 ? "a" : "b",
                           draws[i] & 2 ? 64 : 128, draws[i] & 4 ? 1 : 5));
    std::vector<const Item*> pointers;
    for (const auto& each : items) pointers.push_back(&each);
    std::set<const Item*> seen;
    size_t count = 0;
    for (const auto& group : group_items(pointers))
      for (const auto& batch : group.batches)
        for (const Item* each : batch.items) {
          RC_ASSERT(batch_key(*each) == batch_key(*batch.items.front()));
          seen.insert(each);
          ++count;
        }
    RC_ASSERT(seen.size() == items.size());
    RC_ASSERT(count == items.size());
  }));
}

}  // namespace
}  // namespace backlot
