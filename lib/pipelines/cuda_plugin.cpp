#include "pipelines/cuda_plugin.h"

#include <dlfcn.h>

#include <cstdlib>
#include <string>

#include "base/error.h"
#include "cuda/plugin.h"

namespace backlot {

std::unique_ptr<GraphRecorder> make_graph_recorder(at::Device device) {
  if (!device.is_cuda()) return nullptr;
  const char* variable = std::getenv("BACKLOT_CUDA_GRAPHS");
  const std::string wish = variable ? variable : "";
  if (!wish.empty() && wish != "0" && wish != "1") {
    throw EnvironmentError("BACKLOT_CUDA_GRAPHS=" + wish, "is neither 0 nor 1",
                           "use 0 to do without CUDA graphs, or unset the variable");
  }
  if (wish == "0") return nullptr;
  // The loader has made the plugin's names visible to everyone.
  const auto make =
      reinterpret_cast<MakeGraphRecorder>(::dlsym(RTLD_DEFAULT, make_graph_recorder_name));
  return make ? std::unique_ptr<GraphRecorder>(make(device.index())) : nullptr;
}

}  // namespace backlot
