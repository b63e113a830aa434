// Quantised weights as AVX-512 registers: 512 weights (a group) become eight vectors of unsigned bytes with a scale and
// an offset per sub-block of 32, or of 16 for q6_k: weight = scale * byte - offset. Needs VBMI for the nibbles.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace carat::kernels {
namespace {

/// One group of 512 weights. Byte i of u[j] is weight 64 j + i. With sub-blocks of 32, scale[0] and offset[0] hold the
/// sixteen of the group; with sub-blocks of 16, [0] those of the first half and [1] those of the second.
struct Group {
  __m512i u[8];
  __m512 scale[2], offset[2];
};

inline __m512i load512(const void* p) { return _mm512_loadu_si512(p); }
inline __m256i load256(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
inline __m512 halves_to_floats(__m256i halves) { return _mm512_cvtph_ps(halves); }
inline float half_at(const std::uint8_t* p) {
  std::uint16_t bits;
  __builtin_memcpy(&bits, p, 2);
  return _cvtsh_ss(bits);
}
// The 16-bit words at the start of sixteen blocks of `Bytes` bytes.
template <int Bytes>
inline __m256i words_at(const std::uint8_t* p) {
  alignas(32) std::uint16_t words[16];
  for (int i = 0; i < 16; ++i) __builtin_memcpy(words + i, p + i * Bytes, 2);
  return _mm256_load_si256(reinterpret_cast<const __m256i*>(words));
}

// Two blocks whose 16 bytes of nibbles start at Nibbles and Nibbles + Bytes: low nibbles are values 0..15, high 16..31.
template <int Bytes, int Nibbles>
inline __m512i nibble_pair(const std::uint8_t* p) {
  // No byte beyond the second block is touched: the last block of a file may end at the end of its mapping.
  constexpr __mmask64 kMask = (std::uint64_t{1} << (Bytes + 16)) - 1;
  const __m512i bytes = _mm512_maskz_loadu_epi8(kMask, p + Nibbles);
  constexpr long long a = 0x0706050403020100LL, b = 0x0F0E0D0C0B0A0908LL, next = 0x0101010101010101LL * Bytes;
  const __m512i index = _mm512_setr_epi64(a, b, a, b, a + next, b + next, a + next, b + next);
  constexpr long long low = 0x3830282018100800LL, high = 0x3C342C241C140C04LL;  // bit offsets of the nibbles in 8 bytes
  const __m512i shift = _mm512_setr_epi64(low, low, high, high, low, low, high, high);
  return _mm512_and_si512(_mm512_multishift_epi64_epi8(shift, _mm512_permutexvar_epi8(index, bytes)),
                          _mm512_set1_epi8(15));
}
// 0x10 in every byte whose bit is set; 64 bits for two blocks.
inline __m512i fifth_bits(const std::uint8_t* first, const std::uint8_t* second) {
  std::uint32_t a, b;
  __builtin_memcpy(&a, first, 4);
  __builtin_memcpy(&b, second, 4);
  return _mm512_maskz_set1_epi8(static_cast<__mmask64>((static_cast<std::uint64_t>(b) << 32) | a), 16);
}

struct GroupQ4_0 {
  static constexpr int kValues = 32, kBytes = 18, kSub = 32;
  static inline void read(const std::uint8_t* p, Group& g) {
    for (int j = 0; j < 8; ++j) g.u[j] = nibble_pair<18, 2>(p + 36 * j);
    // Blocks are 9 words apart: two registers hold the first words of eight of them.
    const __m512i index = _mm512_castsi128_si512(_mm_setr_epi16(0, 9, 18, 27, 36, 45, 54, 63));
    const __m512i first = _mm512_permutex2var_epi16(load512(p), index, load512(p + 64));
    const __m512i second = _mm512_permutex2var_epi16(load512(p + 144), index, load512(p + 208));
    const __m256i words = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm512_castsi512_si128(first)),
                                                  _mm512_castsi512_si128(second), 1);
    g.scale[0] = halves_to_floats(words);
    g.offset[0] = _mm512_mul_ps(g.scale[0], _mm512_set1_ps(8));
  }
};
struct GroupQ4_1 {
  static constexpr int kValues = 32, kBytes = 20, kSub = 32;
  static inline void read(const std::uint8_t* p, Group& g) {
    for (int j = 0; j < 8; ++j) g.u[j] = nibble_pair<20, 4>(p + 40 * j);
    g.scale[0] = halves_to_floats(words_at<20>(p));
    g.offset[0] = _mm512_sub_ps(_mm512_setzero_ps(), halves_to_floats(words_at<20>(p + 2)));
  }
};
struct GroupQ5_0 {
  static constexpr int kValues = 32, kBytes = 22, kSub = 32;
  static inline void read(const std::uint8_t* p, Group& g) {
    for (int j = 0; j < 8; ++j) {
      g.u[j] = _mm512_or_si512(nibble_pair<22, 6>(p + 44 * j), fifth_bits(p + 44 * j + 2, p + 44 * j + 24));
    }
    g.scale[0] = halves_to_floats(words_at<22>(p));
    g.offset[0] = _mm512_mul_ps(g.scale[0], _mm512_set1_ps(16));
  }
};
struct GroupQ5_1 {
  static constexpr int kValues = 32, kBytes = 24, kSub = 32;
  static inline void read(const std::uint8_t* p, Group& g) {
    for (int j = 0; j < 8; ++j) {
      g.u[j] = _mm512_or_si512(nibble_pair<24, 8>(p + 48 * j), fifth_bits(p + 48 * j + 4, p + 48 * j + 28));
    }
    g.scale[0] = halves_to_floats(words_at<24>(p));
    g.offset[0] = _mm512_sub_ps(_mm512_setzero_ps(), halves_to_floats(words_at<24>(p + 2)));
  }
};
struct GroupQ8_0 {
  static constexpr int kValues = 32, kBytes = 34, kSub = 32;
  static inline void read(const std::uint8_t* p, Group& g) {
    for (int j = 0; j < 8; ++j) {
      const __m512i q =
          _mm512_inserti64x4(_mm512_castsi256_si512(load256(p + 68 * j + 2)), load256(p + 68 * j + 36), 1);
      g.u[j] = _mm512_xor_si512(q, _mm512_set1_epi8(static_cast<char>(0x80)));
    }
    g.scale[0] = halves_to_floats(words_at<34>(p));
    g.offset[0] = _mm512_mul_ps(g.scale[0], _mm512_set1_ps(128));
  }
};
struct GroupIq4Nl {
  static constexpr int kValues = 32, kBytes = 18, kSub = 32;
  static inline void read(const std::uint8_t* p, Group& g) {
    GroupQ4_0::read(p, g);
    // The code book -127, -104, …, 113 with 128 added.
    const __m512i book = _mm512_broadcast_i32x4(
        _mm_setr_epi8(1, 24, 45, 63, 79, 93, 106, 118, static_cast<char>(129), static_cast<char>(141),
                      static_cast<char>(153), static_cast<char>(166), static_cast<char>(181), static_cast<char>(197),
                      static_cast<char>(217), static_cast<char>(241)));
    for (int j = 0; j < 8; ++j) g.u[j] = _mm512_shuffle_epi8(book, g.u[j]);
    g.offset[0] = _mm512_mul_ps(g.scale[0], _mm512_set1_ps(128));
  }
};

