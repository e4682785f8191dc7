#include <stdio.h>
// jpeglib.h needs FILE and size_t declared before it.
#include <jerror.h>
#include <jpeglib.h>

#include <csetjmp>
#include <cstdlib>

#include "base/error.h"
#include "media/codecs.h"

namespace backlot {
namespace {

// libjpeg reports errors by longjmp, which must not pass C++ objects with destructors: the
// functions that call setjmp below hold none, and what they need lives in their callers.

// A progressive file may ask for thousands of passes over a large picture; real ones have about
// ten.
constexpr int max_scans = 100;

struct Failure {
  jpeg_error_mgr base;
  std::jmp_buf where;
  char text[JMSG_LENGTH_MAX] = "";
};

[[noreturn]] void fail(j_common_ptr state) {
  auto* failure = reinterpret_cast<Failure*>(state->err);
  failure->base.format_message(state, failure->text);
  std::longjmp(failure->where, 1);
}

// libjpeg goes on after damaged data and invents pixels; backlot does not. Oddities that leave the
// pixels whole are let through.
void on_message(j_common_ptr state, int level) {
  if (level >= 0) return;
  switch (state->err->msg_code) {
    case JWRN_EXTRANEOUS_DATA:
    case JWRN_ADOBE_XFORM:
    case JWRN_JFIF_MAJOR:
    case JWRN_NOT_SEQUENTIAL:
      return;
    default:
      fail(state);
  }
}

jpeg_error_mgr* set_up(Failure& failure) {
  jpeg_error_mgr* manager = jpeg_std_error(&failure.base);
  manager->error_exit = fail;
  manager->emit_message = on_message;
  return manager;
}

void watch_scans(j_common_ptr state) {
  if (reinterpret_cast<j_decompress_ptr>(state)->input_scan_number > max_scans)
    ERREXIT(state, JERR_EOI_EXPECTED);
}

struct Compressor {
  jpeg_compress_struct state{};
  unsigned char* out = nullptr;
  unsigned long size = 0;
  ~Compressor() {
    jpeg_destroy_compress(&state);
    std::free(out);
  }
};

struct Decompressor {
  jpeg_decompress_struct state{};
  jpeg_progress_mgr progress{};
  ~Decompressor() { jpeg_destroy_decompress(&state); }
};

bool compress(Compressor& compressor, Failure& failure, const Picture& picture, int quality,
              std::span<const std::string> app1) {
  auto& state = compressor.state;
  if (setjmp(failure.where)) return false;
  jpeg_create_compress(&state);
  jpeg_mem_dest(&state, &compressor.out, &compressor.size);
  state.image_width = static_cast<JDIMENSION>(picture.width);
  state.image_height = static_cast<JDIMENSION>(picture.height);
  state.input_components = 3;
  state.in_color_space = JCS_RGB;
  jpeg_set_defaults(&state);
  jpeg_set_quality(&state, quality, TRUE);
  if (quality >= 90) state.comp_info[0].h_samp_factor = state.comp_info[0].v_samp_factor = 1;
  state.optimize_coding = TRUE;
  jpeg_start_compress(&state, TRUE);
  for (const auto& payload : app1)
    jpeg_write_marker(&state, JPEG_APP0 + 1, reinterpret_cast<const JOCTET*>(payload.data()),
                      static_cast<unsigned>(payload.size()));
  while (state.next_scanline < state.image_height) {
    auto* row = const_cast<JSAMPLE*>(picture.rgb.data() +
                                     size_t{state.next_scanline} * state.image_width * 3);
    jpeg_write_scanlines(&state, &row, 1);
  }
  jpeg_finish_compress(&state);
  return true;
}

bool read_header(Decompressor& decompressor, Failure& failure, std::string_view bytes) {
  auto& state = decompressor.state;
  if (setjmp(failure.where)) return false;
  jpeg_create_decompress(&state);
  decompressor.progress.progress_monitor = watch_scans;
  state.progress = &decompressor.progress;
  jpeg_mem_src(&state, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
  jpeg_read_header(&state, TRUE);
  return true;
}

bool read_rows(Decompressor& decompressor, Failure& failure, uint8_t* pixels) {
  auto& state = decompressor.state;
  if (setjmp(failure.where)) return false;
  state.out_color_space = JCS_RGB;
  jpeg_start_decompress(&state);
  while (state.output_scanline < state.output_height) {
    JSAMPLE* row = pixels + size_t{state.output_scanline} * state.output_width * 3;
    jpeg_read_scanlines(&state, &row, 1);
  }
  jpeg_finish_decompress(&state);
  return true;
}

}  // namespace

std::string encode_jpeg(const Picture& picture, int quality, std::span<const std::string> app1) {
  Failure failure;
  Compressor compressor;
  compressor.state.err = set_up(failure);
  if (!compress(compressor, failure, picture, quality, app1))
    throw ItemError("", std::string("cannot write a JPEG: ") + failure.text, "use another format");
  return {reinterpret_cast<const char*>(compressor.out), compressor.size};
}

DecodedPicture decode_jpeg(std::string_view bytes, const std::string& name) {
  Failure failure;
  Decompressor decompressor;
  decompressor.state.err = set_up(failure);
  if (!read_header(decompressor, failure, bytes)) throw_damaged(name, failure.text);
  const auto& state = decompressor.state;
  check_picture_size(state.image_width, state.image_height, name);
  if (state.jpeg_color_space == JCS_CMYK || state.jpeg_color_space == JCS_YCCK)
    throw LoadError(name, "a CMYK picture; backlot reads RGB and grey ones", "convert it to RGB");
  DecodedPicture out{.picture = {state.image_width, state.image_height, {}}};
  out.picture.rgb.resize(size_t{state.image_width} * state.image_height * 3);
  if (!read_rows(decompressor, failure, out.picture.rgb.data())) throw_damaged(name, failure.text);
  return out;
}

}  // namespace backlot
