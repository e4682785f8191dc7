#include "pipelines/memory_pool.h"

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/util/Exception.h>
#include <sys/mman.h>

#include <map>
#include <mutex>
#include <unordered_map>

namespace backlot {
namespace {

constexpr size_t page = size_t{2} << 20;          // a huge page, and the grain of blocks
constexpr size_t smallest = size_t{1} << 20;      // smaller ones are the C library's business
constexpr size_t most_idle = size_t{1536} << 20;  // more goes back to the system

class MemoryPool final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    void* at = bytes < smallest ? small_.raw_allocate(bytes) : take(bytes);
    return {at, at, &release, c10::Device(c10::DeviceType::CPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    default_copy_data(to, from, bytes);
  }

  uint64_t idle_bytes() {
    const std::lock_guard lock(mutex_);
    return idle_bytes_;
  }

  void drop_all_idle() {
    const std::lock_guard lock(mutex_);
    drop_idle(0);
  }

  static MemoryPool& instance() {
    // Never destroyed: tensors of other static objects may be freed after it.
    static auto* pool = new MemoryPool;
    return *pool;
  }

 private:
  // Only blocks of ours start where a huge page does, but for a rare chance, which the table tells.
  static void release(void* at) {
    if (reinterpret_cast<uintptr_t>(at) % page != 0 || !instance().give_back(at)) {
      instance().small_.raw_deallocate(at);
    }
  }

  void* take(size_t bytes) {
    const size_t size = (bytes + page - 1) / page * page;
    const std::lock_guard lock(mutex_);
    const auto fit = idle_.lower_bound(size);
    if (fit != idle_.end() && fit->first <= size + size / 4) {
      void* at = fit->second;
      idle_bytes_ -= fit->first;
      in_use_.emplace(at, fit->first);
      idle_.erase(fit);
      return at;
    }
    void* at = map(size);
    if (!at) {
      drop_idle(0);
      at = map(size);
    }
    TORCH_CHECK(at, "can't allocate memory: you tried to allocate ", bytes, " bytes");
    in_use_.emplace(at, size);
    return at;
  }

  bool give_back(void* at) {
    const std::lock_guard lock(mutex_);
    const auto block = in_use_.find(at);
    if (block == in_use_.end()) return false;
    idle_.emplace(block->second, at);
    idle_bytes_ += block->second;
    in_use_.erase(block);
    drop_idle(most_idle);
    return true;
  }

  // The largest first: they are the least likely to be asked for again.
  void drop_idle(size_t keep) {
    while (idle_bytes_ > keep) {
      const auto largest = std::prev(idle_.end());
      munmap(largest->second, largest->first);
      idle_bytes_ -= largest->first;
      idle_.erase(largest);
    }
  }

  // Aligned to huge pages; null where the system has no more.
  static void* map(size_t size) {
    void* whole =
        mmap(nullptr, size + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (whole == MAP_FAILED) return nullptr;
    auto* begin = static_cast<char*>(whole);
    const size_t before = (page - reinterpret_cast<uintptr_t>(begin) % page) % page;
    if (before > 0) munmap(begin, before);
    munmap(begin + before + size, page - before);
    madvise(begin + before, size, MADV_HUGEPAGE);  // advice: no matter if it is not taken
    return begin + before;
  }

  c10::Allocator& small_ = *c10::GetDefaultCPUAllocator();
  std::mutex mutex_;
  std::multimap<size_t, void*> idle_;
  std::unordered_map<void*, size_t> in_use_;
  size_t idle_bytes_ = 0;
};

}  // namespace

void use_memory_pool() {
  static const bool done = [] {
    c10::SetCPUAllocator(&MemoryPool::instance(), 1);
    return true;
  }();
  (void)done;
}

uint64_t idle_pool_bytes() { return MemoryPool::instance().idle_bytes(); }

void drop_idle_pool() { MemoryPool::instance().drop_all_idle(); }

}  // namespace backlot
