// A table for tests alone: see wide_table.cpp.
#pragma once

#include "kernels/abi.h"

namespace carat::kernels {

/// With products of bf16 pairs, or with f32 activations for bf16 weights.
KernelTable wide_table(bool bf16);

}  // namespace carat::kernels
