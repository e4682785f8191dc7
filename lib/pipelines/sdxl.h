// Text to picture with Stable Diffusion XL and its distilled relatives.
//
// Reference: StableDiffusionXLPipeline of diffusers 0.42.1; on the CPU in float32 pictures differ
// from its by at most 1/255.
#pragma once

#include <c10/core/Device.h>

#include <memory>

#include "engine/engine.h"

namespace backlot {

// Reads the model onto the device. Throws LoadError: not an SDXL model, or networks that don't
// agree with their files or with each other; OutOfMemory.
std::unique_ptr<ImagePipeline> load_sdxl(const PipelineOptions& options, at::Device device,
                                         Progress& progress);

}  // namespace backlot
