// Tiles of quantised weights times 8-bit activations. Whatever the number of tokens, one result is one chain of
// additions:
//   for every sub-block in order: acc = (scale of weights * scale of activations) * integer sum + acc
// where the integer sum is exact. So a row of activations gives the same bits alone and in any batch.
#pragma once

#include <immintrin.h>

#include "kernels/abi.h"
#include "kernels/x86_avx2/unpack.h"

namespace carat::kernels {
namespace {

/// Columns unpacked at a time. A multiple of every unit; the panel of a tile stays in the first cache level.
constexpr std::int64_t kColumns = 1024;
/// Columns at a time for one token: few, so that what is not there yet when their scales are read is soon waited for.
constexpr std::int64_t kTokenColumns = 512;
/// How many bytes before they are read packed weights are asked for: measured, docs/benchmarks.md. Long units are read
/// out of order and need more.
constexpr std::int64_t kAhead = 896, kAheadOfLongUnits = 5040, kLongUnit = 512;

template <typename Format>
constexpr int kSubsPerUnit = Format::kUnit / Format::kSub;

// gcc moves the additions of a chain to its end and keeps every product until then, on the stack. A value that
// something unknown has touched must be there: each product is added as it comes.
[[gnu::always_inline]] inline void add_now(__m256i& sum) { __asm__("" : "+x"(sum)); }

// Sums of four products per lane (row): sixteen weights w of each row with sixteen activations at x, onto `sum`.
template <Integers Kind>
[[gnu::always_inline]] inline __m256i add_products(__m256i sum, __m256i w0, __m256i w1, __m256i w2, __m256i w3,
                                                   const std::int8_t* x) {
  const __m256i ones = _mm256_set1_epi16(1);
  const __m256i x0 = broadcast32(x), x1 = broadcast32(x + 4), x2 = broadcast32(x + 8), x3 = broadcast32(x + 12);
  if constexpr (Kind == Integers::signed8) {
    const auto one = [&](__m256i w, __m256i v) {
      return _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(v, w)), ones);
    };
    return _mm256_add_epi32(
        sum, _mm256_add_epi32(_mm256_add_epi32(one(w0, x0), one(w1, x1)), _mm256_add_epi32(one(w2, x2), one(w3, x3))));
  } else {
    const __m256i a = _mm256_add_epi16(_mm256_maddubs_epi16(w0, x0), _mm256_maddubs_epi16(w1, x1));
    const __m256i b = _mm256_add_epi16(_mm256_maddubs_epi16(w2, x2), _mm256_maddubs_epi16(w3, x3));
    if constexpr (Kind == Integers::bits6) {
      return _mm256_add_epi32(sum, _mm256_add_epi32(_mm256_madd_epi16(a, ones), _mm256_madd_epi16(b, ones)));
    } else {
      return _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_add_epi16(a, b), ones));
    }
  }
}

/// What one token's activations of a sub-block add around the integer sum.
struct SubActivations {
  const float *scale, *sum;
  const float* total;  ///< the sum of the integers, for weights whose zero is 2^kZeroLog
};
template <typename Format>
[[gnu::always_inline]] inline SubActivations sub_activations(const QuantisedRows& x, std::int64_t at) {
  return {x.scale + (at >> 5), x.sum + (at >> 5), Format::kSub == 32 ? x.total + (at >> 5) : x.half_total + (at >> 4)};
}
template <typename Format>
[[gnu::always_inline]] inline __m256 join(__m256 acc, __m256i sum, const float* scale, const float* offset,
                                          const SubActivations& x) {
  __m256 value = _mm256_cvtepi32_ps(sum);
  // Whole numbers below 2^24: exact.
  if constexpr (Format::kZeroLog >= 0)
    value = _mm256_fnmadd_ps(_mm256_broadcast_ss(x.total), _mm256_set1_ps(1 << Format::kZeroLog), value);
  acc = _mm256_fmadd_ps(value, _mm256_mul_ps(_mm256_loadu_ps(scale), _mm256_broadcast_ss(x.scale)), acc);
  if constexpr (Format::kOffset) acc = _mm256_fnmadd_ps(_mm256_loadu_ps(offset), _mm256_broadcast_ss(x.sum), acc);
  return acc;
}

