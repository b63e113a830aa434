// What instruction sets this processor has and the operating system lets us use. Asked once by the kernel dispatcher.
#pragma once

#include <cstdint>
#include <string>

namespace carat::base {

/// One flag per instruction set that some kernel table needs. False on other architectures, and false when the
/// operating system does not save the registers the set uses.
struct CpuFeatures {
  bool avx2 = false;
  bool fma = false;
  bool f16c = false;
  bool avx512f = false;
  bool avx512bw = false;
  bool avx512vl = false;
  bool avx512dq = false;
  bool avx512_vnni = false;
  bool avx512_bf16 = false;
  bool slow_avx512_bf16 = false;  ///< its bf16 products take longer than multiply-adds of f32 (Intel's)
  /// How many bytes before they are read a run of memory is best asked for; 0 where the processor sees by itself what
  /// comes next and is only disturbed.
  std::int64_t stream_ahead = 0;
  bool neon = false;
  bool neon_dotprod = false;
  bool neon_i8mm = false;
};

/// Asks the processor. Cheap, but not free: keep the answer.
CpuFeatures detect_cpu_features();

/// The processor's own name ("AMD EPYC …"), or the architecture where it does not tell.
std::string cpu_name();

}  // namespace carat::base
