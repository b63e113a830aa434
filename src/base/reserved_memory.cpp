#include "base/reserved_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <fstream>
#include <string>

#include "base/concat.h"

namespace carat::base {

Result<ReservedMemory> ReservedMemory::reserve(std::size_t bytes) {
  ReservedMemory out;
  if (bytes == 0) return out;
  void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) {
    return fail(ErrorCode::out_of_memory, concat("cannot reserve ", bytes, " bytes of address space"));
  }
  out.data_ = static_cast<std::byte*>(p);
  out.size_ = bytes;
  return out;
}

ReservedMemory::~ReservedMemory() {
  if (data_ != nullptr) munmap(data_, size_);
}

void ReservedMemory::prefer_large_pages() {
#if defined(MADV_HUGEPAGE)
  if (data_ != nullptr) madvise(data_, size_, MADV_HUGEPAGE);  // refused where the system has none: then as before
#endif
}

void ReservedMemory::release() {
  if (data_ != nullptr) madvise(data_, size_, MADV_DONTNEED);
}

std::int64_t usable_memory_bytes() {
  std::int64_t bytes = static_cast<std::int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE);
  for (const char* path : {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}) {
    std::ifstream in(path);
    std::int64_t limit = 0;
    if (in >> limit && limit > 0) bytes = std::min(bytes, limit);  // "max" does not parse as a number
  }
  return bytes;
}

std::int64_t free_memory_bytes() {
  std::int64_t bytes = usable_memory_bytes();
  std::ifstream in("/proc/meminfo");  // "MemAvailable:   24163264 kB"
  for (std::string line; std::getline(in, line);) {
    std::int64_t kibibytes = 0;
    if (std::sscanf(line.c_str(), "MemAvailable: %" SCNd64, &kibibytes) == 1) bytes = std::min(bytes, kibibytes * 1024);
  }
  return bytes;
}

}  // namespace carat::base
