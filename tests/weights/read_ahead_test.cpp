#include "weights/read_ahead.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <string>

#include "support/temporary_folder.h"

namespace backlot {
namespace {

// How many of a file's pages are in memory.
size_t resident_pages(const std::filesystem::path& path, size_t bytes) {
  const int file = ::open(path.c_str(), O_RDONLY);
  void* at = ::mmap(nullptr, bytes, PROT_READ, MAP_SHARED, file, 0);
  std::vector<unsigned char> pages((bytes + 4095) / 4096);
  ::mincore(at, bytes, pages.data());
  ::munmap(at, bytes);
  ::close(file);
  size_t count = 0;
  for (const auto page : pages) count += page & 1;
  return count;
}

void forget(const std::filesystem::path& path) {
  const int file = ::open(path.c_str(), O_RDONLY);
  ::fsync(file);
  ::posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
  ::close(file);
}

TEST(ReadAhead, BringsWholeFilesIntoMemory) {
  const TemporaryFolder folder;
  constexpr size_t bytes = size_t{3} << 20;
  const auto a = folder.path() / "a", b = folder.path() / "b";
  std::ofstream(a) << std::string(bytes, 'a');
  std::ofstream(b) << std::string(bytes, 'b');
  const auto brought = [&] {
    return resident_pages(a, bytes) == bytes / 4096 && resident_pages(b, bytes) == bytes / 4096;
  };
  // A system short of memory takes pages away again: a few tries at having all of them at once.
  bool whole = false;
  for (int tries = 0; tries < 5 && !whole; ++tries) {
    forget(a);
    forget(b);
    const ReadAhead ahead({a, folder.path() / "missing", b});
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(6);
    while (!(whole = brought()) && std::chrono::steady_clock::now() < deadline)
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  EXPECT_TRUE(whole) << resident_pages(a, bytes) << " and " << resident_pages(b, bytes)
                     << " pages in memory of " << bytes / 4096;
}

TEST(ReadAhead, EndsBeforeItIsDone) {
  const TemporaryFolder folder;
  const auto file = folder.path() / "large";
  std::ofstream(file) << "x";
  std::filesystem::resize_file(file, uintmax_t{1} << 34);  // a hole: takes no room on the disk
  const auto begin = std::chrono::steady_clock::now();
  { const ReadAhead ahead({file}); }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
}

}  // namespace
}  // namespace backlot
