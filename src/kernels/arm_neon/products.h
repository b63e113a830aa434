// What NEON adds to the shared kernels of quantised weights: the dot product of four signed bytes in each lane
// (FEAT_DotProd), and with FEAT_I8MM products of two rows of eight bytes with two others.
#pragma once

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

#include "kernels/quantised_matmul.h"

namespace carat::kernels {
namespace {

struct Neon {
  static constexpr int kTokens = 4, kFewTokens = 0;
  static constexpr bool kMultipliesPacked = false;
  static constexpr int kFloatTokens = 4;
  template <Integers Kind>
  static constexpr int zero = 0;
  template <Integers Kind>
  [[gnu::always_inline]] static Bits operand(Bits w) {
    return w;
  }

  [[gnu::always_inline]] static void transpose16(const std::uint8_t* const (&row)[4], std::int64_t at, Bits (&t)[4]) {
    const auto words = [&](int r)
                           __attribute__((always_inline)) { return vreinterpretq_u32_u8(vld1q_u8(row[r] + at)); };
    const uint32x4_t a = words(0), b = words(1), c = words(2), d = words(3);
    const uint64x2_t ab0 = vreinterpretq_u64_u32(vzip1q_u32(a, b)), ab1 = vreinterpretq_u64_u32(vzip2q_u32(a, b));
    const uint64x2_t cd0 = vreinterpretq_u64_u32(vzip1q_u32(c, d)), cd1 = vreinterpretq_u64_u32(vzip2q_u32(c, d));
    t[0] = reinterpret_cast<Bits>(vzip1q_u64(ab0, cd0));
    t[1] = reinterpret_cast<Bits>(vzip2q_u64(ab0, cd0));
    t[2] = reinterpret_cast<Bits>(vzip1q_u64(ab1, cd1));
    t[3] = reinterpret_cast<Bits>(vzip2q_u64(ab1, cd1));
  }
  [[gnu::always_inline]] static Floats halves(Halves h) {
    return reinterpret_cast<Floats>(vcvt_f32_f16(reinterpret_cast<float16x4_t>(h)));
  }
  template <int Shift>
  [[gnu::always_inline]] static Bits fifth_bits(Bits lanes) {
    constexpr std::uint8_t byte = Shift / 8;
    constexpr std::uint8_t index[16] = {byte,      byte,      byte,      byte,     4 + byte, 4 + byte,
                                        4 + byte,  4 + byte,  8 + byte,  8 + byte, 8 + byte, 8 + byte,
                                        12 + byte, 12 + byte, 12 + byte, 12 + byte};
    const uint8x16_t spread = vqtbl1q_u8(reinterpret_cast<uint8x16_t>(lanes), vld1q_u8(index));
    const uint8x16_t mask = vreinterpretq_u8_u32(vdupq_n_u32(0x08040201U << (Shift % 8)));
    return reinterpret_cast<Bits>(vandq_u8(vtstq_u8(spread, mask), vdupq_n_u8(16)));
  }
  [[gnu::always_inline]] static Bits look_up(const std::int8_t (&book)[16], Bits codes) {
    return reinterpret_cast<Bits>(vqtbl1q_s8(vld1q_s8(book), reinterpret_cast<uint8x16_t>(codes)));
  }
  [[gnu::always_inline]] static Floats multiply_add(Floats a, Floats b, Floats c) {
    return reinterpret_cast<Floats>(vfmaq_f32(reinterpret_cast<float32x4_t>(c), reinterpret_cast<float32x4_t>(a),
                                              reinterpret_cast<float32x4_t>(b)));
  }
  [[gnu::always_inline]] static Floats multiply_subtract(Floats a, Floats b, Floats c) {
    return reinterpret_cast<Floats>(vfmsq_f32(reinterpret_cast<float32x4_t>(c), reinterpret_cast<float32x4_t>(a),
                                              reinterpret_cast<float32x4_t>(b)));
  }
  [[gnu::always_inline]] static void prefetch(const std::uint8_t* p) { __builtin_prefetch(p); }
  [[gnu::always_inline]] static void prefetch_far(const std::uint8_t* p) { prefetch(p); }

