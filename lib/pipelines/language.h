// Language models behind the upper half's interface (engine/language_model.h).
#pragma once

#include <c10/core/Device.h>

#include <memory>

#include "engine/engine.h"
#include "engine/language_model.h"

namespace backlot {

// Reads the model onto the device. Throws LoadError: not a Qwen2 or Llama model, or weights that
// don't agree with their config; OutOfMemory; EnvironmentError: a quantization that the device
// can't have; UsageError: no such synthetic model.
std::unique_ptr<LanguageModel> load_language_model(const LanguageModelOptions& options,
                                                   at::Device device, Progress& progress);

}  // namespace backlot
