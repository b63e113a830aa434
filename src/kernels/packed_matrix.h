// What a PackedMatrix holds, for the operations that read it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/ops.h"

namespace carat::kernels {

struct PackedMatrix::Impl {
  tensor::TensorView view;            ///< the mapped bytes
  const std::byte* packed = nullptr;  ///< rows interleaved (MatmulTile::packed); used instead where there
  std::int64_t packed_bytes = 0;
};

}  // namespace carat::kernels
