#include "weights/read_ahead.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace backlot {
namespace {

// The system reads at most this much for one request, whatever is asked for.
constexpr off_t piece = off_t{128} << 10;

void request(const std::filesystem::path& path, const std::stop_token& stop) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return;
  struct stat facts {};
  if (::fstat(file, &facts) == 0) {
    for (off_t at = 0; at < facts.st_size && !stop.stop_requested(); at += piece) {
      ::posix_fadvise(file, at, piece, POSIX_FADV_WILLNEED);
    }
  }
  ::close(file);
}

}  // namespace

ReadAhead::ReadAhead(std::vector<std::filesystem::path> files)
    : thread_([files = std::move(files)](const std::stop_token& stop) {
        for (const auto& file : files) {
          if (stop.stop_requested()) return;
          request(file, stop);
        }
      }) {}

}  // namespace backlot
