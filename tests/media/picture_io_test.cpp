#include "media/picture_io.h"

#include <gtest/gtest.h>
#include <png.h>
#include <stdio.h>
// jpeglib.h needs FILE declared before it.
#include <jpeglib.h>

#include <algorithm>
#include <cstdlib>
#include <tuple>

#include "base/error.h"
#include "base/files.h"
#include "media/exif.h"
#include "media/pictures.h"
#include "support/temporary_folder.h"

namespace backlot {
namespace {

PictureMetadata some_metadata() {
  return describe_picture({{"parameters", {{"prompt", "a red apple"}, {"seed", 7}}},
                           {"model", {{"path", "pocket-xl"}, {"fingerprint", "0123"}}}});
}

std::string encoded(PictureKind kind, int quality, const Picture& picture) {
  return encode_picture(picture, {.kind = kind, .quality = quality}, {});
}

std::string problem_of(const std::string& bytes) {
  try {
    decode_picture(bytes, "p");
  } catch (const LoadError& error) {
    return error.problem();
  }
  return "";
}

// A PNG of any kind; `data` holds its rows as the file does.
std::string png_of(png_uint_32 width, png_uint_32 height, int depth, int color,
                   const std::vector<uint8_t>& data, const std::vector<png_color>& palette = {},
                   const std::vector<uint8_t>& palette_alpha = {}, int interlace = 0) {
  std::string out;
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png_create_info_struct(png);
  png_set_write_fn(
      png, &out,
      [](png_structp p, png_bytep bytes, size_t size) {
        static_cast<std::string*>(png_get_io_ptr(p))
            ->append(reinterpret_cast<const char*>(bytes), size);
      },
      [](png_structp) {});
  png_set_IHDR(png, info, width, height, depth, color, interlace, 0, 0);
  if (!palette.empty()) png_set_PLTE(png, info, palette.data(), static_cast<int>(palette.size()));
  if (!palette_alpha.empty())
    png_set_tRNS(png, info, palette_alpha.data(), static_cast<int>(palette_alpha.size()), nullptr);
  png_write_info(png, info);
  const int passes = png_set_interlace_handling(png);
  const size_t row = data.size() / height;
  for (int pass = 0; pass < passes; ++pass)
    for (png_uint_32 y = 0; y < height; ++y) png_write_row(png, data.data() + y * row);
  png_write_end(png, nullptr);
  png_destroy_write_struct(&png, &info);
  return out;
}

std::string cmyk_jpeg() {
  jpeg_compress_struct state{};
  jpeg_error_mgr errors{};
  state.err = jpeg_std_error(&errors);
  jpeg_create_compress(&state);
  unsigned char* bytes = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&state, &bytes, &size);
  state.image_width = state.image_height = 8;
  state.input_components = 4;
  state.in_color_space = JCS_CMYK;
  jpeg_set_defaults(&state);
  jpeg_start_compress(&state, TRUE);
  std::vector<JSAMPLE> line(32, 100);
  JSAMPLE* row = line.data();
  for (int y = 0; y < 8; ++y) jpeg_write_scanlines(&state, &row, 1);
  jpeg_finish_compress(&state);
  std::string out(reinterpret_cast<const char*>(bytes), size);
  jpeg_destroy_compress(&state);
  std::free(bytes);
  return out;
}

// `jpeg` with an EXIF segment that holds nothing but the orientation.
std::string with_orientation(const std::string& jpeg, char orientation) {
  std::string segment(
      "\xFF\xE1\0\x22"
      "Exif\0\0MM\0\x2A\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0",
      29);
  segment += orientation;
  segment += std::string(6, '\0');
  return jpeg.substr(0, 2) + segment + jpeg.substr(2);
}

TEST(EncodePicture, KeepsEveryPixelWhereItPromises) {
  for (const auto& [width, height] : {std::pair{64, 48}, {1, 1}, {37, 5}, {1, 300}}) {
    const Picture picture = waves(width, height);
    for (const auto kind : {PictureKind::png, PictureKind::webp}) {
      const auto back = decode_picture(encoded(kind, 100, picture), "p");
      EXPECT_EQ(back.picture.width, width);
      EXPECT_EQ(back.picture.height, height);
      EXPECT_EQ(back.picture.rgb, picture.rgb);
      EXPECT_TRUE(back.alpha.empty());
    }
  }
}

TEST(EncodePicture, StaysNearWhereItIsLossy) {
  const Picture picture = waves(96, 80);
  for (const auto kind : {PictureKind::jpeg, PictureKind::webp}) {
    const auto at = [&](int quality) { return encoded(kind, quality, picture); };
    EXPECT_LT(difference(decode_picture(at(95), "p").picture, picture), 6);
    EXPECT_LT(at(30).size(), at(95).size());
  }
}

TEST(EncodePicture, IsDeterministic) {
  const Picture picture = waves(100, 70);
  for (const auto kind : {PictureKind::png, PictureKind::jpeg, PictureKind::webp})
    for (const int quality : {80, 100})
      EXPECT_EQ(
          encode_picture(picture, {.kind = kind, .quality = quality}, some_metadata()),
          encode_picture(waves(100, 70), {.kind = kind, .quality = quality}, some_metadata()));
}

TEST(EncodePicture, MetadataLeavesThePixelsAlone) {
  const Picture picture = waves(40, 40);
  for (const auto kind : {PictureKind::png, PictureKind::jpeg, PictureKind::webp})
    EXPECT_EQ(
        decode_picture(encode_picture(picture, {.kind = kind}, some_metadata()), "p").picture.rgb,
        decode_picture(encode_picture(picture, {.kind = kind}, {}), "p").picture.rgb);
}

TEST(EncodePicture, SaysThatPngsAreSrgb) {
  EXPECT_NE(encoded(PictureKind::png, 90, waves(4, 4)).find("sRGB"), std::string::npos);
}

TEST(EncodePicture, JpegsAreBaselineWithFullColourFromQuality90) {
  // The frame header: FF C0, length, precision, height, width, 3 components; then the first
  // component's id and its sampling factors.
  const auto sampling = [](int quality) {
    const std::string bytes = encoded(PictureKind::jpeg, quality, waves(32, 32));
    const size_t frame = bytes.find("\xFF\xC0");
    return frame == bytes.npos ? -1 : bytes[frame + 11];
  };
  EXPECT_EQ(sampling(90), 0x11);
  EXPECT_EQ(sampling(89), 0x22);
}

TEST(EncodePicture, LowersQualityToFit) {
  const Picture picture = waves(128, 128);
  for (const auto kind : {PictureKind::jpeg, PictureKind::webp}) {
    const PictureFormat free{.kind = kind, .quality = 100};
    const size_t full = encode_picture(picture, free, some_metadata()).size();
    PictureFormat tight = free;
    tight.max_bytes = full / 2;
    const std::string out = encode_picture(picture, tight, some_metadata());
    EXPECT_LE(out.size(), full / 2);
    EXPECT_GT(out.size(), full / 4);  // the best that fits, not just any
    EXPECT_EQ(read_backlot_metadata(out, "p")["parameters"]["seed"], 7);
    tight.max_bytes = full;
    EXPECT_EQ(encode_picture(picture, tight, some_metadata()).size(), full);
    tight.max_bytes = 200;
    EXPECT_THROW(encode_picture(picture, tight, some_metadata()), ItemError);
  }
}

TEST(EncodePicture, PngTriesHarderThenSaysWhatToDo) {
  Picture stripes{256, 256, {}};  // repeats that only a search finds
  for (int i = 0; i < 256 * 256 * 3; ++i) stripes.rgb.push_back((i / 3 * 7919 >> (i % 3)) % 97);
  const size_t fast = encode_picture(stripes, {}, {}).size();
  const std::string small = encode_picture(stripes, {.max_bytes = fast - 1}, {});
  EXPECT_LT(small.size(), fast);
  EXPECT_EQ(decode_picture(small, "p").picture.rgb, stripes.rgb);
  try {
    encode_picture(stripes, {.max_bytes = 100}, {});
    FAIL();
  } catch (const ItemError& error) {
    EXPECT_NE(error.problem().find("100 B"), std::string::npos);
    EXPECT_NE(error.mend().find("webp"), std::string::npos);
  }
}

TEST(EncodePicture, RefusesSizesThatTheFormatCantHold) {
  const Picture wide{70000, 1, std::vector<uint8_t>(70000 * 3)};
  EXPECT_THROW(encoded(PictureKind::webp, 90, wide), ItemError);
  EXPECT_THROW(encoded(PictureKind::jpeg, 90, wide), ItemError);
  EXPECT_FALSE(encoded(PictureKind::png, 90, wide).empty());
}

TEST(DecodePicture, ReadsEveryKindOfPng) {
  const std::vector<uint8_t> red_green = {255, 0, 0, 0, 255, 0};
  const auto rgb = [](const std::string& bytes) { return decode_picture(bytes, "p").picture.rgb; };
  EXPECT_EQ(rgb(png_of(2, 1, 8, PNG_COLOR_TYPE_PALETTE, {1, 0}, {{0, 255, 0}, {255, 0, 0}})),
            red_green);
  EXPECT_EQ(rgb(png_of(2, 1, 1, PNG_COLOR_TYPE_GRAY, {0x40})),
            (std::vector<uint8_t>{0, 0, 0, 255, 255, 255}));
  EXPECT_EQ(rgb(png_of(1, 1, 16, PNG_COLOR_TYPE_GRAY, {0x80, 0x7F})),
            (std::vector<uint8_t>{128, 128, 128}));
  EXPECT_EQ(rgb(png_of(1, 1, 16, PNG_COLOR_TYPE_RGB, {0xFF, 0xFF, 0x01, 0x00, 0x00, 0xFF})),
            (std::vector<uint8_t>{255, 1, 1}));
  const Picture picture = waves(33, 21);
  EXPECT_EQ(rgb(png_of(33, 21, 8, PNG_COLOR_TYPE_RGB, picture.rgb, {}, {}, PNG_INTERLACE_ADAM7)),
            picture.rgb);
}

TEST(DecodePicture, KeepsAlphaApart) {
  const auto straight =
      decode_picture(png_of(2, 1, 8, PNG_COLOR_TYPE_RGBA, {9, 8, 7, 0, 6, 5, 4, 128}), "p");
  EXPECT_EQ(straight.picture.rgb, (std::vector<uint8_t>{9, 8, 7, 6, 5, 4}));
  EXPECT_EQ(straight.alpha, (std::vector<uint8_t>{0, 128}));
  const auto palette = decode_picture(
      png_of(2, 1, 8, PNG_COLOR_TYPE_PALETTE, {0, 1}, {{1, 2, 3}, {4, 5, 6}}, {77}), "p");
  EXPECT_EQ(palette.alpha, (std::vector<uint8_t>{77, 255}));
  const auto grey = decode_picture(png_of(1, 1, 8, PNG_COLOR_TYPE_GRAY_ALPHA, {50, 60}), "p");
  EXPECT_EQ(grey.picture.rgb, (std::vector<uint8_t>{50, 50, 50}));
  EXPECT_EQ(grey.alpha, std::vector<uint8_t>{60});
}

TEST(DecodePicture, TurnsJpegsUpright) {
  // Left half dark, right half light above and medium below; wide, so that turning shows.
  Picture picture{32, 16, {}};
  for (int i = 0; i < 32 * 16; ++i)
    for (int c = 0; c < 3; ++c) picture.rgb.push_back(i % 32 < 16 ? 20 : (i / 32 < 8 ? 230 : 120));
  const std::string jpeg = encoded(PictureKind::jpeg, 95, picture);
  // Brightness of the corners as shown: top left, top right, bottom left, bottom right.
  const auto corners = [&](char orientation) {
    const Picture shown = decode_picture(with_orientation(jpeg, orientation), "p").picture;
    EXPECT_EQ(shown.width, orientation < 5 ? 32 : 16);
    const auto at = [&](int64_t x, int64_t y) {
      const int value = shown.rgb[(y * shown.width + x) * 3];
      return value < 70 ? 'd' : value < 180 ? 'm' : 'l';
    };
    const int64_t right = shown.width - 2, bottom = shown.height - 2;
    return std::string{at(1, 1), at(right, 1), at(1, bottom), at(right, bottom)};
  };
  EXPECT_EQ(corners(1), "dldm");
  EXPECT_EQ(corners(2), "ldmd");
  EXPECT_EQ(corners(3), "mdld");
  EXPECT_EQ(corners(4), "dmdl");
  EXPECT_EQ(corners(5), "ddlm");
  EXPECT_EQ(corners(6), "ddml");
  EXPECT_EQ(corners(7), "mldd");
  EXPECT_EQ(corners(8), "lmdd");
}

TEST(DecodePicture, RefusesCmyk) {
  EXPECT_NE(problem_of(cmyk_jpeg()).find("CMYK"), std::string::npos);
}

TEST(DecodePicture, RefusesHugePicturesBeforeDecodingThem) {
  // Headers alone: nothing of the pixels is there to be read.
  EXPECT_NE(problem_of(png_of(16385, 1, 1, PNG_COLOR_TYPE_GRAY, std::vector<uint8_t>(2049)))
                .find("16385x1"),
            std::string::npos);
  const std::string bomb =
      png_of(9000, 9000, 1, PNG_COLOR_TYPE_GRAY, std::vector<uint8_t>(1125 * 9000));
  EXPECT_NE(problem_of(bomb).find("67108864"), std::string::npos);
  std::string jpeg = encoded(PictureKind::jpeg, 90, waves(16, 16));
  const size_t frame = jpeg.find("\xFF\xC0");
  jpeg.replace(frame + 5, 4, "\x40\0\x40\0", 4);  // 16384 x 16384
  EXPECT_NE(problem_of(jpeg).find("16384x16384"), std::string::npos);
}

TEST(DecodePicture, RefusesTextBeyondItsLimits) {
  const auto with_chunks = [](size_t count, size_t size) {
    std::string bytes = encoded(PictureKind::png, 90, waves(4, 4));
    std::string chunk = "tEXtcomment";
    chunk += std::string(1, '\0') + std::string(size, 'x');
    const auto number = [](uint64_t value) {
      std::string out;
      for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(value >> shift);
      return out;
    };
    uint32_t crc = ~0u;
    for (const char c : chunk) {
      crc ^= static_cast<uint8_t>(c);
      for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0);
    }
    const std::string whole = number(chunk.size() - 4) + chunk + number(~crc);
    std::string all;
    for (size_t i = 0; i < count; ++i) all += whole;
    return bytes.insert(33, all);  // behind the header chunk
  };
  EXPECT_EQ(problem_of(with_chunks(7, 1'000'000)), "");
  EXPECT_NE(problem_of(with_chunks(1, 1'100'000)).find("1.0 MiB"), std::string::npos);
  EXPECT_NE(problem_of(with_chunks(9, 1'000'000)).find("8.0 MiB"), std::string::npos);
}

TEST(DecodePicture, RefusesFilesCutShort) {
  for (const auto kind : {PictureKind::png, PictureKind::jpeg, PictureKind::webp}) {
    const std::string bytes = encoded(kind, 90, waves(64, 64));
    for (const size_t size : {bytes.size() - bytes.size() / 4, bytes.size() / 2, size_t{40}})
      EXPECT_NE(problem_of(bytes.substr(0, size)), "") << file_extension(kind) << " " << size;
  }
}

TEST(DecodePicture, NamesTheFile) {
  TemporaryFolder folder;
  write_file_durably(folder / "note.png", "GIF89a, in truth");
  try {
    decode_picture(folder / "note.png");
    FAIL();
  } catch (const LoadError& error) {
    EXPECT_EQ(error.where(), (folder / "note.png").string());
    EXPECT_FALSE(error.mend().empty());
  }
  write_file_durably(folder / "empty.png", "");
  EXPECT_THROW(decode_picture(folder / "empty.png"), LoadError);
  write_file_durably(folder / "really.txt", encoded(PictureKind::webp, 90, waves(8, 8)));
  EXPECT_EQ(decode_picture(folder / "really.txt").picture.width, 8);
}

}  // namespace
}  // namespace backlot
