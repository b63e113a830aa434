// Quantised weights as operands of integer dot products, written once over compiler vectors and compiled by every table
// with its own flags. As many rows as a vector has 32-bit lanes are read together: a vector holds four consecutive
// weights of each, row r in lane r, so that one broadcast of four activations serves all rows and no sum ever crosses
// lanes.
//
// A format is read in units (of kUnit values, one or more sub-blocks of kSub values that share a scale):
//   scales(rows, unit…)  writes a scale and, where the format has minima, an offset per sub-block:
//                        weight = scale * (w - zero) - offset
//   read(rows, unit, f)  calls f(sub, step, w0, w1, w2, w3): sixteen values of sub-block `sub`, from value
//                        4 * step on
// and says what its integers are: unsigned around a zero of 2^kZeroLog, or signed bytes. One whose packed words are
// operands after an instruction or two, and whose unit is one sub-block, also has
//   step<K>(rows, unit)  values 4 * K … 4 * K + 3 of packed rows
//
// `Isa` is what a table adds: see quantised_matmul.h.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/abi.h"
#include "kernels/vector_rows.h"

namespace carat::kernels {
namespace {

[[gnu::always_inline]] inline Bits low_nibbles(Bits v) { return v & 0x0F0F0F0FU; }
[[gnu::always_inline]] inline Bits high_nibbles(Bits v) { return (v >> 4) & 0x0F0F0F0FU; }

/// Rows of a matrix, one for each lane; those past the last row repeat it.
struct RowPointers {
  const std::uint8_t* row[kLanes];
  RowPointers() = default;
  RowPointers(const MatmulTile& tile, std::int64_t first) {
    for (std::int64_t r = 0; r < kLanes; ++r)
      row[r] = tile.weights + (first + r < tile.rows ? first + r : tile.rows - 1) * tile.weight_row_bytes;
  }
};

/// Rows of a tile from `first` on as they lie in the file, in blocks of Fields.
template <typename Isa, BlockFields Fields>
struct MappedRows : RowPointers {
  static constexpr bool kPacked = false;
  using RowPointers::RowPointers;
  // Words `at` … `at` + 3 of a block: lane r of t[i] is word at + i of row r.
  [[gnu::always_inline]] void four_words(std::int64_t block, std::int64_t at, Bits (&t)[4]) const {
    Isa::transpose16(row, block * Fields.bytes + Fields.words_at + 4 * at, t);
  }
  [[gnu::always_inline]] Bits word(std::int64_t block, std::int64_t at) const {
    alignas(kVectorBytes) std::uint32_t words[kLanes];
    for (std::int64_t r = 0; r < kLanes; ++r)
      __builtin_memcpy(words + r, row[r] + block * Fields.bytes + Fields.words_at + 4 * at, 4);
    return load<Bits>(words);
  }
  // The half-precision number `at` of each of `count` blocks from `first` on, to out[block * stride + row].
  [[gnu::always_inline]] void halves(std::int64_t first, std::int64_t count, int at, float* out,
                                     std::int64_t stride) const {
    // First all copies, then all conversions: no load waits for the store before it.
    alignas(kVectorBytes) std::uint16_t words[64][kLanes];
    for (std::int64_t done = 0; done < count; done += 64) {
      const std::int64_t n = count - done < 64 ? count - done : 64;
      for (std::int64_t b = 0; b < n; ++b) {
        for (std::int64_t r = 0; r < kLanes; ++r) {
          __builtin_memcpy(&words[b][r], row[r] + (first + done + b) * Fields.bytes + Fields.halves_at + 2 * at, 2);
        }
      }
      for (std::int64_t b = 0; b < n; ++b) store(out + (done + b) * stride, Isa::halves(load<Halves>(words[b])));
    }
  }
};

/// Rows interleaved by pack(): a block's halves of all rows, then its words of all rows.
template <typename Isa, BlockFields Fields>
struct PackedRows {
  static constexpr bool kPacked = true;
  static constexpr std::int64_t kBlockBytes = kLanes * Fields.bytes;
  static constexpr BlockFields kLayout = Fields;  // of this file alone; what is read of a parameter is a weak symbol
  const std::uint8_t* data;

