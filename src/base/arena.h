// Memory that is handed out piece by piece and given back all at once.
#pragma once

#include <cstddef>
#include <vector>

#include "base/reserved_memory.h"

namespace carat::base {

/// Pieces of memory that live as long as the arena; zero until written, and backed by memory only then. Movable: the
/// pieces stay where they are. Not thread-safe.
class Arena {
 public:
  /// `bytes` at a multiple of 64. out_of_memory when the system refuses.
  Result<std::byte*> allocate(std::size_t bytes);

 private:
  std::vector<ReservedMemory> chunks_;
  std::size_t used_ = 0;  ///< of the last chunk
};

}  // namespace carat::base
