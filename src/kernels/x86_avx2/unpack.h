// Turns quantised weights into unsigned bytes with a scale and an offset per sub-block: weight = scale * byte - offset.
// Sub-blocks hold 32 values, or 16 for q6_k. Needs AVX2 and F16C.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace carat::kernels {
namespace {

inline float half_at(const std::uint8_t* p) {
  std::uint16_t bits;
  __builtin_memcpy(&bits, p, 2);
  return _cvtsh_ss(bits);
}
inline __m128i load128(const std::uint8_t* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }
inline __m256i load256(const std::uint8_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
inline void store256(std::uint8_t* p, __m256i v) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v); }
// 16 bytes of nibbles: the low ones are values 0..15, the high ones 16..31.
inline __m256i nibbles(__m128i packed) {
  const __m256i both = _mm256_inserti128_si256(_mm256_castsi128_si256(packed), _mm_srli_epi16(packed, 4), 1);
  return _mm256_and_si256(both, _mm256_set1_epi8(15));
}
// 32 bits spread over 32 bytes, 0xFF where set.
inline __m256i spread_bits(std::uint32_t bits) {
  const __m256i lanes = _mm256_setr_epi64x(0x0000000000000000LL, 0x0101010101010101LL, 0x0202020202020202LL,
                                           0x0303030303030303LL);
  const __m256i mask = _mm256_set1_epi64x(static_cast<long long>(0x8040201008040201ULL));
  const __m256i bytes = _mm256_shuffle_epi8(_mm256_set1_epi32(static_cast<int>(bits)), lanes);
  return _mm256_cmpeq_epi8(_mm256_and_si256(bytes, mask), mask);
}