// The 6-bit scales and minima of one q4_k or q5_k block: eight each in twelve bytes.
inline void scales_6bit(const std::uint8_t* s, float d, float dmin, float* scale, float* offset) {
  std::uint32_t a, b, c;
  __builtin_memcpy(&a, s, 4);
  __builtin_memcpy(&b, s + 4, 4);
  __builtin_memcpy(&c, s + 8, 4);
  const std::uint64_t low =
      (a & 0x3F3F3F3FU) | (static_cast<std::uint64_t>((c & 0x0F0F0F0FU) | ((a >> 2) & 0x30303030U)) << 32);
  const std::uint64_t min =
      (b & 0x3F3F3F3FU) | (static_cast<std::uint64_t>(((c >> 4) & 0x0F0F0F0FU) | ((b >> 2) & 0x30303030U)) << 32);
  const auto floats = [](std::uint64_t bytes) {
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_cvtsi64_si128(static_cast<long long>(bytes))));
  };
  _mm256_storeu_ps(scale, _mm256_mul_ps(floats(low), _mm256_set1_ps(d)));
  _mm256_storeu_ps(offset, _mm256_mul_ps(floats(min), _mm256_set1_ps(dmin)));
}
// 32 bytes whose low nibbles are one sub-block and whose high nibbles the next.
inline __m512i low_and_high(const std::uint8_t* p) {
  const __m512i twice = _mm512_broadcast_i64x4(load256(p));
  const __m512i shift = _mm512_inserti64x4(_mm512_setzero_si512(), _mm256_set1_epi16(4), 1);
  return _mm512_and_si512(_mm512_srlv_epi16(twice, shift), _mm512_set1_epi8(15));
}
struct GroupQ4K {
  static constexpr int kValues = 256, kBytes = 144, kSub = 32;
  static inline void read(const std::uint8_t* p, Group& g) {
    alignas(64) float scale[16], offset[16];
    for (int b = 0; b < 2; ++b) {
      const std::uint8_t* block = p + 144 * b;
      scales_6bit(block + 4, half_at(block), half_at(block + 2), scale + 8 * b, offset + 8 * b);
      for (int j = 0; j < 4; ++j) g.u[4 * b + j] = low_and_high(block + 16 + 32 * j);
    }
    g.scale[0] = _mm512_load_ps(scale);
    g.offset[0] = _mm512_load_ps(offset);
  }
};
struct GroupQ5K {
  static constexpr int kValues = 256, kBytes = 176, kSub = 32;
  static inline void read(const std::uint8_t* p, Group& g) {
    alignas(64) float scale[16], offset[16];
    for (int b = 0; b < 2; ++b) {
      const std::uint8_t* block = p + 176 * b;
      scales_6bit(block + 4, half_at(block), half_at(block + 2), scale + 8 * b, offset + 8 * b);
      const __m512i high = _mm512_broadcast_i64x4(load256(block + 16));  // bit i belongs to sub-block i
      for (int j = 0; j < 4; ++j) {
        const __m512i bit = _mm512_inserti64x4(_mm512_set1_epi8(static_cast<char>(1 << (2 * j))),
                                               _mm256_set1_epi8(static_cast<char>(2 << (2 * j))), 1);
        const __m512i fifth = _mm512_maskz_set1_epi8(_mm512_test_epi8_mask(high, bit), 16);
        g.u[4 * b + j] = _mm512_or_si512(low_and_high(block + 48 + 32 * j), fifth);
      }
    }
    g.scale[0] = _mm512_load_ps(scale);
    g.offset[0] = _mm512_load_ps(offset);
  }
};
struct GroupQ6K {
  static constexpr int kValues = 256, kBytes = 210, kSub = 16;
  static inline void read(const std::uint8_t* p, Group& g) {
    const __m512i left = _mm512_inserti64x4(_mm512_set1_epi16(4), _mm256_set1_epi16(2), 1);
    const __m512i right = _mm512_inserti64x4(_mm512_setzero_si512(), _mm256_set1_epi16(2), 1);
    const __m512i low = _mm512_set1_epi8(15), pair = _mm512_set1_epi8(0x30);
    for (int b = 0; b < 2; ++b) {
      const std::uint8_t* block = p + 210 * b;
      for (int half = 0; half < 2; ++half) {
        const __m512i a = load512(block + 64 * half);
        const __m512i h = _mm512_broadcast_i64x4(load256(block + 128 + 32 * half));  // two bits for each quarter
        g.u[4 * b + 2 * half] =
            _mm512_or_si512(_mm512_and_si512(a, low), _mm512_and_si512(_mm512_sllv_epi16(h, left), pair));
        g.u[4 * b + 2 * half + 1] = _mm512_or_si512(_mm512_and_si512(_mm512_srli_epi16(a, 4), low),
                                                    _mm512_and_si512(_mm512_srlv_epi16(h, right), pair));
      }
      const __m128i scales = _mm_loadu_si128(reinterpret_cast<const __m128i*>(block + 192));
      g.scale[b] =
          _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(scales)), _mm512_set1_ps(half_at(block + 208)));
      g.offset[b] = _mm512_mul_ps(g.scale[b], _mm512_set1_ps(32));
    }
  }
};

}  // namespace
}  // namespace carat::kernels
