#include "bench/file_speed.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <exception>
#include <mutex>
#include <thread>

#include "base/error.h"
#include "base/time.h"

namespace backlot {
namespace {

constexpr uint64_t block_bytes = uint64_t{4} << 20;
constexpr double still_resident = 0.02;

class OpenFile {
 public:
  explicit OpenFile(const fs::path& path)
      : descriptor_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (descriptor_ < 0) throw_errno(path, "reading", errno);
  }
  ~OpenFile() { ::close(descriptor_); }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  int get() const { return descriptor_; }

 private:
  int descriptor_;
};

struct Block {
  const fs::path* file;
  uint64_t offset, bytes;
};

std::vector<Block> blocks_of(const std::vector<fs::path>& files) {
  std::vector<Block> blocks;
  for (const auto& file : files) {
    const uint64_t size = fs::file_size(file);
    for (uint64_t at = 0; at < size; at += block_bytes)
      blocks.push_back({&file, at, std::min(block_bytes, size - at)});
  }
  return blocks;
}

void read_block(const Block& block, std::vector<char>& buffer) {
  const OpenFile file(*block.file);
  for (uint64_t done = 0; done < block.bytes;) {
    const ssize_t got = ::pread(file.get(), buffer.data(), block.bytes - done,
                                static_cast<off_t>(block.offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) throw_errno(*block.file, "reading", got < 0 ? errno : EIO);
    done += static_cast<uint64_t>(got);
  }
}

}  // namespace

uint64_t total_bytes(const std::vector<fs::path>& files) {
  uint64_t total = 0;
  for (const auto& file : files) total += fs::file_size(file);
  return total;
}

double resident_share(const std::vector<fs::path>& files) {
  const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  size_t pages = 0, resident = 0;
  for (const auto& path : files) {
    const MappedFile file(path);
    const auto bytes = file.bytes();
    if (bytes.empty()) continue;
    std::vector<unsigned char> state((bytes.size() + page - 1) / page);
    if (::mincore(const_cast<std::byte*>(bytes.data()), bytes.size(), state.data()) != 0) return 1;
    pages += state.size();
    for (const auto each : state) resident += each & 1;
  }
  return pages ? static_cast<double>(resident) / static_cast<double>(pages) : 0;
}

bool drop_from_page_cache(const std::vector<fs::path>& files) {
  for (const auto& path : files) {
    const OpenFile file(path);
    ::fdatasync(file.get());  // pages not yet written are kept
    ::posix_fadvise(file.get(), 0, 0, POSIX_FADV_DONTNEED);
  }
  return resident_share(files) <= still_resident;
}

double read_seconds(const std::vector<fs::path>& files, int threads, const StopSignal& stop) {
  const auto blocks = blocks_of(files);
  std::atomic<size_t> next = 0;
  std::mutex mutex;
  std::exception_ptr failure;
  const Stopwatch watch;
  std::vector<std::thread> readers;
  for (int i = 0; i < threads; ++i)
    readers.emplace_back([&] {
      try {
        std::vector<char> buffer(block_bytes);
        for (size_t at; !stop.requested() && (at = next++) < blocks.size();)
          read_block(blocks[at], buffer);
      } catch (...) {
        const std::lock_guard lock(mutex);
        failure = std::current_exception();
      }
    });
  for (auto& reader : readers) reader.join();
  const double seconds = watch.seconds();
  if (failure) std::rethrow_exception(failure);
  if (stop.requested()) throw Interrupted();
  return seconds;
}

}  // namespace backlot
