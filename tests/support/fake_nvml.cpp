// NVIDIA's management library as it looks on a machine with one GPU, for machines without.
#include <cstdio>

extern "C" {

int nvmlInit_v2() { return 0; }
int nvmlShutdown() { return 0; }
int nvmlDeviceGetCount_v2(unsigned* count) { return *count = 1, 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void** handle) {
  static char gpu;
  *handle = &gpu;
  return index == 0 ? 0 : 2;
}
int nvmlDeviceGetName(void*, char* name, unsigned size) {
  return std::snprintf(name, size, "Fake H200"), 0;
}
int nvmlDeviceGetMemoryInfo(void*, unsigned long long* total_free_used) {
  total_free_used[0] = 100ull << 30;
  total_free_used[1] = 60ull << 30;
  total_free_used[2] = 40ull << 30;
  return 0;
}
int nvmlDeviceGetTemperature(void*, int sensor, unsigned* celsius) {
  return *celsius = 63, sensor == 0 ? 0 : 2;
}
int nvmlDeviceGetUtilizationRates(void*, unsigned* gpu_memory) {
  gpu_memory[0] = 88;
  gpu_memory[1] = 12;
  return 0;
}
int nvmlSystemGetDriverVersion(char* version, unsigned size) {
  return std::snprintf(version, size, "580.65.06"), 0;
}

}  // extern "C"
