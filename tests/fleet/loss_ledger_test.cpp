#include "fleet/loss_ledger.h"

#include <gtest/gtest.h>

#include <limits>

#include "fleet/batching.h"

namespace backlot {
namespace {

Item item(const std::string& id, int64_t width = 64) {
  Item item;
  item.id = id;
  item.model = "/models/m";
  item.parameters = {{"width", width}, {"height", 64}};
  return item;
}

Loss crash(const std::string& worker) {
  Loss loss;
  loss.worker = worker;
  loss.reason = "ended by signal 11 (Segmentation fault)";
  return loss;
}

Loss killed() {
  Loss loss;
  loss.worker = "cpu-0";
  loss.reason = "ended by signal 9 (Killed)";
  loss.own_fault = false;
  return loss;
}

Loss out_of_memory() {
  Loss loss = crash("cuda:0");
  loss.reason = "was ended for want of memory";
  loss.out_of_memory = true;
  return loss;
}

TEST(LossLedger, ASecondWorkerEndedGivesAnItemUp) {
  LossLedger ledger(5);
  const Item bad = item("bad");
  EXPECT_TRUE(ledger.lost({&bad}, crash("cpu-0")).empty());
  EXPECT_TRUE(ledger.try_elsewhere("bad", "cpu-0", 2));
  EXPECT_FALSE(ledger.try_elsewhere("bad", "cpu-0", 1)) << "there is nowhere else";
  EXPECT_FALSE(ledger.try_elsewhere("bad", "cpu-1", 2));
  const auto given_up = ledger.lost({&bad}, crash("cpu-1"));
  ASSERT_EQ(given_up.size(), 1u);
  EXPECT_EQ(given_up[0].item, &bad);
  EXPECT_EQ(given_up[0].reason,
            "ended two workers: cpu-0 ended by signal 11 (Segmentation fault), then cpu-1 ended by "
            "signal 11 (Segmentation fault)");
}

TEST(LossLedger, SuspectsAreThoseThatWereInHand) {
  LossLedger ledger(5);
  const Item bad = item("bad"), beside = item("beside");
  EXPECT_TRUE(ledger.lost({&bad, &beside}, crash("cpu-0")).empty());
  EXPECT_TRUE(ledger.suspect("bad"));
  EXPECT_TRUE(ledger.suspect("beside"));
  EXPECT_FALSE(ledger.suspect("elsewhere"));
  ledger.forget("beside");
  EXPECT_FALSE(ledger.suspect("beside"));
}

TEST(LossLedger, BeingKilledFromOutsideIsBoundedByAttemptsAlone) {
  LossLedger ledger(3);
  const Item one = item("one");
  EXPECT_TRUE(ledger.lost({&one}, killed()).empty());
  EXPECT_TRUE(ledger.suspect("one")) << "what is killed again and again must not cost others";
  EXPECT_TRUE(ledger.lost({&one}, killed()).empty());
  const auto given_up = ledger.lost({&one}, killed());
  ASSERT_EQ(given_up.size(), 1u);
  EXPECT_EQ(given_up[0].reason,
            "its worker ended at each of 3 attempts; the last: cpu-0 ended by signal 9 (Killed)");
}

TEST(LossLedger, OneAttemptIsOne) {
  LossLedger ledger(1);
  const Item one = item("one");
  ASSERT_EQ(ledger.lost({&one}, killed()).size(), 1u);
}

TEST(LossLedger, MemoryRunningOutHalvesTheBatchUntilEachIsAlone) {
  LossLedger ledger(1);
  const Item items[] = {item("0"), item("1"), item("2"), item("3")};
  const std::string key = batch_key(items[0]);
  EXPECT_EQ(ledger.most_together(key), std::numeric_limits<int64_t>::max());
  const std::vector<const Item*> four{&items[0], &items[1], &items[2], &items[3]};
  EXPECT_TRUE(ledger.lost(four, out_of_memory()).empty());
  EXPECT_EQ(ledger.most_together(key), 2);
  EXPECT_FALSE(ledger.suspect("0"));
  // Two in work beside two that were being written.
  EXPECT_TRUE(ledger.lost(four, out_of_memory()).empty());
  EXPECT_EQ(ledger.most_together(key), 1);
  EXPECT_TRUE(ledger.suspect("0"));
  ASSERT_EQ(ledger.lost({&items[0]}, out_of_memory()).size(), 1u);
}

TEST(LossLedger, LimitsAreOfOneBatchKey) {
  LossLedger ledger(3);
  const Item a = item("a"), b = item("b"), wide = item("wide", 512);
  EXPECT_TRUE(ledger.lost({&a, &b, &wide}, out_of_memory()).empty());
  EXPECT_EQ(ledger.most_together(batch_key(a)), 1);
  EXPECT_EQ(ledger.most_together(batch_key(wide)), 1);
  EXPECT_EQ(ledger.most_together(batch_key(item("wider", 1024))),
            std::numeric_limits<int64_t>::max());
}

}  // namespace
}  // namespace backlot