  PackedRows() = default;
  PackedRows(const MatmulTile& tile, std::int64_t first) : data(tile.weights + first * tile.weight_row_bytes) {}
  [[gnu::always_inline]] Bits word(std::int64_t block, std::int64_t at) const {
    return load<Bits>(data + block * kBlockBytes + 2 * kLanes * Fields.halves +
                      kVectorBytes * kLayout.packed_place(at));
  }
  [[gnu::always_inline]] void four_words(std::int64_t block, std::int64_t at, Bits (&t)[4]) const {
    for (int i = 0; i < 4; ++i) t[i] = word(block, at + i);
  }
  [[gnu::always_inline]] Floats half(std::int64_t block, int at) const {
    return Isa::halves(load<Halves>(data + block * kBlockBytes + 2 * kLanes * at));
  }
  [[gnu::always_inline]] void halves(std::int64_t first, std::int64_t count, int at, float* out,
                                     std::int64_t stride) const {
    for (std::int64_t b = 0; b < count; ++b) store(out + b * stride, half(first + b, at));
  }
};

[[gnu::always_inline]] inline void negate(float* x, std::int64_t count, std::int64_t stride) {
  for (std::int64_t b = 0; b < count; ++b) store(x + b * stride, Floats{} - load<Floats>(x + b * stride));
}

/// What the integers of a format are.
enum class Integers {
  bits4,    ///< unsigned, at most 15
  bits5,    ///< unsigned, at most 31
  bits6,    ///< unsigned, at most 63
  signed8,  ///< signed bytes
};

// --- blocks of 32 ---

struct Q4_0 {
  static constexpr BlockFields kFields = block_fields(13);
  static constexpr int kUnit = 32, kSub = 32, kZeroLog = 3;
  static constexpr Integers kIntegers = Integers::bits4;
  static constexpr bool kOffset = false;
  template <typename Isa, typename Rows>
  static void scales(const Rows& rows, std::int64_t unit, std::int64_t units, float* scale, float*,
                     std::int64_t stride) {
    rows.halves(unit, units, 0, scale, stride);
  }
  template <typename Isa, typename Rows, typename F>
  [[gnu::always_inline]] static void read(const Rows& rows, std::int64_t unit, const F& f) {
    Bits t[4];
    rows.four_words(unit, 0, t);
    f(0, 0, low_nibbles(t[0]), low_nibbles(t[1]), low_nibbles(t[2]), low_nibbles(t[3]));
    f(0, 4, high_nibbles(t[0]), high_nibbles(t[1]), high_nibbles(t[2]), high_nibbles(t[3]));
  }
  template <int K, typename Rows>
  [[gnu::always_inline]] static Bits step(const Rows& rows, std::int64_t unit) {
    const Bits word = rows.word(unit, K % 4);
    return K < 4 ? low_nibbles(word) : high_nibbles(word);
  }
};
struct Q4_1 {
  static constexpr BlockFields kFields = block_fields(14);
  static constexpr int kUnit = 32, kSub = 32, kZeroLog = -1;
  static constexpr Integers kIntegers = Integers::bits4;
  static constexpr bool kOffset = true;
  template <typename Isa, typename Rows>
  static void scales(const Rows& rows, std::int64_t unit, std::int64_t units, float* scale, float* offset,
                     std::int64_t stride) {
    rows.halves(unit, units, 0, scale, stride);
    rows.halves(unit, units, 1, offset, stride);
    negate(offset, units, stride);
  }
  template <typename Isa, typename Rows, typename F>
  [[gnu::always_inline]] static void read(const Rows& rows, std::int64_t unit, const F& f) {
    Q4_0::read<Isa>(rows, unit, f);
  }
  template <int K, typename Rows>
  [[gnu::always_inline]] static Bits step(const Rows& rows, std::int64_t unit) {
    return Q4_0::step<K>(rows, unit);
  }
};
// A word of fifth bits, one per value, before the nibbles.
template <typename Isa, typename Rows, typename F>
[[gnu::always_inline]] inline void read_five_bits(const Rows& rows, std::int64_t block, const F& f) {
  Bits t[4];
  rows.four_words(block, 1, t);
  const Bits high = rows.word(block, 0);
  f(0, 0, low_nibbles(t[0]) | Isa::template fifth_bits<0>(high), low_nibbles(t[1]) | Isa::template fifth_bits<4>(high),
    low_nibbles(t[2]) | Isa::template fifth_bits<8>(high), low_nibbles(t[3]) | Isa::template fifth_bits<12>(high));
  f(0, 4, high_nibbles(t[0]) | Isa::template fifth_bits<16>(high),
    high_nibbles(t[1]) | Isa::template fifth_bits<20>(high), high_nibbles(t[2]) | Isa::template fifth_bits<24>(high),
    high_nibbles(t[3]) | Isa::template fifth_bits<28>(high));
}
struct Q5_0 {
  static constexpr BlockFields kFields = block_fields(15);
  static constexpr int kUnit = 32, kSub = 32, kZeroLog = 4;
  static constexpr Integers kIntegers = Integers::bits5;
  static constexpr bool kOffset = false;
  template <typename Isa, typename Rows>
  static void scales(const Rows& rows, std::int64_t unit, std::int64_t units, float* scale, float*,
                     std::int64_t stride) {
    rows.halves(unit, units, 0, scale, stride);
  }
  template <typename Isa, typename Rows, typename F>
  [[gnu::always_inline]] static void read(const Rows& rows, std::int64_t unit, const F& f) {
    read_five_bits<Isa>(rows, unit, f);
  }
};
struct Q5_1 {
  static constexpr BlockFields kFields = block_fields(16);
  static constexpr int kUnit = 32, kSub = 32, kZeroLog = -1;
  static constexpr Integers kIntegers = Integers::bits5;
  static constexpr bool kOffset = true;
  template <typename Isa, typename Rows>
  static void scales(const Rows& rows, std::int64_t unit, std::int64_t units, float* scale, float* offset,
                     std::int64_t stride) {
    Q4_1::scales<Isa>(rows, unit, units, scale, offset, stride);
  }
  template <typename Isa, typename Rows, typename F>
  [[gnu::always_inline]] static void read(const Rows& rows, std::int64_t unit, const F& f) {
    read_five_bits<Isa>(rows, unit, f);
  }
};
struct Q8_0 {
  static constexpr BlockFields kFields = block_fields(17);
  static constexpr int kUnit = 32, kSub = 32, kZeroLog = -1;
  static constexpr Integers kIntegers = Integers::signed8;
  static constexpr bool kOffset = false;
  template <typename Isa, typename Rows>
  static void scales(const Rows& rows, std::int64_t unit, std::int64_t units, float* scale, float*,
                     std::int64_t stride) {
    rows.halves(unit, units, 0, scale, stride);
  }
  template <typename Isa, typename Rows, typename F>
  [[gnu::always_inline]] static void read(const Rows& rows, std::int64_t unit, const F& f) {
    Bits t[4];
    rows.four_words(unit, 0, t);
    f(0, 0, t[0], t[1], t[2], t[3]);
    rows.four_words(unit, 4, t);
    f(0, 4, t[0], t[1], t[2], t[3]);
  }
  template <int K, typename Rows>
  [[gnu::always_inline]] static Bits step(const Rows& rows, std::int64_t unit) {
    return rows.word(unit, K);
  }
};
struct Iq4Nl {
  static constexpr BlockFields kFields = block_fields(23);
  static constexpr int kUnit = 32, kSub = 32, kZeroLog = -1;
  static constexpr Integers kIntegers = Integers::signed8;
  static constexpr bool kOffset = false;
  alignas(16) static constexpr std::int8_t kBook[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                                        1,    13,   25,  38,  53,  69,  89,  113};
  template <typename Isa, typename Rows>
  static void scales(const Rows& rows, std::int64_t unit, std::int64_t units, float* scale, float*,
                     std::int64_t stride) {
    rows.halves(unit, units, 0, scale, stride);
  }
  template <typename Isa, typename Rows, typename F>
  [[gnu::always_inline]] static void read(const Rows& rows, std::int64_t unit, const F& f) {
    Q4_0::read<Isa>(rows, unit, [&](int sub, int step, Bits a, Bits b, Bits c, Bits d) __attribute__((always_inline)) {
      f(sub, step, Isa::look_up(kBook, a), Isa::look_up(kBook, b), Isa::look_up(kBook, c), Isa::look_up(kBook, d));
    });
  }
};

// --- blocks of 256 ---

[[gnu::always_inline]] inline Floats ints_to_floats(Bits v) { return __builtin_convertvector((Ints)v, Floats); }
// Four unsigned bytes per row times a number per row, to out, out + stride, …
[[gnu::always_inline]] inline void scaled_bytes(Bits bytes, Floats d, float* out, std::int64_t stride) {
  for (int i = 0; i < 4; ++i) store(out + i * stride, ints_to_floats((bytes >> (8 * i)) & 0xFFU) * d);
}
// The same with signed bytes.
[[gnu::always_inline]] inline void scaled_signed_bytes(Bits bytes, Floats d, float* out, std::int64_t stride) {
  for (int i = 0; i < 4; ++i) {
    const Ints value = (Ints)(bytes << (24 - 8 * i)) >> 24;
    store(out + i * stride, __builtin_convertvector(value, Floats) * d);
  }
}

// The 6-bit scales and minima of q4_k and q5_k: eight each in twelve bytes behind two halves.
template <typename Isa, typename Rows>
inline void scales_6bit(const Rows& rows, std::int64_t first, std::int64_t blocks, float* scale, float* offset,
                        std::int64_t stride) {
  for (std::int64_t b = 0; b < blocks; ++b) {
    Bits w[4];
    rows.four_words(first + b, 0, w);
    const Floats low = Isa::halves(__builtin_convertvector(w[0] & 0xFFFFU, Halves));
    const Floats high = Isa::halves(__builtin_convertvector(w[0] >> 16, Halves));
    const auto upper = [](Bits low_bits, Bits high_bits) __attribute__((always_inline)) {
      return (low_bits & 0x0F0F0F0FU) | ((high_bits >> 2) & 0x30303030U);
    };
    float* s = scale + b * 8 * stride;
    float* m = offset + b * 8 * stride;
    scaled_bytes(w[1] & 0x3F3F3F3FU, low, s, stride);
    scaled_bytes(upper(w[3], w[1]), low, s + 4 * stride, stride);
    scaled_bytes(w[2] & 0x3F3F3F3FU, high, m, stride);
    scaled_bytes(upper(w[3] >> 4, w[2]), high, m + 4 * stride, stride);
  }
}

// A unit is a pair of sub-blocks: 32 bytes whose low nibbles are the first and whose high nibbles are the second.
struct Q4K {
  static constexpr BlockFields kFields = block_fields(20);
  static constexpr int kUnit = 64, kSub = 32, kZeroLog = -1;
  static constexpr Integers kIntegers = Integers::bits4;
  static constexpr bool kOffset = true;
  template <typename Isa, typename Rows>
  static void scales(const Rows& rows, std::int64_t unit, std::int64_t units, float* scale, float* offset,
                     std::int64_t stride) {
    scales_6bit<Isa>(rows, unit / 4, units / 4, scale, offset, stride);
  }
  template <typename Isa, typename Rows, typename F>
  [[gnu::always_inline]] static void read(const Rows& rows, std::int64_t unit, const F& f) {
    const std::int64_t at = 4 + 8 * (unit % 4);
    for (int half = 0; half < 2; ++half) {
      Bits t[4];
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
  template <typename Isa, typename Rows>
  static void scales(const Rows& rows, std::int64_t unit, std::int64_t units, float* scale, float* offset,
                     std::int64_t stride) {
    scales_6bit<Isa>(rows, unit / 4, units / 4, scale, offset, stride);
  }
  template <typename Isa, typename Rows, typename F>
  [[gnu::always_inline]] static void read(const Rows& rows, std::int64_t unit, const F& f) {
    const std::int64_t block = unit / 4, pair = unit % 4;
    const auto down = static_cast<std::uint32_t>(2 * pair);
    for (int half = 0; half < 2; ++half) {
      Bits t[4], high[4], a[4], b[4];
      rows.four_words(block, 12 + 8 * pair + 4 * half, t);
      rows.four_words(block, 4 + 4 * half, high);
      for (int i = 0; i < 4; ++i) {
        const Bits bits = high[i] >> down;
        a[i] = low_nibbles(t[i]) | ((bits << 4) & 0x10101010U);
        b[i] = high_nibbles(t[i]) | ((bits << 3) & 0x10101010U);
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
  template <typename Isa, typename Rows>
  static void scales(const Rows& rows, std::int64_t unit, std::int64_t units, float* scale, float*,
                     std::int64_t stride) {
    for (std::int64_t b = 0; b < units / 2; ++b) {
      alignas(kVectorBytes) float d[kLanes];
      rows.halves(unit / 2 + b, 1, 0, d, kLanes);
      Bits w[4];
      rows.four_words(unit / 2 + b, 48, w);
      for (int i = 0; i < 4; ++i) scaled_signed_bytes(w[i], load<Floats>(d), scale + (b * 16 + 4 * i) * stride, stride);
    }
  }
  template <typename Isa, typename Rows, typename F>
  [[gnu::always_inline]] static void read(const Rows& rows, std::int64_t unit, const F& f) {
    const std::int64_t block = unit / 2, half = unit % 2;
    repeat<2>([&](auto s) __attribute__((always_inline)) {
      Bits a[4], h[4], w[4];
      rows.four_words(block, 32 + 8 * half + 4 * s, h);
      rows.four_words(block, 16 * half + 4 * s, a);
      for (int i = 0; i < 4; ++i) w[i] = low_nibbles(a[i]) | ((h[i] << 4) & 0x30303030U);
      f(s, 0, w[0], w[1], w[2], w[3]);
      for (int i = 0; i < 4; ++i) w[i] = high_nibbles(a[i]) | (h[i] & 0x30303030U);
      f(4 + s, 0, w[0], w[1], w[2], w[3]);
      rows.four_words(block, 16 * half + 8 + 4 * s, a);
      for (int i = 0; i < 4; ++i) w[i] = low_nibbles(a[i]) | ((h[i] << 2) & 0x30303030U);
      f(2 + s, 0, w[0], w[1], w[2], w[3]);
      for (int i = 0; i < 4; ++i) w[i] = high_nibbles(a[i]) | ((h[i] >> 2) & 0x30303030U);
      f(6 + s, 0, w[0], w[1], w[2], w[3]);
    });
  }
};

}  // namespace
}  // namespace carat::kernels
