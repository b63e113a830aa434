// AVX2 with FMA and F16C.
#include <immintrin.h>

#include "kernels/attention.h"
#include "kernels/float_matmul.h"
#include "kernels/quantised_matmul.h"
#include "kernels/vector_rows.h"
#include "kernels/x86_avx2/products.h"

namespace carat::kernels {
namespace {

struct Half {
  using Stored = std::uint16_t;
  static Floats read(const Stored* p) { return reinterpret_cast<Floats>(_mm256_cvtph_ps(load128(p))); }
};
struct Bf16 {
  using Stored = std::uint16_t;
  static Floats read(const Stored* p) {
    return reinterpret_cast<Floats>(_mm256_slli_epi32(_mm256_cvtepu16_epi32(load128(p)), 16));
  }
};
struct Q8 : ElementQ8 {
  static Floats read(const Stored* p) {
    return reinterpret_cast<Floats>(
        _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)))));
  }
};

constexpr KernelTable make_table() {
  KernelTable table = vector_rows_table("avx2");
  add_cache_types(table);
  table.matmul[0] = float_matmul_tile<Avx2, FloatF32>;
  table.matmul[1] = float_matmul_tile<Avx2, FloatF16>;
  table.matmul[2] = float_matmul_tile<Avx2, FloatBf16>;
  table.busy_int8 = busy_int8_avx2;
  table.attention[1] = attention_tile<SingleWords<Half>>;
  table.attention[2] = attention_tile<SingleWords<Bf16>>;
  table.attention[3] = attention_tile<SingleWords<Q8>>;
  add_quantised_types<Avx2>(table);
  return table;
}

}  // namespace

extern const KernelTable kAvx2Table;
const KernelTable kAvx2Table = make_table();

}  // namespace carat::kernels
