// Tiles of 16- and 32-bit float weights times f32 activations. One result is a sum over runs of 64 columns, in order,
// each run one chain of fused multiply-adds in order of columns: the same bits for one token and for many.
// From an instruction set's `Isa` (quantised_matmul.h) it takes transpose16, halves, multiply_add and prefetch, and
//   kFloatTokens                          tokens multiplied at a time with a panel: as many as registers hold
#pragma once

#include "kernels/abi.h"
#include "kernels/quantised_matmul.h"
#include "kernels/vector_rows.h"
#include "kernels/word_panel.h"

namespace carat::kernels {
namespace {

// How weights become vectors of one column each (lane r is row r):
//   columns(t, out)                       kStep columns from sixteen bytes of each of kLanes rows
//   packed<Isa, I>(p)                     the I-th of the kParts columns that begin at p in packed rows
//   kPackedTokens                         with more tokens a panel is unpacked first
struct FloatF32 {
  static constexpr BlockFields kFields = block_fields(0);
  static constexpr int kStep = 4, kParts = 1;
  static constexpr std::int64_t kPackedTokens = INT64_MAX;
  template <typename Isa>
  [[gnu::always_inline]] static void columns(const Bits (&t)[4], Floats (&out)[4]) {
    for (int i = 0; i < 4; ++i) out[i] = as_float(t[i]);
  }
  template <typename Isa, int Part>
  [[gnu::always_inline]] static Floats packed(const std::uint8_t* p) {
    return load<Floats>(p);
  }
};
struct FloatBf16 {
  static constexpr BlockFields kFields = block_fields(2);
  static constexpr int kStep = 8, kParts = 2;
  static constexpr std::int64_t kPackedTokens = INT64_MAX;
  template <int Part>
  [[gnu::always_inline]] static Floats part(Bits words) {
    return as_float(Part == 0 ? words << 16 : words & 0xFFFF0000U);
  }
  template <typename Isa>
  [[gnu::always_inline]] static void columns(const Bits (&t)[4], Floats (&out)[8]) {
    for (int i = 0; i < 4; ++i) out[2 * i] = part<0>(t[i]), out[2 * i + 1] = part<1>(t[i]);
  }
  template <typename Isa, int Part>
  [[gnu::always_inline]] static Floats packed(const std::uint8_t* p) {
    return part<Part>(load<Bits>(p));
  }
};
struct FloatF16 {
  static constexpr BlockFields kFields = block_fields(1);
  static constexpr int kStep = 8, kParts = 1;
  static constexpr std::int64_t kPackedTokens = 96;  // measured, docs/benchmarks.md
  template <typename Isa>
  [[gnu::always_inline]] static void columns(const Bits (&t)[4], Floats (&out)[8]) {
    for (int i = 0; i < 4; ++i) {
      out[2 * i] = Isa::halves(__builtin_convertvector(t[i] & 0xFFFFU, Halves));
      out[2 * i + 1] = Isa::halves(__builtin_convertvector(t[i] >> 16, Halves));
    }
  }
  template <typename Isa, int Part>
  [[gnu::always_inline]] static Floats packed(const std::uint8_t* p) {
    return Isa::halves(load<Halves>(p));
  }
};

/// Bytes of a column of a row.
template <typename Element>
constexpr std::int64_t kColumnBytes = Element::kFields.bytes / Element::kFields.values;

// Element::kStep columns from `column` on, or as many as there are before `in`, then zeros.
template <typename Isa, typename Element, typename Rows>
[[gnu::always_inline]] inline void read_columns(const Rows& rows, std::int64_t column, std::int64_t in,
                                                Floats (&out)[Element::kStep]) {
  constexpr int kStep = Element::kStep, kParts = Element::kParts;
  if constexpr (Rows::kPacked) {
    const auto read = [&](auto i) __attribute__((always_inline)) {
      const std::uint8_t* p = rows.data + kLanes * kColumnBytes<Element> * (column + kParts * i);
      repeat<kParts>([&](auto part) __attribute__((always_inline)) {
        out[kParts * i + part] = Element::template packed<Isa, part>(p);
      });
    };
    if (column + kStep <= in) return repeat<kStep / kParts>(read);
    for (Floats& zeros : out) zeros = Floats{};
    repeat<kStep / kParts>([&](auto i) __attribute__((always_inline)) {
      if (column + kParts * i < in) read(i);
    });
  } else {
    Bits t[4];
    if (column + kStep <= in) {
      rows.four_words(column / Element::kFields.values, 0, t);
    } else {
      std::uint8_t copy[kLanes][16] = {};
      const std::uint8_t* copies[kLanes];
      for (std::int64_t r = 0; r < kLanes; ++r) {
        if (column < in)
          __builtin_memcpy(copy[r], rows.row[r] + column * kColumnBytes<Element>,
                           static_cast<std::size_t>((in - column) * kColumnBytes<Element>));
        copies[r] = copy[r];
      }
      Isa::transpose16(copies, 0, t);
    }
    Element::template columns<Isa>(t, out);
  }
}

// Runs runs of 64 columns side by side, so that their chains hide each other's latency; added to `total` in order.
// `x` holds as many columns, whatever `in` is; `next` is how many bytes on the mapped rows of the next tile lie, or of
// packed rows what is asked for, 0 for nothing.
template <typename Isa, typename Element, int Runs, typename Rows>
[[gnu::always_inline]] inline Floats add_runs(Floats total, const Rows& rows, std::int64_t column, std::int64_t in,
                                              std::int64_t next, const float* x) {
  constexpr int kStep = Element::kStep;
  Floats acc[Runs] = {};
  for (std::int64_t k = 0; k < kRunWords; k += kStep) {
    for (int run = 0; run < Runs; ++run) {
      const std::int64_t at = run * kRunWords + k;
      Floats w[kStep];
      read_columns<Isa, Element>(rows, column + at, in, w);
      for (int i = 0; i < kStep; ++i) acc[run] = Isa::multiply_add(w[i], splat(x[at + i]), acc[run]);
    }
    if constexpr (!Rows::kPacked) {
      for (int r = 0; r < kLanes; ++r)
        Isa::prefetch_far(rows.row[r] + next + (column + k * Runs) * kColumnBytes<Element>);
    } else if (next != 0) {
      static_assert(Runs == 1);
      constexpr std::int64_t kBytes = kLanes * kColumnBytes<Element>;
      prefetch_lines<Isa, static_cast<int>(kBytes * kStep / 64)>(rows.data + kBytes * (column + k) + next);
    }
  }
  for (const Floats& a : acc) total += a;
  return total;
}

template <typename Isa, typename Element, typename Rows>
[[gnu::noinline]] void one_token_float(const MatmulTile& tile) {
  // Memory likes packed weights best in the order of their bytes; mapped rows are streams of their own anyway.
  constexpr std::int64_t kRuns = Rows::kPacked ? 1 : 4, kTogether = kRuns * kRunWords;
  const std::int64_t next = Rows::kPacked ? tile.stream_ahead : kPanelRows * tile.weight_row_bytes;
  for (std::int64_t first = 0; first < tile.rows; first += kLanes) {
    const Rows rows(tile, first);
    Floats total{};
    std::int64_t k = 0;
    for (; k + kTogether <= tile.in; k += kTogether) {
      total = add_runs<Isa, Element, kRuns>(total, rows, k, tile.in, next, tile.x + k);
    }
    for (; k < tile.in; k += kRunWords) {
      const std::int64_t n = tile.in - k < kRunWords ? tile.in - k : kRunWords;
      // Zeros behind the last columns: a product of zeros changes no sum.
      alignas(kVectorBytes) float x[kRunWords] = {};
      __builtin_memcpy(x, tile.x + k, static_cast<std::size_t>(n) * 4);
      total = add_runs<Isa, Element, 1>(total, rows, k, tile.in, next, x);
    }
    store_rows(tile.out + first, total, tile.rows - first);
  }
}

/// How a panel of columns as f32 is multiplied (word_panel.h).
template <typename I, typename Element>
struct FloatProduct {
  using Isa = I;
  using Vector = Floats;
  static constexpr BlockFields kFields = Element::kFields;
  static constexpr int kColumns = 1, kStep = Element::kStep, kTokens = Isa::kFloatTokens, kParts = Element::kParts;