// The first `count` lanes.
inline void store_rows(float* out, __m256 v, std::int64_t count) {
  if (count >= 8) return _mm256_storeu_ps(out, v);
  alignas(32) float lanes[8];
  _mm256_store_ps(lanes, v);
  for (std::int64_t r = 0; r < count; ++r) out[r] = lanes[r];
}
inline __m256 load_rows(const float* in, std::int64_t count) {
  if (count >= 8) return _mm256_loadu_ps(in);
  alignas(32) float lanes[8] = {};
  for (std::int64_t r = 0; r < count; ++r) lanes[r] = in[r];
  return _mm256_load_ps(lanes);
}

// Decoding reads every byte once; what comes later is asked for in the order of its bytes: memory likes that best. Past
// the end of a mapping the request is ignored.
template <int Lines>
[[gnu::always_inline]] inline void prefetch_lines(const std::uint8_t* p) {
  repeat<Lines>([&](auto line) __attribute__((always_inline)) {
    _mm_prefetch(reinterpret_cast<const char*>(p + 64 * line), _MM_HINT_T0);
  });
}

// From the weights' bytes to the product in registers. Mapped rows are worked through eight side by side, while the
// same share of the next tile is asked for; their scales are read in a pass of their own, whose loads depend on
// nothing, so that lines the prefetch did not bring (it is dropped where too many are under way) are fetched side by
// side. Packed rows are one run of bytes. Not inlined, here and below: in one large function the registers would not
// do.
template <typename Format, typename Rows>
[[gnu::noinline]] void one_token(const MatmulTile& tile) {
  constexpr std::int64_t kAtATime = Rows::kPacked ? Format::kFields.values : kTokenColumns;
  constexpr std::int64_t kUnitBytes = 8 * Format::kFields.bytes * Format::kUnit / Format::kFields.values;
  constexpr bool kSpread = kUnitBytes > kLongUnit;  // a few lines asked for at a time
  for (std::int64_t first = 0; first < tile.rows; first += 8) {
    const Rows rows(tile, first);
    const std::uint8_t* next =
        tile.weights + first * tile.weight_row_bytes +
        (Rows::kPacked ? (kSpread ? kAheadOfLongUnits : kAhead) : kTileRows * tile.weight_row_bytes);
    alignas(32) float scale[kAtATime / Format::kSub * 8], offset[Format::kOffset ? kAtATime / Format::kSub * 8 : 8];
    __m256 acc = _mm256_setzero_ps();
    for (std::int64_t begin = 0; begin < tile.in; begin += kAtATime) {
      const std::int64_t left = tile.in - begin;
      const std::int64_t units = (Rows::kPacked || left >= kAtATime ? kAtATime : left) / Format::kUnit;
      Format::scales(rows, begin / Format::kUnit, units, scale, offset, 8);
      for (std::int64_t u = 0; u < units; ++u) {
        const std::int64_t at = begin + u * Format::kUnit, unit = at / Format::kUnit;
        if constexpr (!kSpread) prefetch_lines<(kUnitBytes + 63) / 64>(next + kUnitBytes * unit);
        int calls = 0;
        __m256i sums[kSubsPerUnit<Format>];
        for (__m256i& s : sums) s = _mm256_setzero_si256();
        Format::read(rows, unit,
                     [&](int sub, int step, __m256i a, __m256i b, __m256i c, __m256i d) __attribute__((always_inline)) {
                       if constexpr (kSpread) prefetch_lines<2>(next + kUnitBytes * unit + 128 * calls++);
                       sums[sub] = add_products<Format::kIntegers>(
                           sums[sub], a, b, c, d, tile.quantised.q + at + sub * Format::kSub + 4 * step);
                     });
        for (int sub = 0; sub < kSubsPerUnit<Format>; ++sub) {
          const std::int64_t j = u * kSubsPerUnit<Format> + sub;
          acc = join<Format>(acc, sums[sub], scale + 8 * j, offset + (Format::kOffset ? 8 * j : 0),
                             sub_activations<Format>(tile.quantised, at + sub * Format::kSub));
        }
      }
    }
    store_rows(tile.out + first, acc, tile.rows - first);
  }
}

/// Sixteen rows' chunk of columns, unpacked: four columns of a row lie together, then the rows, then the next four
/// columns.
template <typename Format>
struct alignas(64) Panel {
  std::uint8_t w[kColumns / 4][16][4];
  float scale[kColumns / Format::kSub][16], offset[Format::kOffset ? kColumns / Format::kSub : 1][16];

