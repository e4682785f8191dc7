#include "fleet/clip_output.h"

#include <utility>

namespace backlot {
namespace {

double fps_of(const Item& item) { return item.parameters.value("fps", 16.0); }

}  // namespace

bool makes_clip(const Item& item) { return item.parameters.contains("fps"); }

VideoSettings video_settings(const OutputSettings& output, double fps) {
  VideoSettings settings;
  settings.format = video_format(output.format).value();
  settings.codec = output.codec;
  settings.quality = output.quality;
  settings.crf = output.crf;
  settings.max_bytes = output.max_bytes;
  settings.rate = frame_rate(fps);
  settings.bit_depth = output.bit_depth;
  return settings;
}

ClipOutput::ClipOutput(const Item& item, const OutputSettings& output, const ResultStore& store,
                       PictureMetadata metadata)
    : item_(item), store_(store), settings_(video_settings(output, fps_of(item))) {
  settings_.metadata = std::move(metadata);
  settings_.temporary_tag = store.temporary_tag();
}

void ClipOutput::add(const Picture& frame) {
  if (!writer_) writer_.emplace(store_.place_for(item_), frame.width, frame.height, settings_);
  writer_->add(frame);
}

OutputFile ClipOutput::finish() {
  const Written written =
      writer_.value().finish([&](const Written& made) { store_.claim(item_, made.bytes); });
  OutputFile file;
  file.path = item_.output;
  file.sha256 = written.sha256;
  file.bytes = written.bytes;
  file.clip = ClipFacts{written.frames, fps_of(item_), written.codec};
  return file;
}

}  // namespace backlot
