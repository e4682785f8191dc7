#include <png.h>
#include <zlib.h>

#include <cstdlib>
#include <cstring>

#include "base/error.h"
#include "media/codecs.h"
#include "media/unicode.h"

namespace backlot {
namespace {

// libpng reports errors by longjmp, which must not pass C++ objects with destructors: the functions
// that call setjmp below hold none, and what they need lives in their callers.

struct Message {
  char text[128] = "";
};

void on_error(png_structp png, png_const_charp text) {
  auto* message = static_cast<Message*>(png_get_error_ptr(png));
  std::strncpy(message->text, text, sizeof message->text - 1);
  png_longjmp(png, 1);
}

void on_warning(png_structp, png_const_charp) {}

void append(png_structp png, png_bytep data, size_t size) {
  static_cast<std::string*>(png_get_io_ptr(png))->append(reinterpret_cast<const char*>(data), size);
}

void no_flush(png_structp) {}

void read_bytes(png_structp png, png_bytep to, size_t size) {
  auto* from = static_cast<std::string_view*>(png_get_io_ptr(png));
  if (from->size() < size) png_error(png, "cut short");
  std::memcpy(to, from->data(), size);
  from->remove_prefix(size);
}

struct Chunk {
  const char* type;
  std::string data;
};

// tEXt where Latin-1 can hold the text, else iTXt, as Pillow and with it most tools do. The JSON is
// always iTXt, so that readers need to look for one kind only.
Chunk text_chunk(const std::string& keyword, const std::string& text) {
  const auto latin1 = keyword == "parameters" ? to_latin1(text) : std::nullopt;
  if (latin1) return {"tEXt", keyword + '\0' + *latin1};
  return {"iTXt", keyword + std::string(5, '\0') + text};
}

struct Writer {
  png_structp png = nullptr;
  png_infop info = nullptr;
  ~Writer() { png_destroy_write_struct(&png, &info); }
};

struct Reader {
  png_structp png = nullptr;
  png_infop info = nullptr;
  ~Reader() { png_destroy_read_struct(&png, &info, nullptr); }
};

// Measured with libpng 1.6.39 and zlib 1.2.13 on 1024x1024 pictures of smooth waves with the grain
// that generated pictures have, one core:
//   one filter   level 1          level 6           runs only (Z_RLE)
//   sub          64 ms, 1.88 MB   297 ms, 1.65 MB   37 ms, 1.65 MB
//   average      67 ms, 1.78 MB   405 ms, 1.54 MB   68 ms, 1.53 MB   (idle core: 35 ms)
//   Paeth        96 ms, 1.85 MB   358 ms, 1.61 MB   99 ms, 1.61 MB
//   libpng's choice per row: 120 ms, 1.78 MB; 613 ms, 1.53 MB; 118 ms, 1.53 MB
// Grain leaves zlib's search for repeated text nothing to find: Huffman codes do the work. So one
// filter and runs alone give level 6's size in less than level 1's time; flat areas stay small,
// being runs of zeros.
void set_effort(png_structp png, PngEffort effort) {
  if (effort == PngEffort::fast) {
    png_set_compression_level(png, 1);
    png_set_compression_strategy(png, Z_RLE);
    png_set_filter(png, PNG_FILTER_TYPE_BASE, PNG_FILTER_AVG);
  } else {
    png_set_compression_level(png, 9);
    png_set_filter(png, PNG_FILTER_TYPE_BASE, PNG_ALL_FILTERS);
  }
}

bool write_png(Writer& writer, const Picture& picture, PngEffort effort,
               std::span<const Chunk> chunks, std::string& out) {
  png_structp png = writer.png;
  if (setjmp(png_jmpbuf(png))) return false;
  png_set_write_fn(png, &out, append, no_flush);
  // The user limit guards reading; what we write was made by us.
  png_set_user_limits(png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
  png_set_IHDR(png, writer.info, static_cast<png_uint_32>(picture.width),
               static_cast<png_uint_32>(picture.height), 8, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
               PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  png_set_sRGB(png, writer.info, PNG_sRGB_INTENT_PERCEPTUAL);
  set_effort(png, effort);
  png_set_compression_buffer_size(png, 1 << 18);
  png_write_info(png, writer.info);
  for (const auto& chunk : chunks)
    png_write_chunk(png, reinterpret_cast<png_const_bytep>(chunk.type),
                    reinterpret_cast<png_const_bytep>(chunk.data.data()), chunk.data.size());
  for (int64_t y = 0; y < picture.height; ++y)
    png_write_row(png, picture.rgb.data() + y * picture.width * 3);
  png_write_end(png, nullptr);
  return true;
}

// Everything up to the first pixel; afterwards pixels are 8-bit RGB or, if true is left in `alpha`,
// RGBA.
bool read_header(Reader& reader, std::string_view& source, bool& alpha) {
  png_structp png = reader.png;
  if (setjmp(png_jmpbuf(png))) return false;
  png_set_read_fn(png, &source, read_bytes);
  // Sizes are checked by our own limits, with our own words, and metadata is read elsewhere.
  png_set_user_limits(png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
  png_set_chunk_malloc_max(png, max_text_bytes);
  static constexpr png_byte unused[] = "iCCP\0iTXt\0tEXt\0zTXt\0sPLT\0eXIf\0hIST\0pCAL\0sCAL";
  png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, unused, sizeof unused / 5);
  png_read_info(png, reader.info);
  const auto color = png_get_color_type(png, reader.info);
  alpha = (color & PNG_COLOR_MASK_ALPHA) || png_get_valid(png, reader.info, PNG_INFO_tRNS);
  png_set_scale_16(png);
  png_set_expand(png);
  png_set_gray_to_rgb(png);
  return true;
}

bool read_rows(Reader& reader, uint8_t* pixels, size_t row_bytes, size_t height) {
  png_structp png = reader.png;
  if (setjmp(png_jmpbuf(png))) return false;
  const int passes = png_set_interlace_handling(png);
  png_read_update_info(png, reader.info);
  if (png_get_rowbytes(png, reader.info) != row_bytes) return false;
  for (int pass = 0; pass < passes; ++pass)
    for (size_t y = 0; y < height; ++y) png_read_row(png, pixels + y * row_bytes, nullptr);
  png_read_end(png, nullptr);
  return true;
}

}  // namespace

std::string encode_png(const Picture& picture, PngEffort effort,
                       std::span<const std::pair<std::string, std::string>> text) {
  std::vector<Chunk> chunks;
  for (const auto& [keyword, value] : text) chunks.push_back(text_chunk(keyword, value));
  std::string out;
  Message message;
  Writer writer;
  writer.png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &message, on_error, on_warning);
  if (writer.png) writer.info = png_create_info_struct(writer.png);
  if (!writer.info) throw std::bad_alloc();
  if (!write_png(writer, picture, effort, chunks, out))
    throw ItemError("", std::string("cannot write a PNG: ") + message.text, "use another format");
  return out;
}

DecodedPicture decode_png(std::string_view bytes, const std::string& name) {
  Message message;
  Reader reader;
  reader.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &message, on_error, on_warning);
  if (reader.png) reader.info = png_create_info_struct(reader.png);
  if (!reader.info) throw std::bad_alloc();
  bool alpha = false;
  if (!read_header(reader, bytes, alpha)) throw_damaged(name, message.text);
  const size_t width = png_get_image_width(reader.png, reader.info);
  const size_t height = png_get_image_height(reader.png, reader.info);
  check_picture_size(width, height, name);
  std::vector<uint8_t> pixels(width * height * (alpha ? 4 : 3));
  if (!read_rows(reader, pixels.data(), width * (alpha ? 4 : 3), height))
    throw_damaged(name, message.text);
  if (alpha) return split_alpha(static_cast<int64_t>(width), static_cast<int64_t>(height), pixels);
  return {
      .picture = {static_cast<int64_t>(width), static_cast<int64_t>(height), std::move(pixels)}};
}

}  // namespace backlot