  template <typename Rows>
  [[gnu::noinline]] void fill(const Rows (&rows)[2], std::int64_t begin, std::int64_t columns) {
    const std::int64_t first = begin / Format::kUnit, units = columns / Format::kUnit;
    for (int group = 0; group < 2; ++group) {
      Format::scales(rows[group], first, units, &scale[0][8 * group], &offset[0][8 * group], 16);
      for (std::int64_t u = 0; u < units; ++u) {
        Format::read(rows[group], first + u,
                     [&](int sub, int step, __m256i a, __m256i b, __m256i c, __m256i d) __attribute__((always_inline)) {
                       const std::int64_t k = (u * Format::kUnit + sub * Format::kSub) / 4 + step;
                       store256(w[k][8 * group], a);
                       store256(w[k + 1][8 * group], b);
                       store256(w[k + 2][8 * group], c);
                       store256(w[k + 3][8 * group], d);
                     });
      }
    }
  }
};

// Integer sums of one sub-block for Tokens tokens and sixteen rows. `k` counts groups of four columns of the panel.
template <typename Format, int Tokens>
[[gnu::always_inline]] inline void sub_block(const Panel<Format>& panel, std::int64_t k,
                                             const std::int8_t* const (&x)[Tokens], std::int64_t at,
                                             __m256i (&sum)[Tokens][2]) {
  constexpr int kSteps = Format::kSub / 4;
  constexpr int kBurst = Format::kIntegers == Integers::bits4   ? 8
                         : Format::kIntegers == Integers::bits5 ? 4
                         : Format::kIntegers == Integers::bits6 ? 2
                                                                : 1;
  constexpr int kRun = kBurst < kSteps ? kBurst : kSteps;
  const __m256i ones = _mm256_set1_epi16(1);
  repeat<kSteps / kRun>([&](auto run) __attribute__((always_inline)) {
    __m256i pairs[Tokens][2];  // 16-bit sums of products of pairs
    repeat<kRun>([&](auto step) __attribute__((always_inline)) {
      const std::int64_t row = run * kRun + step;
      const __m256i s0 = load256(panel.w[k + row][0]), s1 = load256(panel.w[k + row][8]);
      const bool is_signed = Format::kIntegers == Integers::signed8;
      const __m256i w0 = is_signed ? _mm256_abs_epi8(s0) : s0, w1 = is_signed ? _mm256_abs_epi8(s1) : s1;
      repeat<Tokens>([&](auto t) __attribute__((always_inline)) {
        const __m256i v = broadcast32(x[t] + at + 4 * row);
        const __m256i p0 = _mm256_maddubs_epi16(w0, is_signed ? _mm256_sign_epi8(v, s0) : v);
        const __m256i p1 = _mm256_maddubs_epi16(w1, is_signed ? _mm256_sign_epi8(v, s1) : v);
        pairs[t][0] = step == 0 ? p0 : _mm256_add_epi16(pairs[t][0], p0);
        pairs[t][1] = step == 0 ? p1 : _mm256_add_epi16(pairs[t][1], p1);
        add_now(pairs[t][0]);
        add_now(pairs[t][1]);
      });
    });
    repeat<Tokens>([&](auto t) __attribute__((always_inline)) {
      repeat<2>([&](auto group) __attribute__((always_inline)) {
        const __m256i s = _mm256_madd_epi16(pairs[t][group], ones);
        sum[t][group] = run == 0 ? s : _mm256_add_epi32(sum[t][group], s);
        add_now(sum[t][group]);
      });
    });
  });
}

/// The bytes that the next panel will be made of, asked for while this one is multiplied: `runs` runs of `bytes` bytes,
/// `stride` apart, `lines` lines at every sub-block.
struct NextPanel {
  const std::uint8_t* at;
  std::int64_t stride, bytes;
  int runs, lines;
  int run = 0;
  std::int64_t done = 0;

  [[gnu::always_inline]] void ask() {
    for (int i = 0; i < lines && run < runs; ++i) {
      _mm_prefetch(reinterpret_cast<const char*>(at + run * stride + done), _MM_HINT_T0);
      if ((done += 64) >= bytes) done = 0, ++run;
    }
  }
};

