// NVIDIA's management library: what its GPUs are and how they fare. The few calls needed, by their
// published C signatures (nvml.h), so that no CUDA toolkit is needed to build and no driver to run.
#pragma once

#include <string>
#include <vector>

#include "fleet/devices.h"

namespace backlot {

class Nvml {
 public:
  Nvml();
  ~Nvml();
  Nvml(const Nvml&) = delete;
  Nvml& operator=(const Nvml&) = delete;

  // None where there is no driver. What a GPU does not report is left out.
  std::vector<Device> devices() const;

 private:
  Device device(unsigned index) const;
  std::string driver() const;
  template <class Signature>
  Signature* function(const char* name) const;

  void* library_;
  bool ready_ = false;
};

}  // namespace backlot
