#include "base/arena.h"

#include <algorithm>
#include <utility>

namespace carat::base {

Result<std::byte*> Arena::allocate(std::size_t bytes) {
  // Few mappings, each twice as large as the one before: a model of experts has tens of thousands of matrices, more
  // than a process may map one by one, and a few small ones should not reserve what those take.
  constexpr std::size_t kLeast = std::size_t{2} << 20, kMost = std::size_t{256} << 20, kAlignment = 64;
  const std::size_t size = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  if (chunks_.empty() || chunks_.back().size() - used_ < size) {
    const std::size_t usual = chunks_.empty() ? kLeast : std::min(kMost, 2 * chunks_.back().size());
    auto chunk = ReservedMemory::reserve(std::max(size, usual));
    if (!chunk) return std::unexpected(chunk.error());
    chunk->prefer_large_pages();
    chunks_.push_back(std::move(*chunk));
    used_ = 0;
  }
  std::byte* out = chunks_.back().data() + used_;
  used_ += size;
  return out;
}

}  // namespace carat::base
