// How the denoiser is recorded where the device can replay it.
#include <ATen/ATen.h>

#include "pipelines/cuda_plugin.h"
#include "pipelines/sdxl_pipeline.h"

namespace backlot {

SdxlPipeline::SdxlPipeline(SdxlParts parts) : parts_(std::move(parts)), meter_(parts_.device) {
  meter_.drop_idle();
  loaded_ = meter_.held();
  record_with(make_graph_recorder(parts_.device));
}

void SdxlPipeline::record_with(std::unique_ptr<GraphRecorder> recorder) {
  graphs_ =
      recorder ? std::make_unique<StepGraphs>(std::move(recorder), StepGraphs::Limits{}) : nullptr;
}

at::Tensor SdxlPipeline::predict_recorded(const at::Tensor& input,
                                          const UNetConditioning& conditioning, int64_t call,
                                          uint64_t run) const {
  StepGraphs::Tensors constants, inputs = {input};
  for (const auto& text : conditioning.text) {
    constants.push_back(text.k);
    constants.push_back(text.v);
  }
  for (const auto& shift : conditioning.shifts) inputs.push_back(shift.select(0, call));

  const auto network = [this](const StepGraphs::Tensors& constants,
                              const StepGraphs::Tensors& inputs) {
    UNetConditioning now;
    for (size_t i = 0; i < constants.size(); i += 2) {
      now.text.push_back({constants[i], constants[i + 1]});
    }
    for (size_t i = 1; i < inputs.size(); ++i) now.shifts.push_back(inputs[i].unsqueeze(0));
    return parts_.unet(inputs[0], now, 0);
  };
  const StepKey key{.network = "unet",
                    .batch = input.size(0),
                    .height = input.size(2),
                    .width = input.size(3),
                    .text_length = conditioning.text.front().k.size(1),
                    .dtype = parts_.unet.dtype()};
  return (*graphs_)(key, run, constants, inputs, network);
}

}  // namespace backlot
