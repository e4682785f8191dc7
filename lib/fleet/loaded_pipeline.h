// The pipeline that was loaded last, of pictures or of videos, kept for the next run that needs the
// same one: a model's weights take longer to load than many pictures to make.
#pragma once

#include <memory>
#include <string>

#include "engine/engine.h"
#include "engine/video.h"

namespace backlot {

class LoadedPipeline {
 public:
  explicit LoadedPipeline(Engine& engine) : engine_(engine) {}

  Engine& engine() const { return engine_; }

  // `key` says all that a pipeline is loaded by, its files' contents too.
  bool holds(const std::string& key) const { return (pipeline_ || video_) && key == key_; }

  ImagePipeline& held() const { return *pipeline_; }
  VideoPipeline& held_video() const { return *video_; }

  // Gives its memory back.
  void drop() {
    pipeline_.reset();
    video_.reset();
  }

  // The one held, or a new one in its place: two need not fit into memory at once. Throws as
  // Engine::load_image_pipeline does.
  ImagePipeline& get(const std::string& key, const PipelineOptions& options, Progress& progress) {
    if (!holds(key)) {
      drop();
      pipeline_ = engine_.load_image_pipeline(options, progress);
      key_ = key;
    }
    return *pipeline_;
  }

  // The same of videos. Their keys are others than those of pictures.
  VideoPipeline& get_video(const std::string& key, const VideoPipelineOptions& options,
                           Progress& progress) {
    if (!holds(key)) {
      drop();
      video_ = engine_.load_video_pipeline(options, progress);
      key_ = key;
    }
    return *video_;
  }

 private:
  Engine& engine_;
  std::string key_;
  std::unique_ptr<ImagePipeline> pipeline_;  // or
  std::unique_ptr<VideoPipeline> video_;
};

}  // namespace backlot
