// A clip on its way to the disk: what an item's output settings mean for the writer of videos.
#pragma once

#include <optional>

#include "media/video_writer.h"
#include "run/result_store.h"
#include "spec/item.h"

namespace backlot {

// Whether the item's output is a clip; else it is a picture, by whatever model.
bool makes_clip(const Item& item);

// `fps`: of the item. Without metadata.
VideoSettings video_settings(const OutputSettings& output, double fps);

// Takes the frames of one item, and puts its output in place.
class ClipOutput {
 public:
  // All must outlive it. `metadata`: what the clip says of itself, empty for nothing.
  ClipOutput(const Item& item, const OutputSettings& output, const ResultStore& store,
             PictureMetadata metadata);

  void add(const Picture& frame);

  // The output lies durably in its place, and room for it was taken. Without this nothing remains.
  // Throws as VideoWriter does.
  OutputFile finish();

 private:
  const Item& item_;
  const ResultStore& store_;
  VideoSettings settings_;
  std::optional<VideoWriter> writer_;  // from the first frame on, which says the size
};

}  // namespace backlot