// Each format: values per block, bytes per block, values per scale, and unpack of one block. `scale` and `offset` receive
// kValues / kSub entries.
struct UnpackQ4_0 {
  static constexpr int kValues = 32, kBytes = 18, kSub = 32;
  static void block(const std::uint8_t* p, std::uint8_t* u, float* scale, float* offset) {
    const float d = half_at(p);
    *scale = d;
    *offset = 8 * d;
    store256(u, nibbles(load128(p + 2)));
  }
};
struct UnpackQ4_1 {
  static constexpr int kValues = 32, kBytes = 20, kSub = 32;
  static void block(const std::uint8_t* p, std::uint8_t* u, float* scale, float* offset) {
    *scale = half_at(p);
    *offset = -half_at(p + 2);
    store256(u, nibbles(load128(p + 4)));
  }
};
struct UnpackQ5_0 {
  static constexpr int kValues = 32, kBytes = 22, kSub = 32;
  static void block(const std::uint8_t* p, std::uint8_t* u, float* scale, float* offset) {
    const float d = half_at(p);
    *scale = d;
    *offset = 16 * d;
    std::uint32_t high;
    __builtin_memcpy(&high, p + 2, 4);
    store256(u, _mm256_or_si256(nibbles(load128(p + 6)), _mm256_and_si256(spread_bits(high), _mm256_set1_epi8(16))));
  }
};
struct UnpackQ5_1 {
  static constexpr int kValues = 32, kBytes = 24, kSub = 32;
  static void block(const std::uint8_t* p, std::uint8_t* u, float* scale, float* offset) {
    *scale = half_at(p);
    *offset = -half_at(p + 2);
    std::uint32_t high;
    __builtin_memcpy(&high, p + 4, 4);
    store256(u, _mm256_or_si256(nibbles(load128(p + 8)), _mm256_and_si256(spread_bits(high), _mm256_set1_epi8(16))));
  }
};
struct UnpackQ8_0 {
  static constexpr int kValues = 32, kBytes = 34, kSub = 32;
  static void block(const std::uint8_t* p, std::uint8_t* u, float* scale, float* offset) {
    const float d = half_at(p);
    *scale = d;
    *offset = 128 * d;
    store256(u, _mm256_xor_si256(load256(p + 2), _mm256_set1_epi8(static_cast<char>(0x80))));
  }
};
// Signed 4-bit code books, as bytes with 128 added.
struct UnpackIq4Nl {
  static constexpr int kValues = 32, kBytes = 18, kSub = 32;
  static void block(const std::uint8_t* p, std::uint8_t* u, float* scale, float* offset) {
    const float d = half_at(p);
    *scale = d;
    *offset = 128 * d;
    store256(u, look_up(nibbles(load128(p + 2))));
  }
  static __m256i look_up(__m256i codes) {
    const __m256i book = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(1, 24, 45, 63, 79, 93, 106, 118, static_cast<char>(129), static_cast<char>(141),
                      static_cast<char>(153), static_cast<char>(166), static_cast<char>(181), static_cast<char>(197),
                      static_cast<char>(217), static_cast<char>(241)));
    return _mm256_shuffle_epi8(book, codes);
  }
};
// The 6-bit scales and minima of q4_k and q5_k: eight each in twelve bytes.
inline void unpack_scales_6bit(const std::uint8_t* s, float d, float dmin, float* scale, float* offset) {
  for (int i = 0; i < 4; ++i) {
    scale[i] = d * static_cast<float>(s[i] & 63);
    offset[i] = dmin * static_cast<float>(s[i + 4] & 63);
    scale[i + 4] = d * static_cast<float>((s[i + 8] & 15) | ((s[i] >> 6) << 4));
    offset[i + 4] = dmin * static_cast<float>((s[i + 8] >> 4) | ((s[i + 4] >> 6) << 4));
  }
}
struct UnpackQ4K {
  static constexpr int kValues = 256, kBytes = 144, kSub = 32;
  static void block(const std::uint8_t* p, std::uint8_t* u, float* scale, float* offset) {
    unpack_scales_6bit(p + 4, half_at(p), half_at(p + 2), scale, offset);
    const __m256i low = _mm256_set1_epi8(15);
    for (int pair = 0; pair < 4; ++pair) {
      const __m256i q = load256(p + 16 + 32 * pair);
      store256(u + 64 * pair, _mm256_and_si256(q, low));
      store256(u + 64 * pair + 32, _mm256_and_si256(_mm256_srli_epi16(q, 4), low));
    }
  }
};
struct UnpackQ5K {
  static constexpr int kValues = 256, kBytes = 176, kSub = 32;
  static void block(const std::uint8_t* p, std::uint8_t* u, float* scale, float* offset) {
    unpack_scales_6bit(p + 4, half_at(p), half_at(p + 2), scale, offset);
    const __m256i low = _mm256_set1_epi8(15), sixteen = _mm256_set1_epi8(16);
    __m256i high = load256(p + 16);  // bit i of byte l belongs to value l of sub-block i
    for (int pair = 0; pair < 4; ++pair) {
      const __m256i q = load256(p + 48 + 32 * pair);
      store256(u + 64 * pair,
               _mm256_or_si256(_mm256_and_si256(q, low), _mm256_and_si256(_mm256_slli_epi16(high, 4), sixteen)));
      store256(u + 64 * pair + 32, _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(q, 4), low),
                                                   _mm256_and_si256(_mm256_slli_epi16(high, 3), sixteen)));
      high = _mm256_srli_epi16(high, 2);
    }
  }
};
struct UnpackQ6K {
  static constexpr int kValues = 256, kBytes = 210, kSub = 16;
  static void block(const std::uint8_t* p, std::uint8_t* u, float* scale, float* offset) {
    const float d = half_at(p + 208);
    const __m256i lo = _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p + 192)));
    const __m256i hi = _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p + 200)));
    const __m256 dv = _mm256_set1_ps(d), thirty_two = _mm256_set1_ps(32);
    const __m256 slo = _mm256_mul_ps(_mm256_cvtepi32_ps(lo), dv), shi = _mm256_mul_ps(_mm256_cvtepi32_ps(hi), dv);
    _mm256_storeu_ps(scale, slo);
    _mm256_storeu_ps(scale + 8, shi);
    _mm256_storeu_ps(offset, _mm256_mul_ps(slo, thirty_two));
    _mm256_storeu_ps(offset + 8, _mm256_mul_ps(shi, thirty_two));
    const __m256i low = _mm256_set1_epi8(15), pair = _mm256_set1_epi8(0x30);
    for (int half = 0; half < 2; ++half) {
      const __m256i a = load256(p + 64 * half), b = load256(p + 64 * half + 32), h = load256(p + 128 + 32 * half);
      std::uint8_t* to = u + 128 * half;
      store256(to, _mm256_or_si256(_mm256_and_si256(a, low), _mm256_and_si256(_mm256_slli_epi16(h, 4), pair)));
      store256(to + 32, _mm256_or_si256(_mm256_and_si256(b, low), _mm256_and_si256(_mm256_slli_epi16(h, 2), pair)));
      store256(to + 64, _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(a, 4), low), _mm256_and_si256(h, pair)));
      store256(to + 96, _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(b, 4), low),
                                        _mm256_and_si256(_mm256_srli_epi16(h, 2), pair)));
    }
  }
};

// Unpacks values [begin, end) of a row (multiples of the block, at most kChunk of them) and zeroes what is left of the
// last group of 512, where scale and offset are 0 too.
inline constexpr std::int64_t kChunk = 2048;
template <typename Format>
inline void unpack_row(const std::uint8_t* row, std::int64_t begin, std::int64_t end, std::uint8_t* u, float* scale,
                       float* offset) {
  constexpr std::int64_t subs = Format::kValues / Format::kSub;
  const std::uint8_t* p = row + begin / Format::kValues * Format::kBytes;
  std::int64_t i = begin;
  for (; i < end; i += Format::kValues) {
    Format::block(p, u, scale, offset);
    p += Format::kBytes;
    u += Format::kValues;
    scale += subs;
    offset += subs;
  }
  for (std::int64_t pad = (512 - (end - begin) % 512) % 512; pad > 0; pad -= Format::kSub) {
    for (int j = 0; j < Format::kSub; ++j) *u++ = 0;
    *scale++ = 0;
    *offset++ = 0;
  }
}

}  // namespace
}  // namespace carat::kernels
