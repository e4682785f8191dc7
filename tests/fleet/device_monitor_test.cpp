#include "fleet/device_monitor.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "support/temporary_folder.h"

namespace backlot {
namespace {

void write(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path) << text << "\n";
}

TEST(ProcessorTemperature, IsThatOfTheHottestSensorInAProcessor) {
  TemporaryFolder sys;
  EXPECT_FALSE(processor_temperature(sys.path()));
  write(sys / "thermal/thermal_zone0/type", "x86_pkg_temp");
  write(sys / "thermal/thermal_zone0/temp", "41000");
  EXPECT_EQ(processor_temperature(sys.path()), 41);
  write(sys / "hwmon/hwmon0/name", "nvme");
  write(sys / "hwmon/hwmon0/temp1_input", "90000");
  write(sys / "hwmon/hwmon1/name", "coretemp");
  write(sys / "hwmon/hwmon1/temp1_input", "55500");
  write(sys / "hwmon/hwmon1/temp2_input", "57250");
  write(sys / "hwmon/hwmon1/temp3_input", "nonsense");
  write(sys / "hwmon/hwmon1/temp4_label", "99000");
  EXPECT_EQ(processor_temperature(sys.path()), 57.25);
}

TEST(DeviceMonitor, ReadsTheProcessorAgainAndAgain) {
  DeviceMonitor monitor;
  EXPECT_EQ(monitor.find("cpu"), nullptr);
  EXPECT_FALSE(monitor.read()[0].utilisation);
  const Device* cpu = monitor.find("cpu");
  ASSERT_NE(cpu, nullptr);
  EXPECT_GT(cpu->memory_bytes, 0u);
  EXPECT_TRUE(cpu->load);
  for (volatile int64_t i = 0; i < 100'000'000; i = i + 1) {
  }
  monitor.read();
  // A clock tick has passed, if only just.
  if (const auto busy = monitor.find("cpu")->utilisation) {
    EXPECT_GE(*busy, 0);
    EXPECT_LE(*busy, 1);
  }
  EXPECT_EQ(monitor.find("cuda:77"), nullptr);
}

TEST(ProcessMemory, IsThatOfTheProcess) {
  const ProcessMemory mine = process_memory(::getpid());
  EXPECT_GT(mine.resident_bytes, uint64_t{1} << 20);
  EXPECT_GE(mine.peak_bytes, mine.resident_bytes);
  EXPECT_EQ(process_memory(-1).resident_bytes, 0u);
}

}  // namespace
}  // namespace backlot