  template <typename Rows>
  [[gnu::always_inline]] static void read(const Rows& rows, std::int64_t column, std::int64_t in, Floats (&w)[kStep]) {
    read_columns<Isa, Element>(rows, column, in, w);
  }
  static const std::uint8_t* activations(const MatmulTile& tile) {
    return reinterpret_cast<const std::uint8_t*>(tile.x);
  }
  static std::int64_t stride(const MatmulTile& tile) { return 4 * tile.in; }
  static constexpr std::int64_t kPackedTokens = Element::kPackedTokens;
  template <int Part>
  [[gnu::always_inline]] static Floats packed(const std::uint8_t* p)
    requires(Isa::kMultipliesPacked || kColumnBytes<Element> == 4)
  {
    return Element::template packed<Isa, Part>(p);
  }
  [[gnu::always_inline]] static Floats operand(Bits x) { return as_float(x); }
  [[gnu::always_inline]] static Floats add(Floats acc, Floats w, Floats x) { return Isa::multiply_add(w, x, acc); }
  template <typename Rows>
  static void one_token(const MatmulTile& tile) {
    one_token_float<Isa, Element, Rows>(tile);
  }
};

template <typename Isa, typename Element>
void float_matmul_tile(const MatmulTile& tile) {
  product_tile<FloatProduct<Isa, Element>>(tile);
}

}  // namespace
}  // namespace carat::kernels
