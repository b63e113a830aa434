// What this machine can do at best, measured: the limits that kernels are held against.
#pragma once

#include "kernels/ops.h"

namespace carat::kernels {

struct MachineLimits {
  double read_bytes_per_second = 0;  ///< all threads reading memory that no cache holds
  double int8_macs_per_second =
      0;  ///< products of 8-bit integers in registers; 0 where the table has no integer kernels
  double bf16_macs_per_second = 0;   ///< products of bf16 in registers; 0 where the table has no kernels of them
  double float_macs_per_second = 0;  ///< f32 multiply-adds in registers
};

/// Measures for about `seconds` per figure with the context's threads and table; the best of several short runs counts,
/// which is what a busy machine lets through. Takes 256 MiB while it runs.
MachineLimits measure_limits(const Context& context, double seconds);

}  // namespace carat::kernels
