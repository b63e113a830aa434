#include "base/arena.h"

#include <algorithm>
#include <utility>

namespace carat::base {

Result<std::byte*> Arena::allocate(std::size_t bytes) {
  // Few large mappings: a model of experts has tens of thousands of matrices, more than a process may map one by one.
  constexpr std::size_t kChunk = std::size_t{256} << 20, kAlignment = 64;
  const std::size_t size = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  if (chunks_.empty() || chunks_.back().size() - used_ < size) {
    auto chunk = ReservedMemory::reserve(std::max(size, kChunk));
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