template <typename Format, int Tokens>
[[gnu::noinline]] void multiply(const Panel<Format>& panel, const MatmulTile& tile, std::int64_t token,
                                std::int64_t begin, std::int64_t columns, NextPanel& next) {
  const QuantisedRows& q = tile.quantised;
  const std::int8_t* x[Tokens];
  SubActivations a[Tokens];
  __m256 acc[Tokens][2];
  for (int t = 0; t < Tokens; ++t) {
    x[t] = q.q + (token + t) * q.padded + begin;
    a[t] = sub_activations<Format>(q, (token + t) * q.padded + begin);
    for (int group = 0; group < 2; ++group) {
      acc[t][group] = begin == 0
                          ? _mm256_setzero_ps()
                          : load_rows(tile.out + (token + t) * tile.out_stride + 8 * group, tile.rows - 8 * group);
    }
  }
  for (std::int64_t j = 0; j < columns / Format::kSub; ++j) {
    next.ask();
    __m256i sum[Tokens][2];
    sub_block<Format, Tokens>(panel, j * (Format::kSub / 4), x, j * Format::kSub, sum);
    const std::int64_t o = Format::kOffset ? j : 0;
    repeat<Tokens>([&](auto t) __attribute__((always_inline)) {
      const std::int64_t block = Format::kSub == 32 ? j : j >> 1;
      const SubActivations here{a[t].scale + block, a[t].sum + block, a[t].total + j};
      acc[t][0] = join<Format>(acc[t][0], sum[t][0], panel.scale[j], panel.offset[o], here);
      acc[t][1] = join<Format>(acc[t][1], sum[t][1], panel.scale[j] + 8, panel.offset[o] + 8, here);
    });
  }
  for (int t = 0; t < Tokens; ++t) {
    for (int group = 0; group < 2; ++group) {
      store_rows(tile.out + (token + t) * tile.out_stride + 8 * group, acc[t][group], tile.rows - 8 * group);
    }
  }
}

template <typename Format, typename Rows>
void tile_of(const MatmulTile& tile) {
  if (tile.tokens == 1) return one_token<Format, Rows>(tile);
  const Rows rows[2] = {{tile, 0}, {tile, 8}};
  Panel<Format> panel;
  for (std::int64_t begin = 0; begin < tile.in; begin += kColumns) {
    const std::int64_t columns = tile.in - begin < kColumns ? tile.in - begin : kColumns;
    panel.fill(rows, begin, columns);
    constexpr int kRows = Rows::kPacked ? 8 : 1;
    const std::int64_t run_bytes = kRows * Format::kFields.bytes * columns / Format::kFields.values;
    const bool last = begin + columns >= tile.in;
    NextPanel next{tile.weights + (last ? kTileRows * tile.weight_row_bytes
                                        : kRows * Format::kFields.bytes * (begin + columns) / Format::kFields.values),
                   kRows * tile.weight_row_bytes, run_bytes, 16 / kRows, 0};
    const std::int64_t subs = columns / Format::kSub * ((tile.tokens + 3) / 4);
    next.lines = static_cast<int>((next.runs * ((run_bytes + 63) / 64) + subs - 1) / subs);
    std::int64_t t = 0;
    for (; t + 4 <= tile.tokens; t += 4) multiply<Format, 4>(panel, tile, t, begin, columns, next);
    switch (tile.tokens - t) {
      case 3:
        multiply<Format, 3>(panel, tile, t, begin, columns, next);
        break;
      case 2:
        multiply<Format, 2>(panel, tile, t, begin, columns, next);
        break;
      case 1:
        multiply<Format, 1>(panel, tile, t, begin, columns, next);
        break;
      default:
        break;
    }
  }
}
template <typename Format>
void quantised_tile(const MatmulTile& tile) {
  if (tile.packed) return tile_of<Format, PackedRows<Format::kFields>>(tile);
  tile_of<Format, MappedRows<Format::kFields>>(tile);
}

// Products of 4-bit weights, the densest this ISA has: eight multiply-adds of bytes to one of 16-bit sums.
std::int64_t busy_int8_avx2(std::int64_t rounds, float* sink) {
  constexpr int kChains = 8, kBurst = 8;
  __m256i x = _mm256_set1_epi8(3), w = _mm256_set1_epi8(2), total = _mm256_setzero_si256();
  for (std::int64_t i = 0; i < rounds; ++i) {
    repeat<kChains / 4>([&](auto) __attribute__((always_inline)) {
      __m256i sum[4];
      repeat<kBurst>([&](auto step) __attribute__((always_inline)) {
        repeat<4>([&](auto chain) __attribute__((always_inline)) {
          add_now(x);  // unknown to the compiler: every product is made anew
          const __m256i p = _mm256_maddubs_epi16(w, x);
          sum[chain] = step == 0 ? p : _mm256_add_epi16(sum[chain], p);
          add_now(sum[chain]);
        });
      });
      for (const __m256i s : sum) total = _mm256_add_epi32(total, _mm256_madd_epi16(s, w));
    });
  }
  _mm256_storeu_ps(sink, _mm256_cvtepi32_ps(total));
  return rounds * kChains * kBurst * 32;
}

}  // namespace
}  // namespace carat::kernels
