// The pipeline that was loaded last, kept for the next run that needs the same one: a model's
// weights take longer to load than many pictures to make.
#pragma once

#include <memory>
#include <string>

#include "engine/engine.h"

namespace backlot {

class LoadedPipeline {
 public:
  explicit LoadedPipeline(Engine& engine) : engine_(engine) {}

  Engine& engine() const { return engine_; }

  // `key` says all that a pipeline is loaded by, its files' contents too.
  bool holds(const std::string& key) const { return pipeline_ && key == key_; }

  ImagePipeline& held() const { return *pipeline_; }

  // Gives its memory back.
  void drop() { pipeline_.reset(); }

  // The one held, or a new one in its place: two need not fit into memory at once. Throws as
  // Engine::load_image_pipeline does.
  ImagePipeline& get(const std::string& key, const PipelineOptions& options, Progress& progress) {
    if (!holds(key)) {
      pipeline_.reset();
      pipeline_ = engine_.load_image_pipeline(options, progress);
      key_ = key;
    }
    return *pipeline_;
  }

 private:
  Engine& engine_;
  std::string key_;
  std::unique_ptr<ImagePipeline> pipeline_;
};

}  // namespace backlot
