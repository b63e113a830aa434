// What AVX2 adds to the shared kernels of quantised weights: products of unsigned with signed bytes as 16-bit sums of
// pairs. These saturate above 32767, so few are added before they become 32-bit sums, and 8-bit weights give their
// signs to the activations first.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/quantised_matmul.h"

namespace carat::kernels {
namespace {

inline __m128i load128(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }
inline __m256i broadcast32(const void* p) {
  std::int32_t v;
  __builtin_memcpy(&v, p, 4);
  return _mm256_set1_epi32(v);
}

struct Avx2 {
  static constexpr int kTokens = 4, kFewTokens = 0;
  static constexpr bool kMultipliesPacked = false;
  static constexpr int kFloatTokens = 6;
  template <Integers Kind>
  static constexpr int zero = 0;
  template <Integers Kind>
  [[gnu::always_inline]] static Bits operand(Bits w) {
    return w;
  }

  [[gnu::always_inline]] static void transpose16(const std::uint8_t* const (&row)[8], std::int64_t at, Bits (&t)[4]) {
    const auto pair = [&](int r) __attribute__((always_inline)) {
      return _mm256_inserti128_si256(_mm256_castsi128_si256(load128(row[r] + at)), load128(row[r + 4] + at), 1);
    };
    const __m256i a = pair(0), b = pair(1), c = pair(2), d = pair(3);
    const __m256i ab0 = _mm256_unpacklo_epi32(a, b), ab1 = _mm256_unpackhi_epi32(a, b);
    const __m256i cd0 = _mm256_unpacklo_epi32(c, d), cd1 = _mm256_unpackhi_epi32(c, d);
    t[0] = reinterpret_cast<Bits>(_mm256_unpacklo_epi64(ab0, cd0));
    t[1] = reinterpret_cast<Bits>(_mm256_unpackhi_epi64(ab0, cd0));
    t[2] = reinterpret_cast<Bits>(_mm256_unpacklo_epi64(ab1, cd1));
    t[3] = reinterpret_cast<Bits>(_mm256_unpackhi_epi64(ab1, cd1));
  }
  [[gnu::always_inline]] static Floats halves(Halves h) {
    return reinterpret_cast<Floats>(_mm256_cvtph_ps(reinterpret_cast<__m128i>(h)));
  }
  template <int Shift>
  [[gnu::always_inline]] static Bits fifth_bits(Bits lanes) {
    constexpr int byte = Shift / 8, low = Shift % 8;
    const __m256i spread =
        _mm256_shuffle_epi8(reinterpret_cast<__m256i>(lanes),
                            _mm256_setr_epi8(byte, byte, byte, byte, 4 + byte, 4 + byte, 4 + byte, 4 + byte, 8 + byte,
                                             8 + byte, 8 + byte, 8 + byte, 12 + byte, 12 + byte, 12 + byte, 12 + byte,
                                             byte, byte, byte, byte, 4 + byte, 4 + byte, 4 + byte, 4 + byte, 8 + byte,
                                             8 + byte, 8 + byte, 8 + byte, 12 + byte, 12 + byte, 12 + byte, 12 + byte));
    const __m256i mask = _mm256_set1_epi32(static_cast<int>(0x08040201U << low));
    return reinterpret_cast<Bits>(
        _mm256_and_si256(_mm256_cmpeq_epi8(_mm256_and_si256(spread, mask), mask), _mm256_set1_epi8(16)));
  }
  [[gnu::always_inline]] static Bits look_up(const std::int8_t (&book)[16], Bits codes) {
    const __m256i twice = _mm256_broadcastsi128_si256(load128(book));
    return reinterpret_cast<Bits>(_mm256_shuffle_epi8(twice, reinterpret_cast<__m256i>(codes)));
  }
  [[gnu::always_inline]] static Floats multiply_add(Floats a, Floats b, Floats c) {
    return reinterpret_cast<Floats>(
        _mm256_fmadd_ps(reinterpret_cast<__m256>(a), reinterpret_cast<__m256>(b), reinterpret_cast<__m256>(c)));
  }
  [[gnu::always_inline]] static Floats multiply_subtract(Floats a, Floats b, Floats c) {
    return reinterpret_cast<Floats>(
        _mm256_fnmadd_ps(reinterpret_cast<__m256>(a), reinterpret_cast<__m256>(b), reinterpret_cast<__m256>(c)));
  }
  [[gnu::always_inline]] static void prefetch(const std::uint8_t* p) {
    _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T0);
  }
  [[gnu::always_inline]] static void prefetch_far(const std::uint8_t* p) { prefetch(p); }

