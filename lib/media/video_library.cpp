#include "media/video_library.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include "base/error.h"
#include "base/install.h"

namespace backlot {
namespace {

constexpr auto file_name = "libbacklot_video.so";

VideoLibrary* open_library() {
  const auto file = own_library(file_name);
  if (!file)
    throw EnvironmentError(file_name, "not found beside the backlot binary",
                           "keep bin/ and lib/ of the distribution together, or run 'make build'");
  void* library = ::dlopen(file->c_str(), RTLD_LAZY | RTLD_LOCAL);
  if (!library)
    throw EnvironmentError(file->string(), fmt::format("cannot be loaded ({})", ::dlerror()),
                           "videos need FFmpeg 5.1's libraries: install Debian's package ffmpeg, "
                           "or choose the format png-sequence or webp");
  const auto abi = reinterpret_cast<VideoAbi>(::dlsym(library, "backlot_video_abi"));
  const auto get = reinterpret_cast<GetVideoLibrary>(::dlsym(library, "backlot_video_library"));
  if (!abi || !get || abi() != video_library_abi)
    throw EnvironmentError(file->string(), "belongs to another version of backlot",
                           "install binary and libraries of the same version");
  return get();
}

}  // namespace

VideoLibrary& video_library() {
  static VideoLibrary* const library = open_library();  // tried again after a throw
  return *library;
}

}  // namespace backlot
