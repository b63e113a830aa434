// Tiles of 16- and 32-bit float weights times f32 activations. One result is a sum over runs of 64 columns, in order,
// each run one chain of fused multiply-adds in order of columns: the same bits for one token and for many.
#pragma once

#include <immintrin.h>

#include "kernels/abi.h"
#include "kernels/x86_avx2/products.h"

namespace carat::kernels {
namespace {

constexpr std::int64_t kRunColumns = 64;

// How sixteen bytes of each of eight rows become vectors of one column each (lane r is row r).
struct FloatF32 {
  static constexpr std::int64_t kBytes = 4;
  [[gnu::always_inline]] static void columns(const Bits (&t)[4], __m256 (&out)[4]) {
    for (int i = 0; i < 4; ++i) out[i] = reinterpret_cast<__m256>(t[i]);
  }
};
struct FloatBf16 {
  static constexpr std::int64_t kBytes = 2;
  [[gnu::always_inline]] static void columns(const Bits (&t)[4], __m256 (&out)[8]) {
    for (int i = 0; i < 4; ++i) {
      out[2 * i] = reinterpret_cast<__m256>(t[i] << 16);
      out[2 * i + 1] = reinterpret_cast<__m256>(t[i] & 0xFFFF0000U);
    }
  }
};
struct FloatF16 {
  static constexpr std::int64_t kBytes = 2;
  [[gnu::always_inline]] static void columns(const Bits (&t)[4], __m256 (&out)[8]) {
    for (int i = 0; i < 4; ++i) {
      const __m256i even = reinterpret_cast<__m256i>(t[i] & 0xFFFFU), odd = reinterpret_cast<__m256i>(t[i] >> 16);
      const __m256i halves = _mm256_permute4x64_epi64(_mm256_packus_epi32(even, odd), 0xD8);
      out[2 * i] = _mm256_cvtph_ps(_mm256_castsi256_si128(halves));
      out[2 * i + 1] = _mm256_cvtph_ps(_mm256_extracti128_si256(halves, 1));
    }
  }
};

// Runs runs of 64 columns side by side, so that their chains hide each other's latency; added to `total` in order.
template <typename Element, int Runs>
[[gnu::always_inline]] inline __m256 add_runs(__m256 total, const std::uint8_t* const (&row)[8], std::int64_t at,
                                              std::int64_t ahead, const float* x) {
  constexpr int kStep = static_cast<int>(16 / Element::kBytes);
  __m256 acc[Runs];
  for (__m256& a : acc) a = _mm256_setzero_ps();
  for (std::int64_t k = 0; k < kRunColumns; k += kStep) {
    for (int run = 0; run < Runs; ++run) {
      const std::int64_t column = run * kRunColumns + k;
      Bits t[4];
      Avx2::transpose16(row, at + column * Element::kBytes, t);
      __m256 w[kStep];
      Element::columns(t, w);
      for (int i = 0; i < kStep; ++i) acc[run] = _mm256_fmadd_ps(w[i], _mm256_broadcast_ss(x + column + i), acc[run]);
    }
    for (int r = 0; r < 8; ++r) {
      _mm_prefetch(reinterpret_cast<const char*>(row[r] + at + ahead + k * Element::kBytes * Runs), _MM_HINT_T0);
    }
  }
  for (const __m256& a : acc) total = _mm256_add_ps(total, a);
  return total;
}

template <typename Element>
[[gnu::noinline]] void one_token_float(const MatmulTile& tile) {
  constexpr std::int64_t kRuns = 4, kTogether = kRuns * kRunColumns;
  const std::int64_t ahead = kTileRows * tile.weight_row_bytes;
  for (std::int64_t first = 0; first < tile.rows; first += 8) {
    const RowPointers rows(tile, first);
    __m256 total = _mm256_setzero_ps();
    std::int64_t k = 0;
    for (; k + kTogether <= tile.in; k += kTogether) {
      total = add_runs<Element, kRuns>(total, rows.row, k * Element::kBytes, ahead, tile.x + k);
    }
    for (; k < tile.in; k += kRunColumns) {
      const std::int64_t n = tile.in - k < kRunColumns ? tile.in - k : kRunColumns;
      if (n == kRunColumns) {
        total = add_runs<Element, 1>(total, rows.row, k * Element::kBytes, ahead, tile.x + k);
        continue;
      }
      // The last columns, with zeros behind them: a product of zeros changes no sum.
      alignas(32) std::uint8_t copy[8][kRunColumns * Element::kBytes] = {};
      alignas(32) float x[kRunColumns] = {};
      const std::uint8_t* copies[8];
      for (int r = 0; r < 8; ++r) {
        __builtin_memcpy(copy[r], rows.row[r] + k * Element::kBytes, static_cast<std::size_t>(n * Element::kBytes));
        copies[r] = copy[r];
      }
      __builtin_memcpy(x, tile.x + k, static_cast<std::size_t>(n) * 4);
      total = add_runs<Element, 1>(total, copies, 0, 0, x);
    }
    store_rows(tile.out + first, reinterpret_cast<Floats>(total), tile.rows - first);
  }
}

/// Sixteen rows' columns as f32, the rows of one column together.
constexpr std::int64_t kFloatColumns = 256;
struct alignas(64) FloatPanel {
  float w[kFloatColumns][16];
};

template <typename Element>
[[gnu::noinline]] void fill(FloatPanel& panel, const RowPointers (&rows)[2], std::int64_t begin, std::int64_t columns) {
  constexpr std::int64_t kStep = 16 / Element::kBytes;
  for (int group = 0; group < 2; ++group) {
    for (std::int64_t k = 0; k < columns; k += kStep) {
      Bits t[4];
      if (k + kStep <= columns) {
        Avx2::transpose16(rows[group].row, (begin + k) * Element::kBytes, t);
      } else {
        std::uint8_t copy[8][16] = {};
        const std::uint8_t* copies[8];
        for (int r = 0; r < 8; ++r) {
          __builtin_memcpy(copy[r], rows[group].row[r] + (begin + k) * Element::kBytes,
                           static_cast<std::size_t>((columns - k) * Element::kBytes));
          copies[r] = copy[r];
        }
        Avx2::transpose16(copies, 0, t);
      }
      __m256 w[kStep];
      Element::columns(t, w);
      for (std::int64_t i = 0; i < kStep && k + i < kFloatColumns; ++i)
        _mm256_store_ps(&panel.w[k + i][8 * group], w[i]);
    }
  }
}

// Accumulators are indexed by constants alone: otherwise gcc keeps them in memory, and storing them takes twice as long
// as the products.
template <int Tokens>
[[gnu::noinline]] void multiply(const FloatPanel& panel, const MatmulTile& tile, std::int64_t token, std::int64_t begin,
                                std::int64_t columns) {
  const float* x[Tokens];
  float* out[Tokens];
  for (int t = 0; t < Tokens; ++t) {
    x[t] = tile.x + (token + t) * tile.in + begin;
    out[t] = tile.out + (token + t) * tile.out_stride;
  }
  for (std::int64_t run = 0; run < columns; run += kRunColumns) {
    const std::int64_t end = run + kRunColumns < columns ? run + kRunColumns : columns;
    __m256 acc[Tokens][2];
    repeat<Tokens>([&](auto t) __attribute__((always_inline)) { acc[t][0] = acc[t][1] = _mm256_setzero_ps(); });
    for (std::int64_t k = run; k < end; ++k) {
      const __m256 w0 = _mm256_load_ps(panel.w[k]), w1 = _mm256_load_ps(panel.w[k] + 8);
      repeat<Tokens>([&](auto t) __attribute__((always_inline)) {
        const __m256 v = _mm256_broadcast_ss(x[t] + k);
        acc[t][0] = _mm256_fmadd_ps(w0, v, acc[t][0]);
        acc[t][1] = _mm256_fmadd_ps(w1, v, acc[t][1]);
      });
    }
    repeat<Tokens>([&](auto t) __attribute__((always_inline)) {
      repeat<2>([&](auto group) __attribute__((always_inline)) {
        const std::int64_t rows = tile.rows - 8 * group;
        const Floats before = begin + run == 0 ? Floats{} : load_rows(out[t] + 8 * group, rows);
        store_rows(out[t] + 8 * group, before + reinterpret_cast<Floats>(acc[t][group]), rows);
      });
    });
  }
}

// The last few tokens, at most Tokens.
template <int Tokens>
[[gnu::always_inline]] inline void multiply_rest(const FloatPanel& panel, const MatmulTile& tile, std::int64_t token,
                                                 std::int64_t begin, std::int64_t columns) {
  if constexpr (Tokens > 0) {
    if (tile.tokens - token == Tokens) return multiply<Tokens>(panel, tile, token, begin, columns);
    multiply_rest<Tokens - 1>(panel, tile, token, begin, columns);
  }
}

template <typename Element>
void float_tile_avx2(const MatmulTile& tile) {
  if (tile.tokens == 1) return one_token_float<Element>(tile);
  const RowPointers rows[2] = {{tile, 0}, {tile, 8}};
  FloatPanel panel;
  for (std::int64_t begin = 0; begin < tile.in; begin += kFloatColumns) {
    const std::int64_t columns = tile.in - begin < kFloatColumns ? tile.in - begin : kFloatColumns;
    fill<Element>(panel, rows, begin, columns);
    std::int64_t t = 0;
    for (; t + 6 <= tile.tokens; t += 6) multiply<6>(panel, tile, t, begin, columns);
    multiply_rest<5>(panel, tile, t, begin, columns);
  }
}

}  // namespace
}  // namespace carat::kernels