  [[gnu::always_inline]] static Ints dot(Ints sum, Bits w, Bits x) {
    return reinterpret_cast<Ints>(
        vdotq_s32(reinterpret_cast<int32x4_t>(sum), reinterpret_cast<int8x16_t>(w), reinterpret_cast<int8x16_t>(x)));
  }
  template <Integers Kind>
  [[gnu::always_inline]] static Ints add_products(Ints sum, Bits w0, Bits w1, Bits w2, Bits w3, const std::int8_t* x) {
    const int8x16_t v = vld1q_s8(x);
    int32x4_t a = vdotq_laneq_s32(reinterpret_cast<int32x4_t>(sum), reinterpret_cast<int8x16_t>(w0), v, 0);
    int32x4_t b = vdotq_laneq_s32(vdupq_n_s32(0), reinterpret_cast<int8x16_t>(w1), v, 1);
    a = vdotq_laneq_s32(a, reinterpret_cast<int8x16_t>(w2), v, 2);
    b = vdotq_laneq_s32(b, reinterpret_cast<int8x16_t>(w3), v, 3);
    return reinterpret_cast<Ints>(vaddq_s32(a, b));
  }
  template <typename Format, int Tokens>
  [[gnu::always_inline]] static void sub_block(const Panel<Format>& panel, std::int64_t k,
                                               const std::int8_t* const (&x)[Tokens], std::int64_t at,
                                               Ints (&sum)[Tokens][kGroups]) {
#if defined(__ARM_FEATURE_MATMUL_INT8)
    if constexpr (Tokens % 2 == 0) return pairs_sub_block<Format, Tokens>(panel, k, x, at, sum);
#endif
    dot_sub_block<Neon, Format, Tokens>(panel, k, x, at, sum);
  }

#if defined(__ARM_FEATURE_MATMUL_INT8)
  // Eight columns of two rows times those of two tokens, four results an instruction. Two words of four rows become
  // eight columns of rows 0 and 1, and of rows 2 and 3.
  template <typename Format, int Tokens>
  [[gnu::always_inline]] static void pairs_sub_block(const Panel<Format>& panel, std::int64_t k,
                                                     const std::int8_t* const (&x)[Tokens], std::int64_t at,
                                                     Ints (&sum)[Tokens][kGroups]) {
    int32x4_t tile[Tokens / 2][kGroups][2];  // {row 0: token 0, token 1; row 1: …}, then rows 2 and 3
    repeat<Tokens / 2>([&](auto t) __attribute__((always_inline)) {
      repeat<2 * kGroups>([&](auto g) __attribute__((always_inline)) { tile[t][g / 2][g % 2] = vdupq_n_s32(0); });
    });
    repeat<Format::kSub / 8>([&](auto step) __attribute__((always_inline)) {
      int8x16_t v[Tokens / 2];
      repeat<Tokens / 2>([&](auto t) __attribute__((always_inline)) {
        v[t] = vcombine_s8(vld1_s8(x[2 * t] + at + 8 * step), vld1_s8(x[2 * t + 1] + at + 8 * step));
      });
      repeat<kGroups>([&](auto group) __attribute__((always_inline)) {
        const auto a = reinterpret_cast<uint32x4_t>(load<Bits>(panel.w[k + 2 * step][kLanes * group]));
        const auto b = reinterpret_cast<uint32x4_t>(load<Bits>(panel.w[k + 2 * step + 1][kLanes * group]));
        const int8x16_t low = vreinterpretq_s8_u32(vzip1q_u32(a, b)), high = vreinterpretq_s8_u32(vzip2q_u32(a, b));
        repeat<Tokens / 2>([&](auto t) __attribute__((always_inline)) {
          tile[t][group][0] = vmmlaq_s32(tile[t][group][0], low, v[t]);
          tile[t][group][1] = vmmlaq_s32(tile[t][group][1], high, v[t]);
        });
      });
    });
    repeat<Tokens / 2>([&](auto t) __attribute__((always_inline)) {
      repeat<kGroups>([&](auto group) __attribute__((always_inline)) {
        const int32x4_t low = tile[t][group][0], high = tile[t][group][1];
        sum[2 * t][group] += reinterpret_cast<Ints>(vuzp1q_s32(low, high));
        sum[2 * t + 1][group] += reinterpret_cast<Ints>(vuzp2q_s32(low, high));
      });
    });
  }
#endif
};

std::int64_t busy_int8_neon(std::int64_t rounds, float* sink) {
  constexpr int kChains = 16;
  const int8x16_t x = vdupq_n_s8(3), w = vdupq_n_s8(2);
  int32x4_t sum[kChains];
  for (int32x4_t& s : sum) s = vdupq_n_s32(0);
  for (std::int64_t i = 0; i < rounds; ++i) {
    for (int32x4_t& s : sum) {
#if defined(__ARM_FEATURE_MATMUL_INT8)
      s = vmmlaq_s32(s, w, x);
#else
      s = vdotq_s32(s, w, x);
#endif
    }
  }
  for (int i = 1; i < kChains; ++i) sum[0] = vaddq_s32(sum[0], sum[i]);
  vst1q_f32(sink, vcvtq_f32_s32(sum[0]));
#if defined(__ARM_FEATURE_MATMUL_INT8)
  return rounds * kChains * 32;
#else
  return rounds * kChains * 16;
#endif
}

}  // namespace
}  // namespace carat::kernels
