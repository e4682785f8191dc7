// Every format with every codec, written, then looked at by ffprobe and read again.
#include <gtest/gtest.h>
#include <sched.h>

#include <algorithm>
#include <cctype>

#include "base/error.h"
#include "base/files.h"
#include "media/clips.h"
#include "media/pictures.h"
#include "support/temporary_folder.h"

namespace backlot {
namespace {

struct Case {
  VideoFormat format;
  std::string codec;
  int bit_depth = 8;
  int64_t width = 96, height = 64;
  // What ffprobe calls them.
  std::string probed_codec, pixel_format;
};

std::string name_of_case(const testing::TestParamInfo<Case>& info) {
  std::string out = std::string(name_of(info.param.format)) + "_" + info.param.codec + "_" +
                    std::to_string(info.param.bit_depth) + "bit_" +
                    std::to_string(info.param.width);
  std::replace_if(
      out.begin(), out.end(), [](unsigned char c) { return !std::isalnum(c); }, '_');
  return out;
}

constexpr int64_t frames = 9;
const std::string prompt = "a red disc: crossing, \"gradient\" =;# \u00e4\u4e2d";

PictureMetadata some_metadata() {
  return describe_picture({{"parameters", {{"prompt", prompt}, {"seed", 7}, {"steps", 4}}},
                           {"model", {{"path", "pocket-wan"}, {"fingerprint", "0123"}}}});
}

VideoSettings settings_of(const Case& c) {
  VideoSettings out;
  out.format = c.format;
  out.codec = c.codec;
  out.bit_depth = c.bit_depth;
  out.metadata = some_metadata();
  return out;
}

std::string tag(const Json& probed, std::string_view name) {
  const auto tags = probed["format"].find("tags");
  if (tags == probed["format"].end()) return "";
  for (const auto& [key, value] : tags->items()) {
    std::string small = key;
    std::transform(small.begin(), small.end(), small.begin(),
                   [](unsigned char c) { return std::tolower(c); });
    if (small == name) return value.get<std::string>();
  }
  return "";
}

class VideoFormats : public testing::TestWithParam<Case> {
 protected:
  TemporaryFolder folder_;
};

TEST_P(VideoFormats, FfprobeSeesWhatWasAskedFor) {
  if (!has_ffprobe()) GTEST_SKIP() << "no ffprobe here";
  const Case& c = GetParam();
  const fs::path path = folder_ / ("clip." + std::string(file_extension(c.format)));
  const Written written = write_clip(path, frames, c.width, c.height, settings_of(c));
  const Json probed = ffprobe(path);
  ASSERT_TRUE(probed.is_object());
  ASSERT_EQ(probed["streams"].size(), 1u);
  const Json& stream = probed["streams"][0];
  EXPECT_EQ(stream["codec_name"], c.probed_codec);
  EXPECT_EQ(stream["pix_fmt"], c.pixel_format);
  EXPECT_EQ(stream["width"], c.width);
  EXPECT_EQ(stream["height"], c.height);
  EXPECT_EQ(stream["nb_read_frames"], std::to_string(frames));
  EXPECT_NEAR(std::stod(probed["format"]["duration"].get<std::string>()), frames / 16.0,
              c.format == VideoFormat::gif ? 0.011 : 0.0011);
  if (c.format != VideoFormat::gif) {
    EXPECT_EQ(stream["avg_frame_rate"], "16/1");
    EXPECT_EQ(tag(probed, "title"), prompt);
    EXPECT_EQ(tag(probed, "comment"), some_metadata().parameters);
    EXPECT_EQ(Json::parse(tag(probed, "description"))["parameters"]["seed"], 7);
  }
  if (c.pixel_format.starts_with("yuv")) {
    EXPECT_EQ(stream["color_space"], "bt709");
    EXPECT_EQ(stream["color_primaries"], "bt709");
    EXPECT_EQ(stream["color_transfer"], "bt709");
    EXPECT_EQ(stream["color_range"], "tv");
  }
  const bool apple = c.format == VideoFormat::mp4 || c.format == VideoFormat::mov;
  if (apple && c.codec == "h265") {
    EXPECT_EQ(stream["codec_tag_string"], "hvc1");
  }

  EXPECT_EQ(written.bytes, fs::file_size(path));
  EXPECT_EQ(written.frames, frames);
  EXPECT_DOUBLE_EQ(written.seconds, frames / 16.0);
}

TEST_P(VideoFormats, FramesComeBackInTheirColours) {
  const Case& c = GetParam();
  const fs::path path = folder_ / "clip";
  write_clip(path, frames, c.width, c.height, settings_of(c));
  const auto back = frames_of(path);
  ASSERT_EQ(back.size(), static_cast<size_t>(frames));
  for (int64_t i = 0; i < frames; ++i)
    EXPECT_LT(difference(back[i], scene(c.width, c.height, i)), c.codec == "ffv1" ? 1e-9 : 5.0)
        << i;
  // The middle of the disc, where no edge is near: a matrix or range mixed up shows here.
  const Picture made = scene(c.width, c.height, 0);
  const auto middle = static_cast<size_t>(c.height / 2 * c.width + c.width / 4) * 3;
  for (size_t channel = 0; channel < 3; ++channel)
    EXPECT_NEAR(back[0].rgb[middle + channel], made.rgb[middle + channel], 6) << channel;
  // What lies beyond a row is not to be seen in its last pixel.
  const auto last = static_cast<size_t>(c.width) * 3 - 3;
  for (size_t channel = 0; channel < 3; ++channel)
    EXPECT_NEAR(back[0].rgb[last + channel], made.rgb[last + channel], 6) << channel;
  EXPECT_EQ(read_backlot_metadata(path)["parameters"]["prompt"], prompt);
}

// As many encoder threads as there are cores would make other files on other machines.
TEST_P(VideoFormats, SameFramesGiveTheSameBytesOnAnyNumberOfCores) {
  const Case& c = GetParam();
  const auto write = [&](const char* name) {
    return write_clip(folder_ / name, frames, c.width, c.height, settings_of(c)).sha256;
  };
  const std::string first = write("a");
  cpu_set_t all, one;
  ASSERT_EQ(::sched_getaffinity(0, sizeof all, &all), 0);
  CPU_ZERO(&one);
  for (int cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&one) == 0; ++cpu)
    if (CPU_ISSET(cpu, &all)) CPU_SET(cpu, &one);
  ASSERT_EQ(::sched_setaffinity(0, sizeof one, &one), 0);
  const std::string second = write("b");
  ::sched_setaffinity(0, sizeof all, &all);
  EXPECT_EQ(first, second);
  EXPECT_TRUE(read_file(folder_ / "a") == read_file(folder_ / "b"));
}

INSTANTIATE_TEST_SUITE_P(
    All, VideoFormats,
    testing::Values(Case{VideoFormat::mp4, "h264", 8, 96, 64, "h264", "yuv420p"},
                    Case{VideoFormat::mp4, "h264", 10, 96, 64, "h264", "yuv420p10le"},
                    Case{VideoFormat::mp4, "h264", 8, 97, 65, "h264", "yuv444p"},
                    Case{VideoFormat::mp4, "h265", 8, 96, 64, "hevc", "yuv420p"},
                    Case{VideoFormat::mp4, "h265", 10, 96, 64, "hevc", "yuv420p10le"},
                    Case{VideoFormat::mp4, "av1", 8, 96, 64, "av1", "yuv420p"},
                    Case{VideoFormat::mp4, "av1", 10, 96, 64, "av1", "yuv420p10le"},
                    Case{VideoFormat::mp4, "av1", 8, 97, 65, "av1", "yuv444p"},
                    Case{VideoFormat::mp4, "vp9", 8, 96, 64, "vp9", "yuv420p"},
                    Case{VideoFormat::mov, "h264", 8, 96, 64, "h264", "yuv420p"},
                    Case{VideoFormat::mov, "h265", 8, 96, 64, "hevc", "yuv420p"},
                    Case{VideoFormat::mkv, "h264", 8, 96, 64, "h264", "yuv420p"},
                    Case{VideoFormat::mkv, "av1", 8, 96, 64, "av1", "yuv420p"},
                    Case{VideoFormat::mkv, "ffv1", 8, 97, 65, "ffv1", "bgr0"},
                    Case{VideoFormat::webm, "vp9", 8, 96, 64, "vp9", "yuv420p"},
                    Case{VideoFormat::webm, "vp9", 10, 96, 64, "vp9", "yuv420p10le"},
                    Case{VideoFormat::webm, "vp9", 8, 97, 65, "vp9", "yuv444p"},
                    Case{VideoFormat::webm, "av1", 8, 96, 64, "av1", "yuv420p"},
                    Case{VideoFormat::gif, "", 8, 97, 65, "gif", "bgra"}),
    name_of_case);

}  // namespace
}  // namespace backlot
