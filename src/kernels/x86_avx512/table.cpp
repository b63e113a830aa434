// AVX-512 with VNNI: integer dot products of 64 weights at a time. Weights of a tile are unpacked once into the first
// cache level, then every token's 8-bit activations are multiplied with them.
#include <immintrin.h>

#include "kernels/vector_rows.h"
#include "kernels/x86_unpack.h"

namespace carat::kernels {
namespace {

// Lane i of the result is p[i / 8] (sub-blocks of 32, 64 bytes hold two) or p[i / 4] (sub-blocks of 16, four), from the
// first, second, … such set of p.
template <int Sub, int Step>
inline __m512 spread(__m512 p) {
  if constexpr (Sub == 32) {
    constexpr int a = 2 * Step, b = a + 1;
    return _mm512_permutexvar_ps(_mm512_setr_epi32(a, a, a, a, a, a, a, a, b, b, b, b, b, b, b, b), p);
  } else {
    constexpr int a = 4 * (Step % 4), b = a + 1, c = a + 2, d = a + 3;
    return _mm512_permutexvar_ps(_mm512_setr_epi32(a, a, a, a, b, b, b, b, c, c, c, c, d, d, d, d), p);
  }
}

inline __m512i load512(const void* p) { return _mm512_loadu_si512(p); }

// One row against Tokens tokens over one chunk: out[t] (+)= sum scale dx (u . q) - offset * sums.
template <int Sub, int Tokens>
inline void dot_chunk(const std::uint8_t* u, const float* scale, const float* offset, const MatmulTile& tile,
                      std::int64_t row, std::int64_t token, std::int64_t begin, std::int64_t groups) {
  const QuantisedRows& x = tile.quantised;
  __m512 acc[Tokens], off[Tokens];
  for (int t = 0; t < Tokens; ++t) acc[t] = off[t] = _mm512_setzero_ps();
  const __m512i low_half = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
  const __m512i high_half = _mm512_setr_epi32(8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13, 14, 14, 15, 15);
  for (std::int64_t g = 0; g < groups; ++g) {
    const std::int64_t at = begin + g * kActivationGroup;
    __m512 first[Tokens], second[Tokens];
    for (int t = 0; t < Tokens; ++t) {
      const std::int64_t r = token + t;
      const __m512 dx = _mm512_loadu_ps(x.scale + (r * x.padded + at) / 32);
      if constexpr (Sub == 32) {
        first[t] = _mm512_mul_ps(_mm512_loadu_ps(scale + g * 16), dx);
        off[t] = _mm512_fmadd_ps(_mm512_loadu_ps(offset + g * 16), _mm512_loadu_ps(x.sum + (r * x.padded + at) / 32), off[t]);
      } else {
        first[t] = _mm512_mul_ps(_mm512_loadu_ps(scale + g * 32), _mm512_permutexvar_ps(low_half, dx));
        second[t] = _mm512_mul_ps(_mm512_loadu_ps(scale + g * 32 + 16), _mm512_permutexvar_ps(high_half, dx));
        const float* sums = x.half_sum + (r * x.padded + at) / 16;
        off[t] = _mm512_fmadd_ps(_mm512_loadu_ps(offset + g * 32), _mm512_loadu_ps(sums), off[t]);
        off[t] = _mm512_fmadd_ps(_mm512_loadu_ps(offset + g * 32 + 16), _mm512_loadu_ps(sums + 16), off[t]);
      }
    }
    const auto step = [&]<int Step>() {
      const __m512i w = load512(u + g * kActivationGroup + Step * 64);
      for (int t = 0; t < Tokens; ++t) {
        const std::int8_t* q = x.q + (token + t) * x.padded + at + Step * 64;
        const __m512i z = _mm512_dpbusd_epi32(_mm512_setzero_si512(), w, load512(q));
        const __m512 p = Sub == 32 || Step < 4 ? first[t] : second[t];
        acc[t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(z), spread<Sub, Step>(p), acc[t]);
      }
    };
    step.template operator()<0>();
    step.template operator()<1>();
    step.template operator()<2>();
    step.template operator()<3>();
    step.template operator()<4>();
    step.template operator()<5>();
    step.template operator()<6>();
    step.template operator()<7>();
  }
  for (int t = 0; t < Tokens; ++t) {
    F16 lanes;
    const __m512 difference = _mm512_sub_ps(acc[t], off[t]);
    __builtin_memcpy(&lanes, &difference, sizeof lanes);
    float& out = tile.out[(token + t) * tile.out_stride + row];
    out = begin == 0 ? sum_lanes(lanes) : out + sum_lanes(lanes);
  }
}

template <typename Format>
void quantised_tile(const MatmulTile& tile) {
  alignas(64) std::uint8_t u[kTileRows][kChunk];
  alignas(64) float scale[kTileRows][kChunk / Format::kSub], offset[kTileRows][kChunk / Format::kSub];
  for (std::int64_t begin = 0; begin < tile.in; begin += kChunk) {
    const std::int64_t end = begin + kChunk < tile.in ? begin + kChunk : tile.in;
    const std::int64_t groups = (end - begin + kActivationGroup - 1) / kActivationGroup;
    if (tile.tokens == 1) {  // decoding: each row is used once, straight from the first cache level
      for (std::int64_t r = 0; r < tile.rows; ++r) {
        unpack_row<Format>(tile.weights + r * tile.weight_row_bytes, begin, end, u[0], scale[0], offset[0]);
        dot_chunk<Format::kSub, 1>(u[0], scale[0], offset[0], tile, r, 0, begin, groups);
      }
      continue;
    }
    for (std::int64_t r = 0; r < tile.rows; ++r) {
      unpack_row<Format>(tile.weights + r * tile.weight_row_bytes, begin, end, u[r], scale[r], offset[r]);
    }
    std::int64_t t = 0;
    for (; t + 4 <= tile.tokens; t += 4) {
      for (std::int64_t r = 0; r < tile.rows; ++r) dot_chunk<Format::kSub, 4>(u[r], scale[r], offset[r], tile, r, t, begin, groups);
    }
    for (; t < tile.tokens; ++t) {
      for (std::int64_t r = 0; r < tile.rows; ++r) dot_chunk<Format::kSub, 1>(u[r], scale[r], offset[r], tile, r, t, begin, groups);
    }
  }
}

template <typename Format>
constexpr void add(KernelTable& table, int type) {
  table.matmul[type] = quantised_tile<Format>;
  table.takes_quantised[type] = true;
}

constexpr KernelTable make_table() {
  KernelTable table = vector_rows_table("avx512");
  // tensor::DType: q4_0 13, q4_1, q5_0, q5_1, q8_0, q2_k, q3_k, q4_k 20, q5_k, q6_k, iq4_nl 23.
  add<UnpackQ4_0>(table, 13);
  add<UnpackQ4_1>(table, 14);
  add<UnpackQ5_0>(table, 15);
  add<UnpackQ5_1>(table, 16);
  add<UnpackQ8_0>(table, 17);
  add<UnpackQ4K>(table, 20);
  add<UnpackQ5K>(table, 21);
  add<UnpackQ6K>(table, 22);
  add<UnpackIq4Nl>(table, 23);
  return table;
}

}  // namespace

extern const KernelTable kAvx512Table;
const KernelTable kAvx512Table = make_table();

}  // namespace carat::kernels
