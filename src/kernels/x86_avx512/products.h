// What AVX-512 with VNNI adds to the shared kernels of quantised weights: one instruction multiplies four unsigned with
// four signed bytes in each lane. 8-bit weights become unsigned by adding 128.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/quantised_matmul.h"

namespace carat::kernels {
namespace {

inline __m128i load128(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }

struct Avx512 {
  static constexpr int kTokens = 6, kFewTokens = 8;
  static constexpr bool kMultipliesPacked = true;
  static constexpr int kFloatTokens = 12, kPairTokens = 12;
  template <Integers Kind>
  static constexpr int zero = Kind == Integers::signed8 ? 128 : 0;
  template <Integers Kind>
  [[gnu::always_inline]] static Bits operand(Bits w) {
    return Kind == Integers::signed8 ? w ^ 0x80808080U : w;
  }

  // Four rows a quarter of the vector apart, then the others: unpacking joins within quarters.
  [[gnu::always_inline]] static void transpose16(const std::uint8_t* const (&row)[16], std::int64_t at, Bits (&t)[4]) {
    const auto four = [&](int r) __attribute__((always_inline)) {
      const __m512i low = _mm512_inserti32x4(_mm512_castsi128_si512(load128(row[r] + at)), load128(row[r + 4] + at), 1);
      return _mm512_inserti32x4(_mm512_inserti32x4(low, load128(row[r + 8] + at), 2), load128(row[r + 12] + at), 3);
    };
    const __m512i a = four(0), b = four(1), c = four(2), d = four(3);
    const __m512i ab0 = _mm512_unpacklo_epi32(a, b), ab1 = _mm512_unpackhi_epi32(a, b);
    const __m512i cd0 = _mm512_unpacklo_epi32(c, d), cd1 = _mm512_unpackhi_epi32(c, d);
    t[0] = reinterpret_cast<Bits>(_mm512_unpacklo_epi64(ab0, cd0));
    t[1] = reinterpret_cast<Bits>(_mm512_unpackhi_epi64(ab0, cd0));
    t[2] = reinterpret_cast<Bits>(_mm512_unpacklo_epi64(ab1, cd1));
    t[3] = reinterpret_cast<Bits>(_mm512_unpackhi_epi64(ab1, cd1));
  }
  [[gnu::always_inline]] static Floats halves(Halves h) {
    return reinterpret_cast<Floats>(_mm512_cvtph_ps(reinterpret_cast<__m256i>(h)));
  }
  template <int Shift>
  [[gnu::always_inline]] static Bits fifth_bits(Bits lanes) {
    constexpr int byte = Shift / 8, low = Shift % 8;
    const __m512i quarter =
        _mm512_broadcast_i32x4(_mm_setr_epi8(byte, byte, byte, byte, 4 + byte, 4 + byte, 4 + byte, 4 + byte, 8 + byte,
                                             8 + byte, 8 + byte, 8 + byte, 12 + byte, 12 + byte, 12 + byte, 12 + byte));
    const __m512i spread = _mm512_shuffle_epi8(reinterpret_cast<__m512i>(lanes), quarter);
    const __m512i mask = _mm512_set1_epi32(static_cast<int>(0x08040201U << low));
    return reinterpret_cast<Bits>(_mm512_maskz_set1_epi8(_mm512_test_epi8_mask(spread, mask), 16));
  }
  [[gnu::always_inline]] static Bits look_up(const std::int8_t (&book)[16], Bits codes) {
    const __m512i four = _mm512_broadcast_i32x4(load128(book));
    return reinterpret_cast<Bits>(_mm512_shuffle_epi8(four, reinterpret_cast<__m512i>(codes)));
  }
  [[gnu::always_inline]] static Floats multiply_add(Floats a, Floats b, Floats c) {
    return reinterpret_cast<Floats>(
        _mm512_fmadd_ps(reinterpret_cast<__m512>(a), reinterpret_cast<__m512>(b), reinterpret_cast<__m512>(c)));
  }
  [[gnu::always_inline]] static Floats multiply_subtract(Floats a, Floats b, Floats c) {
    return reinterpret_cast<Floats>(
        _mm512_fnmadd_ps(reinterpret_cast<__m512>(a), reinterpret_cast<__m512>(b), reinterpret_cast<__m512>(c)));
  }
  [[gnu::always_inline]] static void prefetch(const std::uint8_t* p) {
    _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T0);
  }
  // The first level takes too few requests at a time to keep memory busy.
  [[gnu::always_inline]] static void prefetch_far(const std::uint8_t* p) {
    _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T1);
  }

  [[gnu::always_inline]] static Ints dot(Ints sum, Bits w, Bits x) {
    return reinterpret_cast<Ints>(_mm512_dpbusd_epi32(reinterpret_cast<__m512i>(sum), reinterpret_cast<__m512i>(w),
                                                      reinterpret_cast<__m512i>(x)));
  }
#if defined(__AVX512BF16__)
  // To nearest, ties to even; denormal numbers become zero, which add_pairs takes them for.
  [[gnu::always_inline]] static Halves to_bf16(Floats v) {
    return reinterpret_cast<Halves>(_mm512_cvtneps_pbh(reinterpret_cast<__m512>(v)));
  }
  [[gnu::always_inline]] static Floats add_pairs(Floats acc, Bits w, Bits x) {
    return reinterpret_cast<Floats>(
        _mm512_dpbf16_ps(reinterpret_cast<__m512>(acc), reinterpret_cast<__m512bh>(w), reinterpret_cast<__m512bh>(x)));
  }
#endif
  template <Integers Kind>
  [[gnu::always_inline]] static Ints add_products(Ints sum, Bits w0, Bits w1, Bits w2, Bits w3, const std::int8_t* x) {
    // Two chains: one would be waited for.
    const Ints a = dot(dot(sum, w0, word_at(x)), w1, word_at(x + 4));
    return a + dot(dot(Ints{}, w2, word_at(x + 8)), w3, word_at(x + 12));
  }
  template <typename Format, int Tokens>
  [[gnu::always_inline]] static void sub_block(const Panel<Format>& panel, std::int64_t k,
                                               const std::int8_t* const (&x)[Tokens], std::int64_t at,
                                               Ints (&sum)[Tokens][kGroups]) {
    dot_sub_block<Avx512, Format, Tokens>(panel, k, x, at, sum);
  }
};

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

#if defined(__AVX512BF16__)
std::int64_t busy_bf16_avx512(std::int64_t rounds, float* sink) {
  constexpr int kChains = 16;
  const __m512bh x = reinterpret_cast<__m512bh>(_mm512_set1_epi32(0x3F803F80));  // ones
  __m512 sum[kChains];
  for (int i = 0; i < kChains; ++i) sum[i] = _mm512_set1_ps(static_cast<float>(i));  // all different, or one would do
  for (std::int64_t i = 0; i < rounds; ++i) {
    for (__m512& s : sum) s = _mm512_dpbf16_ps(s, x, x);
  }
  for (int i = 1; i < kChains; ++i) sum[0] = _mm512_add_ps(sum[0], sum[i]);
  _mm512_storeu_ps(sink, sum[0]);
  return rounds * kChains * 32;
}
#endif

}  // namespace
}  // namespace carat::kernels
