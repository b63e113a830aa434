// AVX-512 with VNNI and VBMI: integer dot products of 64 weights at a time. Decoding goes from the mapped bytes to the
// product in registers; for prompts the weights of a tile are unpacked once and every token is multiplied with them.
#include <immintrin.h>

#include "kernels/vector_rows.h"
#include "kernels/x86_avx512/unpack.h"

namespace carat::kernels {
namespace {

// Weights are worked through in chunks of this many columns, so that a tile's unpacked bytes stay in the first cache
// level.
constexpr std::int64_t kChunk = 2048;
constexpr std::int64_t kChunkGroups = kChunk / kActivationGroup;

struct Bf16 {
  using Stored = std::uint16_t;
  static Floats read(const Stored* p) {
    return reinterpret_cast<Floats>(_mm512_slli_epi32(_mm512_cvtepu16_epi32(load256(p)), 16));
  }
};
struct Half {
  using Stored = std::uint16_t;
  static Floats read(const Stored* p) { return reinterpret_cast<Floats>(_mm512_cvtph_ps(load256(p))); }
};

// Lane i of the result is p[i / 8] (sub-blocks of 32: 64 bytes hold two) or p[i / 4] (sub-blocks of 16: four), counted
// from where step `Step` of a group stands.
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

/// Sums of one row and one token: two chains of products, and the offsets' part.
struct Sums {
  __m512 even = _mm512_setzero_ps(), odd = _mm512_setzero_ps(), offset = _mm512_setzero_ps();
  float total() const { return _mm512_reduce_add_ps(_mm512_sub_ps(_mm512_add_ps(even, odd), offset)); }
};

// One group's activations for one token: pointers to where the group starts.
struct GroupActivations {
  const std::int8_t* q;
  const float *scale, *sum, *half_sum;
};
inline GroupActivations activations(const QuantisedRows& x, std::int64_t token, std::int64_t column) {
  const std::int64_t at = token * x.padded + column;
  return {x.q + at, x.scale + at / 32, x.sum + at / 32, x.half_sum + at / 16};
}

// Scales of weights times scales of activations for the sub-blocks of a group, and the offsets' sum.
template <int Sub>
inline void join_scales(const __m512 (&scale)[2], const __m512 (&offset)[2], const GroupActivations& x, Sums& sums,
                        __m512 (&joined)[2]) {
  const __m512 dx = _mm512_loadu_ps(x.scale);
  if constexpr (Sub == 32) {
    joined[0] = joined[1] = _mm512_mul_ps(scale[0], dx);
    sums.offset = _mm512_fmadd_ps(offset[0], _mm512_loadu_ps(x.sum), sums.offset);
  } else {
    const __m512i low = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
    const __m512i high = _mm512_setr_epi32(8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13, 14, 14, 15, 15);
    joined[0] = _mm512_mul_ps(scale[0], _mm512_permutexvar_ps(low, dx));
    joined[1] = _mm512_mul_ps(scale[1], _mm512_permutexvar_ps(high, dx));
    sums.offset = _mm512_fmadd_ps(offset[0], _mm512_loadu_ps(x.half_sum), sums.offset);
    sums.offset = _mm512_fmadd_ps(offset[1], _mm512_loadu_ps(x.half_sum + 16), sums.offset);
  }
}

template <int Sub, int Step>
inline void multiply_step(__m512i w, const GroupActivations& x, const __m512 (&joined)[2], Sums& sums) {
  const __m512i z = _mm512_dpbusd_epi32(_mm512_setzero_si512(), w, load512(x.q + Step * 64));
  __m512& chain = Step % 2 == 0 ? sums.even : sums.odd;
  chain = _mm512_fmadd_ps(_mm512_cvtepi32_ps(z), spread<Sub, Step>(joined[Step / 4]), chain);
}

template <int Sub, typename Weights>
inline void multiply_group(const Weights& w, const GroupActivations& x, const __m512 (&joined)[2], Sums& sums) {
  multiply_step<Sub, 0>(w(0), x, joined, sums);
  multiply_step<Sub, 1>(w(1), x, joined, sums);
  multiply_step<Sub, 2>(w(2), x, joined, sums);
  multiply_step<Sub, 3>(w(3), x, joined, sums);
  multiply_step<Sub, 4>(w(4), x, joined, sums);
  multiply_step<Sub, 5>(w(5), x, joined, sums);
  multiply_step<Sub, 6>(w(6), x, joined, sums);
  multiply_step<Sub, 7>(w(7), x, joined, sums);
}

// Reads the group that starts at `column` of a row with `in` columns; what lies beyond the row is zero.
template <typename Format>
inline void read_group(const std::uint8_t* row, std::int64_t column, std::int64_t in, Group& group) {
  const std::uint8_t* p = row + column / Format::kValues * Format::kBytes;
  if (column + kActivationGroup <= in) return Format::read(p, group);
  constexpr std::int64_t kGroupBytes = kActivationGroup / Format::kValues * Format::kBytes;
  alignas(64) std::uint8_t rest[kGroupBytes] = {};
  __builtin_memcpy(rest, p, static_cast<std::size_t>((in - column) / Format::kValues * Format::kBytes));
  Format::read(rest, group);
}

template <typename Format>
inline void one_token(const MatmulTile& tile) {
  for (std::int64_t r = 0; r < tile.rows; ++r) {
    const std::uint8_t* row = tile.weights + r * tile.weight_row_bytes;
    float total = 0;
    for (std::int64_t chunk = 0; chunk < tile.in; chunk += kChunk) {
      Sums sums;
      for (std::int64_t column = chunk; column < chunk + kChunk && column < tile.in; column += kActivationGroup) {
        Group group;
        const std::uint8_t* here = row + column / Format::kValues * Format::kBytes;
        for (int line = 0; line < kActivationGroup / Format::kValues * Format::kBytes; line += 64)
          prefetch(here + line);
        read_group<Format>(row, column, tile.in, group);
        const GroupActivations x = activations(tile.quantised, 0, column);
        __m512 joined[2];
        join_scales<Format::kSub>(group.scale, group.offset, x, sums, joined);
        multiply_group<Format::kSub>([&](int j) { return group.u[j]; }, x, joined, sums);
      }
      total = chunk == 0 ? sums.total() : total + sums.total();
    }
    tile.out[r] = total;
  }
}

/// One row's chunk, unpacked.
struct alignas(64) UnpackedRow {
  std::uint8_t u[kChunk];
  float scale[kChunkGroups][32], offset[kChunkGroups][32];
};

template <int Sub, int Tokens>
inline void many_tokens(const UnpackedRow& row, const MatmulTile& tile, std::int64_t r, std::int64_t token,
                        std::int64_t chunk, std::int64_t groups) {
  Sums sums[Tokens];
  for (std::int64_t g = 0; g < groups; ++g) {
    const __m512 scale[2] = {_mm512_load_ps(row.scale[g]), _mm512_load_ps(row.scale[g] + 16)};
    const __m512 offset[2] = {_mm512_load_ps(row.offset[g]), _mm512_load_ps(row.offset[g] + 16)};
    for (int t = 0; t < Tokens; ++t) {
      const GroupActivations x = activations(tile.quantised, token + t, chunk + g * kActivationGroup);
      __m512 joined[2];
      join_scales<Sub>(scale, offset, x, sums[t], joined);
      multiply_group<Sub>([&](int j) { return _mm512_load_si512(row.u + g * kActivationGroup + 64 * j); }, x, joined,
                          sums[t]);
    }
  }
  for (int t = 0; t < Tokens; ++t) {
    float& out = tile.out[(token + t) * tile.out_stride + r];
    out = chunk == 0 ? sums[t].total() : out + sums[t].total();
  }
}

template <typename Format>
void quantised_tile(const MatmulTile& tile) {
  if (tile.tokens == 1) return one_token<Format>(tile);
  UnpackedRow rows[kTileRows];
  for (std::int64_t chunk = 0; chunk < tile.in; chunk += kChunk) {
    const std::int64_t end = chunk + kChunk < tile.in ? chunk + kChunk : tile.in;
    const std::int64_t groups = (end - chunk + kActivationGroup - 1) / kActivationGroup;
    for (std::int64_t r = 0; r < tile.rows; ++r) {
      for (std::int64_t g = 0; g < groups; ++g) {
        Group group;
        read_group<Format>(tile.weights + r * tile.weight_row_bytes, chunk + g * kActivationGroup, tile.in, group);
        for (int j = 0; j < 8; ++j) _mm512_store_si512(rows[r].u + g * kActivationGroup + 64 * j, group.u[j]);
        for (int half = 0; half < (Format::kSub == 32 ? 1 : 2); ++half) {
          _mm512_store_ps(rows[r].scale[g] + 16 * half, group.scale[half]);
          _mm512_store_ps(rows[r].offset[g] + 16 * half, group.offset[half]);
        }
      }
    }
    std::int64_t t = 0;
    for (; t + 2 <= tile.tokens; t += 2) {
      for (std::int64_t r = 0; r < tile.rows; ++r) many_tokens<Format::kSub, 2>(rows[r], tile, r, t, chunk, groups);
    }
    for (; t < tile.tokens; ++t) {
      for (std::int64_t r = 0; r < tile.rows; ++r) many_tokens<Format::kSub, 1>(rows[r], tile, r, t, chunk, groups);
    }
  }
}

std::int64_t busy_int8_avx512(std::int64_t rounds, float* sink) {
  constexpr int kChains = 16;
  const __m512i x = _mm512_set1_epi8(3), w = _mm512_set1_epi8(2);
  __m512i sum[kChains];
  for (__m512i& s : sum) s = _mm512_setzero_si512();
  for (std::int64_t i = 0; i < rounds; ++i) {
    for (__m512i& s : sum) s = _mm512_dpbusd_epi32(s, w, x);
  }
  for (int i = 1; i < kChains; ++i) sum[0] = _mm512_add_epi32(sum[0], sum[i]);
  _mm512_storeu_ps(sink, _mm512_cvtepi32_ps(sum[0]));
  return rounds * kChains * 64;
}

template <typename Format>
constexpr void add(KernelTable& table, int type) {
  table.matmul[type] = quantised_tile<Format>;
  table.takes_quantised[type] = true;
}

constexpr KernelTable make_table() {
  KernelTable table = vector_rows_table("avx512");
  table.matmul[1] = float_tile<Half>;
  table.matmul[2] = float_tile<Bf16>;
  table.busy_int8 = busy_int8_avx512;
  table.attention[1] = attention_tile<Half>;
  table.attention[2] = attention_tile<Bf16>;
  // tensor::DType: q4_0 13, q4_1, q5_0, q5_1, q8_0, q2_k, q3_k, q4_k 20, q5_k, q6_k, iq4_nl 23.
  add<GroupQ4_0>(table, 13);
  add<GroupQ4_1>(table, 14);
  add<GroupQ5_0>(table, 15);
  add<GroupQ5_1>(table, 16);
  add<GroupQ8_0>(table, 17);
  add<GroupQ4K>(table, 20);
  add<GroupQ5K>(table, 21);
  add<GroupQ6K>(table, 22);
  add<GroupIq4Nl>(table, 23);
  return table;
}

}  // namespace

extern const KernelTable kAvx512Table;
const KernelTable kAvx512Table = make_table();

}  // namespace carat::kernels
