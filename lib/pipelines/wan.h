// Text to video with Wan 2.1, and with the two transformers of Wan 2.2's 14B models.
//
// Reference: WanPipeline of diffusers 0.42.1; on the CPU in float32 frames differ from its by at
// most 1/255.
#pragma once

#include <c10/core/Device.h>

#include <memory>

#include "engine/video.h"

namespace backlot {

// Reads the model onto the device. Throws LoadError: not such a model, or networks that don't agree
// with their files or with each other; OutOfMemory.
std::unique_ptr<VideoPipeline> load_wan(const VideoPipelineOptions& options, at::Device device,
                                        Progress& progress);

}  // namespace backlot
