// AVX2 with FMA and F16C: integer dot products by the 16-bit multiply-add of unsigned with signed bytes. Its sums of
// pairs saturate above 32767, so 8-bit weights give their signs to the activations first.
#include <immintrin.h>

#include "kernels/vector_rows.h"
#include "kernels/x86_avx2/float_matmul.h"
#include "kernels/x86_avx2/quantised_matmul.h"

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

template <typename Format>
constexpr void add(KernelTable& table, int type) {
  table.matmul[type] = quantised_tile<Format>;
  table.takes_quantised[type] = true;
}

constexpr KernelTable make_table() {
  KernelTable table = vector_rows_table("avx2");
  table.matmul[0] = float_tile_avx2<FloatF32>;
  table.matmul[1] = float_tile_avx2<FloatF16>;
  table.matmul[2] = float_tile_avx2<FloatBf16>;
  table.busy_int8 = busy_int8_avx2;
  table.packed_rows = 8;
  table.attention[1] = attention_tile<Half>;
  table.attention[2] = attention_tile<Bf16>;
  table.attention[3] = attention_tile<Q8>;
  // tensor::DType: q4_0 13, q4_1, q5_0, q5_1, q8_0, q2_k, q3_k, q4_k 20, q5_k, q6_k, iq4_nl 23.
  add<Q4_0>(table, 13);
  add<Q4_1>(table, 14);
  add<Q5_0>(table, 15);
  add<Q5_1>(table, 16);
  add<Q8_0>(table, 17);
  add<Q4K>(table, 20);
  add<Q5K>(table, 21);
  add<Q6K>(table, 22);
  add<Iq4Nl>(table, 23);
  return table;
}

}  // namespace

extern const KernelTable kAvx2Table;
const KernelTable kAvx2Table = make_table();

}  // namespace carat::kernels
