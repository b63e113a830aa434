// AVX2 with FMA and F16C: integer dot products by the 16-bit multiply-add of unsigned with signed bytes. Its pair sums
// saturate above 32767, so bytes beyond 7 bits are split into halves of at most 127 first.
#include <immintrin.h>

#include "kernels/vector_rows.h"
#include "kernels/x86_avx2/unpack.h"

namespace carat::kernels {
namespace {

// u . q in 8 lanes of 4 products each.
template <bool Wide>
inline __m256i dot32(__m256i u, __m256i q) {
  const __m256i ones = _mm256_set1_epi16(1);
  if constexpr (Wide) {
    // u = half + rest, both at most 128: 128 * 127 * 2 still fits.
    const __m256i half = _mm256_and_si256(_mm256_srli_epi16(u, 1), _mm256_set1_epi8(0x7F));
    const __m256i rest = _mm256_sub_epi8(u, half);
    return _mm256_add_epi32(_mm256_madd_epi16(_mm256_maddubs_epi16(half, q), ones),
                            _mm256_madd_epi16(_mm256_maddubs_epi16(rest, q), ones));
  } else {
    return _mm256_madd_epi16(_mm256_maddubs_epi16(u, q), ones);
  }
}

template <int Sub, bool Wide, int Tokens>
inline void dot_chunk(const std::uint8_t* u, const float* scale, const float* offset, const MatmulTile& tile,
                      std::int64_t row, std::int64_t token, std::int64_t begin, std::int64_t blocks) {
  const QuantisedRows& x = tile.quantised;
  __m256 acc[Tokens], off[Tokens];
  for (int t = 0; t < Tokens; ++t) acc[t] = off[t] = _mm256_setzero_ps();
  for (std::int64_t b = 0; b < blocks; ++b) {
    const __m256i w = load256(u + 32 * b);
    for (int t = 0; t < Tokens; ++t) {
      const std::int64_t at = (token + t) * x.padded + begin + 32 * b;
      const __m256i q = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x.q + at));
      const __m256 z = _mm256_cvtepi32_ps(dot32<Wide>(w, q));
      __m256 d = _mm256_set1_ps(scale[b] * x.scale[at / 32]);
      if constexpr (Sub == 16) {
        const float dx = x.scale[at / 32];
        d = _mm256_set_m128(_mm_set1_ps(scale[2 * b + 1] * dx), _mm_set1_ps(scale[2 * b] * dx));
      }
      acc[t] = _mm256_fmadd_ps(z, d, acc[t]);
    }
  }
  constexpr std::int64_t per_block = 32 / Sub;
  for (std::int64_t i = 0; i < blocks * per_block; i += 8) {
    for (int t = 0; t < Tokens; ++t) {
      const float* sums = Sub == 32 ? x.sum + ((token + t) * x.padded + begin) / 32 : x.half_sum + ((token + t) * x.padded + begin) / 16;
      off[t] = _mm256_fmadd_ps(_mm256_loadu_ps(offset + i), _mm256_loadu_ps(sums + i), off[t]);
    }
  }
  for (int t = 0; t < Tokens; ++t) {
    alignas(32) float lanes[16] = {};
    _mm256_store_ps(lanes, _mm256_sub_ps(acc[t], off[t]));
    const float value = sum_lanes(load<F16>(lanes));
    float& out = tile.out[(token + t) * tile.out_stride + row];
    out = begin == 0 ? value : out + value;
  }
}

template <typename Format, bool Wide>
void quantised_tile(const MatmulTile& tile) {
  alignas(64) std::uint8_t u[kTileRows][kChunk];
  alignas(64) float scale[kTileRows][kChunk / Format::kSub], offset[kTileRows][kChunk / Format::kSub];
  for (std::int64_t begin = 0; begin < tile.in; begin += kChunk) {
    const std::int64_t end = begin + kChunk < tile.in ? begin + kChunk : tile.in;
    const std::int64_t blocks = (end - begin + kActivationGroup - 1) / kActivationGroup * (kActivationGroup / 32);
    for (std::int64_t r = 0; r < tile.rows; ++r) {
      unpack_row<Format>(tile.weights + r * tile.weight_row_bytes, begin, end, u[r], scale[r], offset[r]);
      if (tile.tokens == 1) dot_chunk<Format::kSub, Wide, 1>(u[r], scale[r], offset[r], tile, r, 0, begin, blocks);
    }
    if (tile.tokens == 1) continue;
    std::int64_t t = 0;
    for (; t + 4 <= tile.tokens; t += 4) {
      for (std::int64_t r = 0; r < tile.rows; ++r) {
        dot_chunk<Format::kSub, Wide, 4>(u[r], scale[r], offset[r], tile, r, t, begin, blocks);
      }
    }
    for (; t < tile.tokens; ++t) {
      for (std::int64_t r = 0; r < tile.rows; ++r) {
        dot_chunk<Format::kSub, Wide, 1>(u[r], scale[r], offset[r], tile, r, t, begin, blocks);
      }
    }
  }
}

template <typename Format, bool Wide>
constexpr void add(KernelTable& table, int type) {
  table.matmul[type] = quantised_tile<Format, Wide>;
  table.takes_quantised[type] = true;
}

constexpr KernelTable make_table() {
  KernelTable table = vector_rows_table("avx2");
  // tensor::DType: q4_0 13, q4_1, q5_0, q5_1, q8_0, q2_k, q3_k, q4_k 20, q5_k, q6_k, iq4_nl 23.
  add<UnpackQ4_0, false>(table, 13);
  add<UnpackQ4_1, false>(table, 14);
  add<UnpackQ5_0, false>(table, 15);
  add<UnpackQ5_1, false>(table, 16);
  add<UnpackQ8_0, true>(table, 17);
  add<UnpackQ4K, false>(table, 20);
  add<UnpackQ5K, false>(table, 21);
  add<UnpackQ6K, false>(table, 22);
  add<UnpackIq4Nl, true>(table, 23);
  return table;
}

}  // namespace

extern const KernelTable kAvx2Table;
const KernelTable kAvx2Table = make_table();

}  // namespace carat::kernels