  // Sums of four products per lane (row): sixteen weights w of each row with sixteen activations at x, onto `sum`.
  template <Integers Kind>
  [[gnu::always_inline]] static Ints add_products(Ints sums, Bits b0, Bits b1, Bits b2, Bits b3, const std::int8_t* x) {
    const __m256i ones = _mm256_set1_epi16(1), sum = reinterpret_cast<__m256i>(sums);
    const __m256i w0 = reinterpret_cast<__m256i>(b0), w1 = reinterpret_cast<__m256i>(b1);
    const __m256i w2 = reinterpret_cast<__m256i>(b2), w3 = reinterpret_cast<__m256i>(b3);
    const __m256i x0 = broadcast32(x), x1 = broadcast32(x + 4), x2 = broadcast32(x + 8), x3 = broadcast32(x + 12);
    __m256i out;
    if constexpr (Kind == Integers::signed8) {
      const auto one = [&](__m256i w, __m256i v) __attribute__((always_inline)) {
        return _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(v, w)), ones);
      };
      out = _mm256_add_epi32(sum, _mm256_add_epi32(_mm256_add_epi32(one(w0, x0), one(w1, x1)),
                                                   _mm256_add_epi32(one(w2, x2), one(w3, x3))));
    } else {
      const __m256i a = _mm256_add_epi16(_mm256_maddubs_epi16(w0, x0), _mm256_maddubs_epi16(w1, x1));
      const __m256i b = _mm256_add_epi16(_mm256_maddubs_epi16(w2, x2), _mm256_maddubs_epi16(w3, x3));
      if constexpr (Kind == Integers::bits6) {
        out = _mm256_add_epi32(sum, _mm256_add_epi32(_mm256_madd_epi16(a, ones), _mm256_madd_epi16(b, ones)));
      } else {
        out = _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_add_epi16(a, b), ones));
      }
    }
    return reinterpret_cast<Ints>(out);
  }

  // Products of one sub-block for Tokens tokens and sixteen rows, added to `sums`. `k` counts groups of four columns of
  // the panel. As many products of pairs are added as 16 bits hold: eight of 4-bit weights, four of 5 bits, two of 6.
  template <typename Format, int Tokens>
  [[gnu::always_inline]] static void sub_block(const Panel<Format>& panel, std::int64_t k,
                                               const std::int8_t* const (&x)[Tokens], std::int64_t at,
                                               Ints (&sums)[Tokens][kGroups]) {
    constexpr int kSteps = Format::kSub / 4;
    constexpr int kBurst = Format::kIntegers == Integers::bits4   ? 8
                           : Format::kIntegers == Integers::bits5 ? 4
                           : Format::kIntegers == Integers::bits6 ? 2
                                                                  : 1;
    constexpr int kRun = kBurst < kSteps ? kBurst : kSteps;
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i sum[Tokens][2];
    repeat<kSteps / kRun>([&](auto run) __attribute__((always_inline)) {
      __m256i pairs[Tokens][2];  // 16-bit sums of products of pairs
      repeat<kRun>([&](auto step) __attribute__((always_inline)) {
        const std::int64_t row = run * kRun + step;
        const __m256i s0 = reinterpret_cast<__m256i>(load<Bits>(panel.w[k + row][0]));
        const __m256i s1 = reinterpret_cast<__m256i>(load<Bits>(panel.w[k + row][8]));
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
          sum[t][group] = _mm256_add_epi32(run == 0 ? reinterpret_cast<__m256i>(sums[t][group]) : sum[t][group], s);
          add_now(sum[t][group]);
        });
      });
    });
    repeat<Tokens>([&](auto t) __attribute__((always_inline)) {
      repeat<2>([&](auto group)
                    __attribute__((always_inline)) { sums[t][group] = reinterpret_cast<Ints>(sum[t][group]); });
    });
  }
};

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
