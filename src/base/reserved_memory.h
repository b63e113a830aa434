// Address space reserved in full and backed by memory page by page, as it is first written.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "carat/result.h"

namespace carat::base {

/// Owns a reservation; all bytes read as zero until written. Movable, not copyable.
class ReservedMemory {
 public:
  ReservedMemory() = default;
  /// Reserves `bytes` of address space without committing memory. out_of_memory when the system refuses.
  static Result<ReservedMemory> reserve(std::size_t bytes);
  ~ReservedMemory();
  ReservedMemory(ReservedMemory&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  ReservedMemory& operator=(ReservedMemory&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }

  std::byte* data() const { return data_; }
  std::size_t size() const { return size_; }
  /// Asks for pages of 2 MB: for memory that is written soon and read in long runs, where looking up a page every 4 KB
  /// costs speed (docs/benchmarks.md).
  void prefer_large_pages();
  /// Gives the memory behind all pages back; the contents read as zero again.
  void release();

 private:
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

/// Physical memory of this machine in bytes, less what a cgroup forbids this process to use.
std::int64_t usable_memory_bytes();
/// The same without what other programs hold now; memory that only keeps copies of files counts as free.
std::int64_t free_memory_bytes();

}  // namespace carat::base
