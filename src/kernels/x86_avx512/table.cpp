// AVX-512 with VNNI; compiled a second time with BF16, for the processors that have it.
#include <immintrin.h>

#include "kernels/attention.h"
#include "kernels/bf16_matmul.h"
#include "kernels/float_matmul.h"
#include "kernels/quantised_matmul.h"
#include "kernels/vector_rows.h"
#include "kernels/x86_avx512/products.h"

namespace carat::kernels {
namespace {

#if !defined(__AVX512BF16__)
struct Bf16 {
  using Stored = std::uint16_t;
  static Floats read(const Stored* p) {
    const __m256i halves = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    return reinterpret_cast<Floats>(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
  }
};
#endif
struct Half {
  using Stored = std::uint16_t;
  static Floats read(const Stored* p) { return Avx512::halves(load<Halves>(p)); }
};

constexpr KernelTable make_table(const char* name) {
  KernelTable table = vector_rows_table(name);
  add_cache_types(table);
  table.matmul[0] = float_matmul_tile<Avx512, FloatF32>;
  table.matmul[1] = float_matmul_tile<Avx512, FloatF16>;
  table.matmul[2] = float_matmul_tile<Avx512, FloatBf16>;
  table.busy_int8 = busy_int8_avx512;
  table.attention[1] = attention_tile<SingleWords<Half>>;
  add_quantised_types<Avx512>(table);
#if defined(__AVX512BF16__)
  add_bf16_products<Avx512>(table);
  add_cache_type<PairWords<Avx512>>(table, 2);
  table.busy_bf16 = busy_bf16_avx512;
#else
  table.attention[2] = attention_tile<SingleWords<Bf16>>;
#endif
  return table;
}

}  // namespace

#if defined(__AVX512BF16__)
extern const KernelTable kAvx512Bf16Table;
const KernelTable kAvx512Bf16Table = make_table("avx512_bf16");
#else
extern const KernelTable kAvx512Table;
const KernelTable kAvx512Table = make_table("avx512");
#endif

}  // namespace carat::kernels
