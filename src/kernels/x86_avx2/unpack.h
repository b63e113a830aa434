// Turns quantised weights into operands of the AVX2 dot products. Eight rows are read together: a vector holds four
// consecutive weights of each, row r in 32-bit lane r, so that one broadcast of four activations serves all rows and no
// sum ever crosses lanes. Needs AVX2 and F16C.
//
// A format is read in units (of kUnit values, one or more sub-blocks of kSub values that share a scale):
//   scales(rows, unit…)  writes a scale and, where the format has minima, an offset per sub-block:
//                        weight = scale * w - offset
//   read(rows, unit, f)  calls f(sub, step, w0, w1, w2, w3): sixteen values of sub-block `sub`, from value
//                        4 * step on
// and says what its integers are: kBits of unsigned magnitude around kZero (w = byte - 2^kZeroLog), or signed bytes.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/abi.h"

namespace carat::kernels {
namespace {

/// Calls f(0), f(1), … f(Count - 1) with the numbers as constants: accumulators indexed by them stay in registers.
template <int N>
struct Number {
  constexpr operator int() const { return N; }
};
template <int Count, int From = 0, typename F>
[[gnu::always_inline]] inline void repeat(const F& f) {
  if constexpr (From < Count) {
    f(Number<From>{});
    repeat<Count, From + 1>(f);
  }
}

inline __m128i load128(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }
inline __m256i load256(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
inline void store256(void* p, __m256i v) { _mm256_storeu_si256(static_cast<__m256i*>(p), v); }
inline __m256i broadcast32(const void* p) {
  std::int32_t v;
  __builtin_memcpy(&v, p, 4);
  return _mm256_set1_epi32(v);
}
inline std::uint16_t word_at(const std::uint8_t* p) {
  std::uint16_t bits;
  __builtin_memcpy(&bits, p, 2);
  return bits;
}

/// Eight rows of a matrix; rows past its end repeat the last one.
using Rows8 = const std::uint8_t* const*;

// Sixteen bytes of each row, `at` bytes into it: lane r of t[i] holds bytes 4i … 4i + 3 of row r.
[[gnu::always_inline]] inline void transpose16(Rows8 row, std::int64_t at, __m256i (&t)[4]) {
  const auto pair = [&](int r) {
    return _mm256_inserti128_si256(_mm256_castsi128_si256(load128(row[r] + at)), load128(row[r + 4] + at), 1);
  };
  const __m256i a = pair(0), b = pair(1), c = pair(2), d = pair(3);
  const __m256i ab0 = _mm256_unpacklo_epi32(a, b), ab1 = _mm256_unpackhi_epi32(a, b);
  const __m256i cd0 = _mm256_unpacklo_epi32(c, d), cd1 = _mm256_unpackhi_epi32(c, d);
  t[0] = _mm256_unpacklo_epi64(ab0, cd0);
  t[1] = _mm256_unpackhi_epi64(ab0, cd0);
  t[2] = _mm256_unpacklo_epi64(ab1, cd1);
  t[3] = _mm256_unpackhi_epi64(ab1, cd1);
}
// Bits Shift … Shift + 3 of each lane become bytes: 16 where set.
template <int Shift>
[[gnu::always_inline]] inline __m256i fifth_bits(__m256i lanes) {
  constexpr int byte = Shift / 8, low = Shift % 8;
  const __m256i spread = _mm256_shuffle_epi8(
      lanes, _mm256_setr_epi8(byte, byte, byte, byte, 4 + byte, 4 + byte, 4 + byte, 4 + byte, 8 + byte, 8 + byte,
                              8 + byte, 8 + byte, 12 + byte, 12 + byte, 12 + byte, 12 + byte, byte, byte, byte, byte,
                              4 + byte, 4 + byte, 4 + byte, 4 + byte, 8 + byte, 8 + byte, 8 + byte, 8 + byte, 12 + byte,
                              12 + byte, 12 + byte, 12 + byte));
  const __m256i mask = _mm256_set1_epi32(static_cast<int>(0x08040201U << low));
  return _mm256_and_si256(_mm256_cmpeq_epi8(_mm256_and_si256(spread, mask), mask), _mm256_set1_epi8(16));
}
[[gnu::always_inline]] inline __m256i low_nibbles(__m256i v) { return _mm256_and_si256(v, _mm256_set1_epi8(15)); }
[[gnu::always_inline]] inline __m256i high_nibbles(__m256i v) { return low_nibbles(_mm256_srli_epi16(v, 4)); }

/// Eight rows of a tile from `first` on; past its end the last row again.
struct RowPointers {
  const std::uint8_t* row[8];
  RowPointers(const MatmulTile& tile, std::int64_t first) {
    for (int r = 0; r < 8; ++r)
      row[r] = tile.weights + (first + r < tile.rows ? first + r : tile.rows - 1) * tile.weight_row_bytes;
  }
};

/// Eight rows as they lie in the file, in blocks of Fields.
template <BlockFields Fields>
struct MappedRows : RowPointers {
  static constexpr bool kPacked = false;
  using RowPointers::RowPointers;
  // Words `at` … `at` + 3 of a block: lane r of t[i] is word at + i of row r.
  [[gnu::always_inline]] void four_words(std::int64_t block, std::int64_t at, __m256i (&t)[4]) const {
    transpose16(row, block * Fields.bytes + Fields.words_at + 4 * at, t);
  }
  [[gnu::always_inline]] __m256i word(std::int64_t block, std::int64_t at) const {
    alignas(32) std::uint32_t words[8];
    for (int r = 0; r < 8; ++r)
      __builtin_memcpy(words + r, row[r] + block * Fields.bytes + Fields.words_at + 4 * at, 4);
    return _mm256_load_si256(reinterpret_cast<const __m256i*>(words));
  }
  // The half-precision number `at` of each of `count` blocks from `first` on, to out[block * stride + row].
  [[gnu::always_inline]] void halves(std::int64_t first, std::int64_t count, int at, float* out,
                                     std::int64_t stride) const {
    alignas(32)
        std::uint16_t words[64][8];  // first all copies, then all conversions: no load waits for the store before it
    for (std::int64_t done = 0; done < count; done += 64) {
      const std::int64_t n = count - done < 64 ? count - done : 64;
      for (std::int64_t b = 0; b < n; ++b) {
        for (int r = 0; r < 8; ++r) {
          words[b][r] = word_at(row[r] + (first + done + b) * Fields.bytes + Fields.halves_at + 2 * at);
        }
      }
      for (std::int64_t b = 0; b < n; ++b) {
        _mm256_storeu_ps(out + (done + b) * stride,
                         _mm256_cvtph_ps(_mm_load_si128(reinterpret_cast<const __m128i*>(words[b]))));
      }
    }
  }
};

/// Eight rows interleaved by pack(): a block's halves of all rows, then its words of all rows.
template <BlockFields Fields>
struct PackedRows {
  static constexpr bool kPacked = true;
  static constexpr std::int64_t kBlockBytes = 8 * Fields.bytes;
  const std::uint8_t* data;

  PackedRows(const MatmulTile& tile, std::int64_t first) : data(tile.weights + first * tile.weight_row_bytes) {}
  [[gnu::always_inline]] const std::uint8_t* words(std::int64_t block) const {
    return data + block * kBlockBytes + 16 * Fields.halves;
  }
  [[gnu::always_inline]] void four_words(std::int64_t block, std::int64_t at, __m256i (&t)[4]) const {
    for (int i = 0; i < 4; ++i) t[i] = load256(words(block) + 32 * (at + i));
  }
  [[gnu::always_inline]] __m256i word(std::int64_t block, std::int64_t at) const {
    return load256(words(block) + 32 * at);
  }
  [[gnu::always_inline]] void halves(std::int64_t first, std::int64_t count, int at, float* out,
                                     std::int64_t stride) const {
    for (std::int64_t b = 0; b < count; ++b) {
      _mm256_storeu_ps(out + b * stride, _mm256_cvtph_ps(load128(data + (first + b) * kBlockBytes + 16 * at)));
    }
  }
};

[[gnu::always_inline]] inline void negate(float* x, std::int64_t count, std::int64_t stride) {
  for (std::int64_t b = 0; b < count; ++b) {
    _mm256_storeu_ps(x + b * stride, _mm256_sub_ps(_mm256_setzero_ps(), _mm256_loadu_ps(x + b * stride)));
  }
}

// Two half-precision numbers per row, the low and the high half of each word.
struct HalfPair {
  __m256 low, high;
};
[[gnu::always_inline]] inline HalfPair half_pair(__m256i words) {
  const __m256i halves = _mm256_permute4x64_epi64(
      _mm256_packus_epi32(_mm256_and_si256(words, _mm256_set1_epi32(0xFFFF)), _mm256_srli_epi32(words, 16)), 0xD8);
  return {_mm256_cvtph_ps(_mm256_castsi256_si128(halves)), _mm256_cvtph_ps(_mm256_extracti128_si256(halves, 1))};
}
/// What the integers of a format are.
enum class Integers {
  bits4,    ///< unsigned, at most 15: eight products of pairs fit 16 bits
  bits5,    ///< unsigned, at most 31: four
  bits6,    ///< unsigned, at most 63: two
  signed8,  ///< signed bytes
};

// --- blocks of 32 ---

struct Q4_0 {
  static constexpr BlockFields kFields = block_fields(13);
  static constexpr int kUnit = 32, kSub = 32, kZeroLog = 3;
  static constexpr Integers kIntegers = Integers::bits4;
  static constexpr bool kOffset = false;
  template <typename Rows>
  static void scales(const Rows& rows, std::int64_t unit, std::int64_t units, float* scale, float*,
                     std::int64_t stride) {
    rows.halves(unit, units, 0, scale, stride);
  }
  template <typename Rows, typename F>
  [[gnu::always_inline]] static void read(const Rows& rows, std::int64_t unit, const F& f) {
    __m256i t[4];
    rows.four_words(unit, 0, t);
    f(0, 0, low_nibbles(t[0]), low_nibbles(t[1]), low_nibbles(t[2]), low_nibbles(t[3]));
    f(0, 4, high_nibbles(t[0]), high_nibbles(t[1]), high_nibbles(t[2]), high_nibbles(t[3]));
  }
};
struct Q4_1 {
  static constexpr BlockFields kFields = block_fields(14);
  static constexpr int kUnit = 32, kSub = 32, kZeroLog = -1;
  static constexpr Integers kIntegers = Integers::bits4;
  static constexpr bool kOffset = true;
  template <typename Rows>
  static void scales(const Rows& rows, std::int64_t unit, std::int64_t units, float* scale, float* offset,
                     std::int64_t stride) {
    rows.halves(unit, units, 0, scale, stride);
    rows.halves(unit, units, 1, offset, stride);
    negate(offset, units, stride);
  }
  template <typename Rows, typename F>
  [[gnu::always_inline]] static void read(const Rows& rows, std::int64_t unit, const F& f) {
    __m256i t[4];
    rows.four_words(unit, 0, t);
    f(0, 0, low_nibbles(t[0]), low_nibbles(t[1]), low_nibbles(t[2]), low_nibbles(t[3]));
    f(0, 4, high_nibbles(t[0]), high_nibbles(t[1]), high_nibbles(t[2]), high_nibbles(t[3]));
  }
};
// A word of fifth bits, one per value, before the nibbles.
template <typename Rows, typename F>
[[gnu::always_inline]] inline void read_five_bits(const Rows& rows, std::int64_t block, const F& f) {
  __m256i t[4];
  rows.four_words(block, 1, t);
  const __m256i high = rows.word(block, 0);
  f(0, 0, _mm256_or_si256(low_nibbles(t[0]), fifth_bits<0>(high)),
    _mm256_or_si256(low_nibbles(t[1]), fifth_bits<4>(high)), _mm256_or_si256(low_nibbles(t[2]), fifth_bits<8>(high)),
    _mm256_or_si256(low_nibbles(t[3]), fifth_bits<12>(high)));
  f(0, 4, _mm256_or_si256(high_nibbles(t[0]), fifth_bits<16>(high)),
    _mm256_or_si256(high_nibbles(t[1]), fifth_bits<20>(high)),
    _mm256_or_si256(high_nibbles(t[2]), fifth_bits<24>(high)),
    _mm256_or_si256(high_nibbles(t[3]), fifth_bits<28>(high)));
}
struct Q5_0 {
  static constexpr BlockFields kFields = block_fields(15);
  static constexpr int kUnit = 32, kSub = 32, kZeroLog = 4;
  static constexpr Integers kIntegers = Integers::bits5;
  static constexpr bool kOffset = false;
  template <typename Rows>
  static void scales(const Rows& rows, std::int64_t unit, std::int64_t units, float* scale, float*,
                     std::int64_t stride) {
    rows.halves(unit, units, 0, scale, stride);
  }
  template <typename Rows, typename F>
  [[gnu::always_inline]] static void read(const Rows& rows, std::int64_t unit, const F& f) {
    read_five_bits(rows, unit, f);
  }
};
struct Q5_1 {
  static constexpr BlockFields kFields = block_fields(16);
  static constexpr int kUnit = 32, kSub = 32, kZeroLog = -1;
  static constexpr Integers kIntegers = Integers::bits5;
  static constexpr bool kOffset = true;
  template <typename Rows>
  static void scales(const Rows& rows, std::int64_t unit, std::int64_t units, float* scale, float* offset,
                     std::int64_t stride) {
    rows.halves(unit, units, 0, scale, stride);
    rows.halves(unit, units, 1, offset, stride);
    negate(offset, units, stride);
  }
  template <typename Rows, typename F>
  [[gnu::always_inline]] static void read(const Rows& rows, std::int64_t unit, const F& f) {
    read_five_bits(rows, unit, f);
  }
};
struct Q8_0 {
  static constexpr BlockFields kFields = block_fields(17);
  static constexpr int kUnit = 32, kSub = 32, kZeroLog = -1;
  static constexpr Integers kIntegers = Integers::signed8;
  static constexpr bool kOffset = false;
  template <typename Rows>
  static void scales(const Rows& rows, std::int64_t unit, std::int64_t units, float* scale, float*,
                     std::int64_t stride) {
    rows.halves(unit, units, 0, scale, stride);
  }
  template <typename Rows, typename F>
  [[gnu::always_inline]] static void read(const Rows& rows, std::int64_t unit, const F& f) {
    __m256i t[4];
    rows.four_words(unit, 0, t);
    f(0, 0, t[0], t[1], t[2], t[3]);
    rows.four_words(unit, 4, t);
    f(0, 4, t[0], t[1], t[2], t[3]);
  }
};
struct Iq4Nl {
  static constexpr BlockFields kFields = block_fields(23);
  static constexpr int kUnit = 32, kSub = 32, kZeroLog = -1;
  static constexpr Integers kIntegers = Integers::signed8;
  static constexpr bool kOffset = false;
  template <typename Rows>
  static void scales(const Rows& rows, std::int64_t unit, std::int64_t units, float* scale, float*,
                     std::int64_t stride) {
    rows.halves(unit, units, 0, scale, stride);
  }
  template <typename Rows, typename F>
  [[gnu::always_inline]] static void read(const Rows& rows, std::int64_t unit, const F& f) {
    const __m256i book = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113));
    const auto look_up = [&](__m256i codes) __attribute__((always_inline)) { return _mm256_shuffle_epi8(book, codes); };
    Q4_0::read(rows, unit,
               [&](int sub, int step, __m256i a, __m256i b, __m256i c, __m256i d)
                   __attribute__((always_inline)) { f(sub, step, look_up(a), look_up(b), look_up(c), look_up(d)); });
  }
};

// --- blocks of 256 ---

// Four unsigned bytes per row times a number per row, to out, out + stride, …
[[gnu::always_inline]] inline void scaled_bytes(__m256i bytes, __m256 d, float* out, std::int64_t stride) {
  const __m256i low = _mm256_set1_epi32(0xFF);
  const __m256i each[4] = {_mm256_and_si256(bytes, low), _mm256_and_si256(_mm256_srli_epi32(bytes, 8), low),
                           _mm256_and_si256(_mm256_srli_epi32(bytes, 16), low), _mm256_srli_epi32(bytes, 24)};
  for (int i = 0; i < 4; ++i) _mm256_storeu_ps(out + i * stride, _mm256_mul_ps(_mm256_cvtepi32_ps(each[i]), d));
}
// The same with signed bytes.
[[gnu::always_inline]] inline void scaled_signed_bytes(__m256i bytes, __m256 d, float* out, std::int64_t stride) {
  const __m256i each[4] = {_mm256_srai_epi32(_mm256_slli_epi32(bytes, 24), 24),
                           _mm256_srai_epi32(_mm256_slli_epi32(bytes, 16), 24),
                           _mm256_srai_epi32(_mm256_slli_epi32(bytes, 8), 24), _mm256_srai_epi32(bytes, 24)};
  for (int i = 0; i < 4; ++i) _mm256_storeu_ps(out + i * stride, _mm256_mul_ps(_mm256_cvtepi32_ps(each[i]), d));
}

// The 6-bit scales and minima of q4_k and q5_k: eight each in twelve bytes behind two halves.
template <typename Rows>
inline void scales_6bit(const Rows& rows, std::int64_t first, std::int64_t blocks, float* scale, float* offset,
                        std::int64_t stride) {
  const __m256i six = _mm256_set1_epi8(0x3F), four = _mm256_set1_epi8(0x0F), top = _mm256_set1_epi8(0x30);
  for (std::int64_t b = 0; b < blocks; ++b) {
    __m256i w[4];
    rows.four_words(first + b, 0, w);
    const HalfPair d = half_pair(w[0]);
    const auto upper = [&](__m256i low_bits, __m256i high_bits) __attribute__((always_inline)) {
      return _mm256_or_si256(_mm256_and_si256(low_bits, four), _mm256_and_si256(_mm256_srli_epi32(high_bits, 2), top));
    };
    float* s = scale + b * 8 * stride;
    float* m = offset + b * 8 * stride;
    scaled_bytes(_mm256_and_si256(w[1], six), d.low, s, stride);
    scaled_bytes(upper(w[3], w[1]), d.low, s + 4 * stride, stride);
    scaled_bytes(_mm256_and_si256(w[2], six), d.high, m, stride);
    scaled_bytes(upper(_mm256_srli_epi32(w[3], 4), w[2]), d.high, m + 4 * stride, stride);
  }
}

// A unit is a pair of sub-blocks: 32 bytes whose low nibbles are the first and whose high nibbles are the second.
struct Q4K {
  static constexpr BlockFields kFields = block_fields(20);
  static constexpr int kUnit = 64, kSub = 32, kZeroLog = -1;
  static constexpr Integers kIntegers = Integers::bits4;
  static constexpr bool kOffset = true;
  template <typename Rows>
  static void scales(const Rows& rows, std::int64_t unit, std::int64_t units, float* scale, float* offset,
                     std::int64_t stride) {
    scales_6bit(rows, unit / 4, units / 4, scale, offset, stride);
  }
  template <typename Rows, typename F>
  [[gnu::always_inline]] static void read(const Rows& rows, std::int64_t unit, const F& f) {
    const std::int64_t at = 4 + 8 * (unit % 4);
    for (int half = 0; half < 2; ++half) {
      __m256i t[4];
      rows.four_words(unit / 4, at + 4 * half, t);
      f(0, 4 * half, low_nibbles(t[0]), low_nibbles(t[1]), low_nibbles(t[2]), low_nibbles(t[3]));
      f(1, 4 * half, high_nibbles(t[0]), high_nibbles(t[1]), high_nibbles(t[2]), high_nibbles(t[3]));
    }
  }
};
// As q4_k, with a fifth bit: bit i of byte l of the 32 bytes before belongs to value l of sub-block i.
struct Q5K {
  static constexpr BlockFields kFields = block_fields(21);
  static constexpr int kUnit = 64, kSub = 32, kZeroLog = -1;
  static constexpr Integers kIntegers = Integers::bits5;
  static constexpr bool kOffset = true;
  template <typename Rows>
  static void scales(const Rows& rows, std::int64_t unit, std::int64_t units, float* scale, float* offset,
                     std::int64_t stride) {
    scales_6bit(rows, unit / 4, units / 4, scale, offset, stride);
  }
  template <typename Rows, typename F>
  [[gnu::always_inline]] static void read(const Rows& rows, std::int64_t unit, const F& f) {
    const std::int64_t block = unit / 4, pair = unit % 4;
    const __m128i down = _mm_cvtsi64_si128(2 * pair);
    const __m256i sixteen = _mm256_set1_epi8(16);
    for (int half = 0; half < 2; ++half) {
      __m256i t[4], high[4];
      rows.four_words(block, 12 + 8 * pair + 4 * half, t);
      rows.four_words(block, 4 + 4 * half, high);
      __m256i a[4], b[4];
      for (int i = 0; i < 4; ++i) {
        const __m256i bits = _mm256_srl_epi16(high[i], down);
        a[i] = _mm256_or_si256(low_nibbles(t[i]), _mm256_and_si256(_mm256_slli_epi16(bits, 4), sixteen));
        b[i] = _mm256_or_si256(high_nibbles(t[i]), _mm256_and_si256(_mm256_slli_epi16(bits, 3), sixteen));
      }
      f(0, 4 * half, a[0], a[1], a[2], a[3]);
      f(1, 4 * half, b[0], b[1], b[2], b[3]);
    }
  }
};
// A unit is half a block: 64 bytes of nibbles and 32 bytes of bit pairs make 128 values in eight sub-blocks of 16.
struct Q6K {
  static constexpr BlockFields kFields = block_fields(22);
  static constexpr int kUnit = 128, kSub = 16, kZeroLog = 5;
  static constexpr Integers kIntegers = Integers::bits6;
  static constexpr bool kOffset = false;
  template <typename Rows>
  static void scales(const Rows& rows, std::int64_t unit, std::int64_t units, float* scale, float*,
                     std::int64_t stride) {
    for (std::int64_t b = 0; b < units / 2; ++b) {
      alignas(32) float d_rows[8];
      rows.halves(unit / 2 + b, 1, 0, d_rows, 8);
      const __m256 d = _mm256_load_ps(d_rows);
      __m256i w[4];
      rows.four_words(unit / 2 + b, 48, w);
      for (int i = 0; i < 4; ++i) scaled_signed_bytes(w[i], d, scale + (b * 16 + 4 * i) * stride, stride);
    }
  }
  template <typename Rows, typename F>
  [[gnu::always_inline]] static void read(const Rows& rows, std::int64_t unit, const F& f) {
    const std::int64_t block = unit / 2, half = unit % 2;
    const __m256i pair = _mm256_set1_epi8(0x30);
    repeat<2>([&](auto s) __attribute__((always_inline)) {
      __m256i a[4], h[4], w[4];
      rows.four_words(block, 32 + 8 * half + 4 * s, h);
      rows.four_words(block, 16 * half + 4 * s, a);
      for (int i = 0; i < 4; ++i)
        w[i] = _mm256_or_si256(low_nibbles(a[i]), _mm256_and_si256(_mm256_slli_epi16(h[i], 4), pair));
      f(s, 0, w[0], w[1], w[2], w[3]);
      for (int i = 0; i < 4; ++i) w[i] = _mm256_or_si256(high_nibbles(a[i]), _mm256_and_si256(h[i], pair));
      f(4 + s, 0, w[0], w[1], w[2], w[3]);
      rows.four_words(block, 16 * half + 8 + 4 * s, a);
      for (int i = 0; i < 4; ++i)
        w[i] = _mm256_or_si256(low_nibbles(a[i]), _mm256_and_si256(_mm256_slli_epi16(h[i], 2), pair));
      f(2 + s, 0, w[0], w[1], w[2], w[3]);
      for (int i = 0; i < 4; ++i)
        w[i] = _mm256_or_si256(high_nibbles(a[i]), _mm256_and_si256(_mm256_srli_epi16(h[i], 2), pair));
      f(6 + s, 0, w[0], w[1], w[2], w[3]);
    });
  }
};

}  // namespace
}  // namespace carat::kernels
