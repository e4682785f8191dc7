#include "media/video_writer.h"

#include <gtest/gtest.h>
#include <sys/mount.h>
#include <webp/demux.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/files.h"
#include "media/clips.h"
#include "media/picture_io.h"
#include "media/pictures.h"
#include "media/quality_search.h"
#include "support/temporary_folder.h"

namespace backlot {
namespace {

VideoSettings settings_for(VideoFormat format, const std::string& codec = "") {
  VideoSettings out;
  out.format = format;
  out.codec = codec;
  return out;
}

size_t entries(const fs::path& folder) {
  return static_cast<size_t>(
      std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

PictureMetadata some_metadata() {
  return describe_picture({{"parameters", {{"prompt", "a red apple"}, {"seed", 7}}}});
}

class Videos : public testing::Test {
 protected:
  TemporaryFolder folder_;
};

TEST(FrameRates, AreTheFractionsThatPeopleMean) {
  const auto as_text = [](double fps) {
    const auto [num, den] = frame_rate(fps);
    return std::to_string(num) + "/" + std::to_string(den);
  };
  EXPECT_EQ(as_text(16), "16/1");
  EXPECT_EQ(as_text(23.976), "24000/1001");
  EXPECT_EQ(as_text(29.97), "30000/1001");
  EXPECT_EQ(as_text(12.5), "25/2");
  EXPECT_EQ(as_text(0.1), "1/10");
  EXPECT_EQ(as_text(-1), "0/1");
}

TEST(VideoSettingsProblems, AreNamedBeforeAnythingIsMade) {
  const auto field = [](const VideoSettings& settings) {
    const auto problem = find_problem(settings);
    if (!problem) return std::string();
    EXPECT_FALSE(problem->mend.empty());
    return problem->field;
  };
  EXPECT_EQ(field(settings_for(VideoFormat::webm)), "");
  EXPECT_EQ(field(settings_for(VideoFormat::webm, "h264")), "codec");
  EXPECT_EQ(field(settings_for(VideoFormat::gif, "h264")), "codec");
  EXPECT_EQ(field(settings_for(VideoFormat::mp4, "ffv1")), "codec");
  EXPECT_EQ(find_problem(settings_for(VideoFormat::mp4, "h26"))->mend, "did you mean 'h264'?");
  VideoSettings deep = settings_for(VideoFormat::gif);
  deep.bit_depth = 10;
  EXPECT_EQ(field(deep), "bit_depth");
  deep.format = VideoFormat::mp4;
  EXPECT_EQ(field(deep), "");
  deep.bit_depth = 12;
  EXPECT_EQ(field(deep), "bit_depth");
  VideoSettings scaled = settings_for(VideoFormat::mp4);
  scaled.crf = 52;
  EXPECT_EQ(field(scaled), "crf");
  scaled.codec = "av1";
  EXPECT_EQ(field(scaled), "");
  scaled = settings_for(VideoFormat::png_sequence);
  scaled.crf = 20;
  EXPECT_EQ(field(scaled), "crf");
  VideoSettings quick = settings_for(VideoFormat::gif);
  quick.rate = {60, 1};
  EXPECT_EQ(field(quick), "fps");
  quick.rate = {0, 1};
  EXPECT_EQ(field(quick), "fps");
  VideoSettings poor = settings_for(VideoFormat::mp4);
  poor.quality = 0;
  EXPECT_EQ(field(poor), "quality");
}

TEST(QualitySearches, FindTheBestThatFitsInFewTries) {
  for (const double halving : {3.0, 6.0, 11.0}) {
    for (const uint64_t most : {900'000u, 100'000u, 12'345u, 2'000u}) {
      const auto size_at = [&](int level) {
        return static_cast<uint64_t>(1'000'000 * std::exp2(-(level - 18) / halving));
      };
      QualitySearch search({18, 51, 6}, most);
      int tries = 0, level = 18;
      std::optional<int> best;
      while (true) {
        ++tries;
        ASSERT_LT(tries, 12);
        const auto next = search.next(size_at(level));
        if (size_at(level) <= most) best = level;
        if (!next) break;
        level = *next;
      }
      std::optional<int> right;
      for (int l = 51; l >= 18; --l)
        if (size_at(l) <= most) right = l;
      EXPECT_EQ(best, right) << halving << " " << most;
      EXPECT_LE(tries, 9);
    }
  }
}

TEST_F(Videos, RatesAreKept) {
  VideoSettings settings = settings_for(VideoFormat::mp4);
  settings.rate = {24000, 1001};
  write_clip(folder_ / "a.mp4", 5, 64, 64, settings);
  const VideoReader reader(folder_ / "a.mp4");
  EXPECT_EQ(reader.facts().rate.num, 24000);
  EXPECT_EQ(reader.facts().rate.den, 1001);
  EXPECT_EQ(reader.facts().frames, 5);
  EXPECT_EQ(reader.facts().codec, "h264");
  EXPECT_NEAR(reader.facts().seconds, 5 * 1001 / 24000.0, 1e-4);
}

TEST_F(Videos, OneFrameIsAVideoToo) {
  for (const auto format : {VideoFormat::mp4, VideoFormat::webm, VideoFormat::gif}) {
    const fs::path path = folder_ / std::string(name_of(format));
    EXPECT_EQ(write_clip(path, 1, 64, 64, settings_for(format)).frames, 1);
    EXPECT_EQ(frames_of(path).size(), 1u);
    EXPECT_LT(difference(poster_frame(path), scene(64, 64, 0)), 5);
  }
}

TEST_F(Videos, Mp4BeginsWithItsIndexAndEndsWithTheMark) {
  VideoSettings settings = settings_for(VideoFormat::mp4);
  settings.metadata = some_metadata();
  write_clip(folder_ / "a.mp4", 5, 64, 64, settings);
  const std::string bytes = read_file(folder_ / "a.mp4");
  EXPECT_LT(bytes.find("moov"), bytes.find("mdat"));
  EXPECT_NE(bytes.find("trainedAlgorithmicMedia"), bytes.npos);
  settings.metadata = {};
  write_clip(folder_ / "b.mp4", 5, 64, 64, settings);
  EXPECT_EQ(read_file(folder_ / "b.mp4").find("backlot"), bytes.npos);
  EXPECT_THROW(read_backlot_metadata(folder_ / "b.mp4"), LoadError);
}

TEST_F(Videos, GifsLoopAndCarryXmp) {
  VideoSettings settings = settings_for(VideoFormat::gif);
  settings.metadata = some_metadata();
  write_clip(folder_ / "a.gif", 8, 64, 48, settings);
  const std::string bytes = read_file(folder_ / "a.gif");
  EXPECT_NE(bytes.find("NETSCAPE2.0"), bytes.npos);
  EXPECT_NE(bytes.find("trainedAlgorithmicMedia"), bytes.npos);
  EXPECT_EQ(read_backlot_metadata(folder_ / "a.gif")["parameters"]["seed"], 7);
  EXPECT_EQ(frames_of(folder_ / "a.gif").size(), 8u);
}

TEST_F(Videos, WebpAnimationsPlayWhatTheyWereGiven) {
  VideoSettings settings = settings_for(VideoFormat::webp);
  settings.quality = 100;
  settings.metadata = some_metadata();
  write_clip(folder_ / "a.webp", 5, 50, 40, settings);
  const std::string bytes = read_file(folder_ / "a.webp");
  const WebPData data{reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()};
  WebPAnimDecoder* decoder = WebPAnimDecoderNew(&data, nullptr);
  ASSERT_NE(decoder, nullptr);
  WebPAnimInfo info;
  ASSERT_TRUE(WebPAnimDecoderGetInfo(decoder, &info));
  EXPECT_EQ(info.frame_count, 5u);
  EXPECT_EQ(info.loop_count, 0u);
  int last = 0;
  for (int64_t i = 0; i < 5; ++i) {
    uint8_t* rgba = nullptr;
    ASSERT_TRUE(WebPAnimDecoderGetNext(decoder, &rgba, &last));
    const Picture picture = scene(50, 40, i);
    for (size_t p = 0; p < 50 * 40; ++p)
      ASSERT_EQ(std::memcmp(rgba + 4 * p, picture.rgb.data() + 3 * p, 3), 0) << i << " " << p;
  }
  EXPECT_EQ(last, 313);  // 5/16 s
  WebPAnimDecoderDelete(decoder);
  EXPECT_EQ(read_backlot_metadata(folder_ / "a.webp")["parameters"]["seed"], 7);
}

TEST_F(Videos, SequencesAreExactAndReplacedWhole) {
  VideoSettings settings = settings_for(VideoFormat::png_sequence);
  settings.metadata = some_metadata();
  const fs::path path = folder_ / "clip";
  write_clip(path, 7, 33, 21, settings);
  const Written written = write_clip(path, 4, 33, 21, settings);
  EXPECT_EQ(entries(path), 4u);
  EXPECT_EQ(entries(folder_.path()), 1u);
  for (int64_t i = 0; i < 4; ++i)
    EXPECT_EQ(decode_picture(path / ("0000" + std::to_string(i) + ".png")).picture.rgb,
              scene(33, 21, i).rgb);
  EXPECT_EQ(read_backlot_metadata(path)["parameters"]["seed"], 7);
  const auto sums = run_program({"sh", "-c", "sha256sum *.png | sha256sum"}, {.folder = path});
  EXPECT_EQ(sums.out.substr(0, 64), written.sha256);
  EXPECT_EQ(sequence_sha256(path), written.sha256);
}

TEST_F(Videos, LowerTheirQualityToFit) {
  for (const auto& [format, codec] : {std::pair{VideoFormat::mp4, "h264"},
                                      {VideoFormat::webm, "vp9"},
                                      {VideoFormat::gif, ""},
                                      {VideoFormat::webp, ""}}) {
    VideoSettings settings = settings_for(format, codec);
    settings.quality = 95;
    settings.metadata = some_metadata();
    const fs::path path = folder_ / "clip";
    const Written free = write_clip(path, 9, 96, 64, settings);
    settings.max_bytes = free.bytes;
    EXPECT_EQ(write_clip(path, 9, 96, 64, settings).sha256, free.sha256) << name_of(format);
    settings.max_bytes = free.bytes * 7 / 10;
    const Written tight = write_clip(path, 9, 96, 64, settings);
    EXPECT_LE(tight.bytes, *settings.max_bytes);
    EXPECT_EQ(tight.bytes, fs::file_size(path));
    EXPECT_GT(tight.bytes, free.bytes / 4) << name_of(format);  // the best, not just any
    EXPECT_EQ(read_backlot_metadata(path)["parameters"]["seed"], 7);
    settings.max_bytes = 300;
    try {
      write_clip(path, 9, 96, 64, settings);
      FAIL() << name_of(format);
    } catch (const ItemError& error) {
      EXPECT_NE(error.problem().find("300 B"), std::string::npos) << error.what();
    }
    EXPECT_EQ(fs::file_size(path), tight.bytes);  // the old one
    EXPECT_EQ(entries(folder_.path()), 1u);
  }
}

TEST_F(Videos, LosslessOnesFitOrSayThatTheyDoNot) {
  VideoSettings settings = settings_for(VideoFormat::png_sequence);
  const Written free = write_clip(folder_ / "a", 3, 96, 64, settings);
  settings.max_bytes = free.bytes - 1;
  EXPECT_LT(write_clip(folder_ / "a", 3, 96, 64, settings).bytes, free.bytes);
  settings.max_bytes = 100;
  EXPECT_THROW(write_clip(folder_ / "a", 3, 96, 64, settings), ItemError);
  settings = settings_for(VideoFormat::mkv, "ffv1");
  settings.max_bytes = 100;
  EXPECT_THROW(write_clip(folder_ / "b", 3, 96, 64, settings), ItemError);
  EXPECT_EQ(entries(folder_.path()), 1u);
}

TEST_F(Videos, NothingIsLeftOfWhatWasNotFinished) {
  for (const auto format : {VideoFormat::mp4, VideoFormat::gif, VideoFormat::png_sequence}) {
    VideoSettings settings = settings_for(format);
    settings.max_bytes = 1000000;
    {
      VideoWriter writer(folder_ / "a", 64, 64, settings);
      writer.add(scene(64, 64, 0));
      EXPECT_GT(entries(folder_.path()), 0u);
      EXPECT_FALSE(fs::exists(folder_ / "a"));
      for (const auto& entry : fs::directory_iterator(folder_.path()))
        EXPECT_TRUE(is_temporary_name(entry.path()));
    }
    EXPECT_EQ(entries(folder_.path()), 0u);
    VideoWriter writer(folder_ / "a", 64, 64, settings);
    writer.add(scene(64, 64, 0));
    EXPECT_THROW(writer.finish([](const Written& written) {
      EXPECT_GT(written.bytes, 0u);
      throw ItemError("here", "no room", "make some");
    }),
                 ItemError);
  }
  EXPECT_EQ(entries(folder_.path()), 0u);
  VideoWriter empty(folder_ / "a.mp4", 64, 64, settings_for(VideoFormat::mp4));
  EXPECT_THROW(empty.finish(), ItemError);
}

TEST_F(Videos, SayWhatCantBeWritten) {
  EXPECT_THROW(VideoWriter(folder_ / "no" / "a.mp4", 64, 64, settings_for(VideoFormat::mp4)),
               EnvironmentError);
  EXPECT_THROW(VideoWriter(folder_ / "a.webp", 16384, 1, settings_for(VideoFormat::webp)),
               ItemError);
  EXPECT_THROW(VideoWriter(folder_ / "a.webm", 64, 64, settings_for(VideoFormat::webm, "h264")),
               ItemError);
  VideoWriter writer(folder_ / "a.mp4", 64, 64, settings_for(VideoFormat::mp4));
  EXPECT_THROW(writer.add(scene(32, 32, 0)), std::invalid_argument);
}

TEST_F(Videos, AGpusEncoderIsThereOrIsMissedInWords) {
  try {
    write_clip(folder_ / "a.mp4", 3, 256, 256, settings_for(VideoFormat::mp4, "h264_nvenc"));
    EXPECT_EQ(frames_of(folder_ / "a.mp4").size(), 3u);
  } catch (const EnvironmentError& error) {
    EXPECT_EQ(error.where(), "h264_nvenc");
    EXPECT_NE(error.mend().find("h264"), std::string::npos);
    EXPECT_EQ(entries(folder_.path()), 0u);
  }
}

std::string reading_fails_with(const fs::path& path) {
  try {
    frames_of(path);
  } catch (const LoadError& error) {
    EXPECT_EQ(error.where(), path.string());
    return error.problem();
  }
  return "";
}

TEST_F(Videos, BrokenFilesAreRefused) {
  for (const auto& [format, codec] : {std::pair{VideoFormat::mp4, "h264"},
                                      {VideoFormat::mp4, "av1"},
                                      {VideoFormat::mov, "h265"},
                                      {VideoFormat::webm, "vp9"},
                                      {VideoFormat::mkv, "ffv1"},
                                      {VideoFormat::gif, ""}}) {
    const fs::path whole = folder_ / "whole", cut = folder_ / "cut";
    write_clip(whole, 12, 96, 64, settings_for(format, codec));
    const std::string bytes = read_file(whole);
    for (const size_t size : {bytes.size() * 6 / 10, bytes.size() / 3, size_t{30}}) {
      write_file_durably(cut, bytes.substr(0, size));
      EXPECT_NE(reading_fails_with(cut), "") << name_of(format) << " " << codec << " " << size;
    }
  }
}

TEST_F(Videos, WhatIsNoVideoIsRefused) {
  for (const auto& text : {"", "hello", "#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
                           "ffconcat version 1.0\nfile '/etc/passwd'\n"}) {
    write_file_durably(folder_ / "a", text);
    EXPECT_NE(reading_fails_with(folder_ / "a"), "") << text;
  }
  EXPECT_NE(reading_fails_with(folder_ / "missing"), "");
  EXPECT_NE(reading_fails_with(folder_.path()), "");
}

Picture noise(int64_t width, int64_t height, uint32_t state) {
  Picture out{width, height, {}};
  for (int64_t i = 0; i < width * height * 3; ++i) {
    state = state * 1664525u + 1013904223u;
    out.rgb.push_back(static_cast<uint8_t>(state >> 24));
  }
  return out;
}

// A tmpfs for the time of a test. Needs the right to mount one.
TEST_F(Videos, AFullDiskLeavesTheOldFile) {
  if (::mount("tmpfs", folder_.path().c_str(), "tmpfs", 0, "size=64k") != 0)
    GTEST_SKIP() << "cannot mount a tmpfs: " << std::strerror(errno);
  for (const auto format : {VideoFormat::mkv, VideoFormat::mp4, VideoFormat::gif, VideoFormat::webp,
                            VideoFormat::png_sequence}) {
    const fs::path path = folder_ / "clip";
    if (format != VideoFormat::png_sequence) write_file_durably(path, "old");
    VideoSettings settings = settings_for(format);
    settings.quality = 100;
    if (settings.format == VideoFormat::mkv) settings.codec = "ffv1";
    try {
      VideoWriter writer(path, 256, 256, settings);
      for (uint32_t i = 0; i < 12; ++i) writer.add(noise(256, 256, i));
      writer.finish();
      ADD_FAILURE() << name_of(format) << " fitted on a 64 KiB disk";
    } catch (const EnvironmentError& error) {
      EXPECT_EQ(error.where(), path.string());
      EXPECT_NE(error.problem().find(std::strerror(ENOSPC)), std::string::npos) << error.what();
    }
    EXPECT_EQ(entries(folder_.path()), format == VideoFormat::png_sequence ? 0u : 1u);
    if (fs::exists(path)) {
      EXPECT_TRUE(read_file(path) == "old");
    }
    fs::remove(path);
  }
  EXPECT_EQ(::umount(folder_.path().c_str()), 0);
}

}  // namespace
}  // namespace backlot
