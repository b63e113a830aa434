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

// How sixteen bytes of each of kLanes rows become vectors of one column each (lane r is row r).
struct FloatF32 {
  static constexpr BlockFields kFields = block_fields(0);
  template <typename Isa>
  [[gnu::always_inline]] static void columns(const Bits (&t)[4], Floats (&out)[4]) {
    for (int i = 0; i < 4; ++i) out[i] = as_float(t[i]);
  }
};
struct FloatBf16 {
  static constexpr BlockFields kFields = block_fields(2);
  template <int Part>
  [[gnu::always_inline]] static Floats part(Bits words) {
    return as_float(Part == 0 ? words << 16 : words & 0xFFFF0000U);
  }
  template <typename Isa>
  [[gnu::always_inline]] static void columns(const Bits (&t)[4], Floats (&out)[8]) {
    for (int i = 0; i < 4; ++i) out[2 * i] = part<0>(t[i]), out[2 * i + 1] = part<1>(t[i]);
  }
};
struct FloatF16 {
  static constexpr BlockFields kFields = block_fields(1);
  template <typename Isa>
  [[gnu::always_inline]] static void columns(const Bits (&t)[4], Floats (&out)[8]) {
    for (int i = 0; i < 4; ++i) {
      out[2 * i] = Isa::halves(__builtin_convertvector(t[i] & 0xFFFFU, Halves));
      out[2 * i + 1] = Isa::halves(__builtin_convertvector(t[i] >> 16, Halves));
    }
  }
};

/// Columns in sixteen bytes of a row, which are read at a time.
template <typename Element>
constexpr int kStepColumns = 4 * Element::kFields.values;

// kStepColumns columns from `column` on, or as many as there are before `in`, then zeros.
template <typename Isa, typename Element, typename Rows>
[[gnu::always_inline]] inline void read_columns(const Rows& rows, std::int64_t column, std::int64_t in,
                                                Floats (&out)[kStepColumns<Element>]) {
  constexpr int kValues = Element::kFields.values;
  Bits t[4];
  if (column + kStepColumns<Element> <= in) {
    rows.four_words(column / kValues, 0, t);
  } else if (column >= in) {
    for (Bits& words : t) words = Bits{};
  } else if constexpr (Rows::kPacked) {
    for (int i = 0; i < 4; ++i) t[i] = column + i * kValues < in ? rows.word(column / kValues + i, 0) : Bits{};
  } else {
    std::uint8_t copy[kLanes][16] = {};
    const std::uint8_t* copies[kLanes];
    for (int r = 0; r < kLanes; ++r) {
      __builtin_memcpy(copy[r], rows.row[r] + column * (4 / kValues),
                       static_cast<std::size_t>((in - column) * (4 / kValues)));
      copies[r] = copy[r];
    }
    Isa::transpose16(copies, 0, t);
  }
  Element::template columns<Isa>(t, out);
}

// Runs runs of 64 columns side by side, so that their chains hide each other's latency; added to `total` in order.
// `x` holds as many columns, whatever `in` is; `next` is how many bytes on the mapped rows of the next tile lie, or of
// packed rows what is asked for, 0 for nothing.
template <typename Isa, typename Element, int Runs, typename Rows>
[[gnu::always_inline]] inline Floats add_runs(Floats total, const Rows& rows, std::int64_t column, std::int64_t in,
                                              std::int64_t next, const float* x) {
  constexpr int kStep = kStepColumns<Element>;
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
        Isa::prefetch_far(rows.row[r] + next + (column + k * Runs) * 4 / Element::kFields.values);
    } else if (next != 0) {
      static_assert(Runs == 1);
      constexpr std::int64_t kBytes = kVectorBytes / Element::kFields.values;  // of a column
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
  static constexpr int kColumns = 1, kStep = kStepColumns<Element>, kTokens = Isa::kFloatTokens;

  template <typename Rows>
  [[gnu::always_inline]] static void read(const Rows& rows, std::int64_t column, std::int64_t in, Floats (&w)[kStep]) {
    read_columns<Isa, Element>(rows, column, in, w);
  }
  static const std::uint8_t* activations(const MatmulTile& tile) {
    return reinterpret_cast<const std::uint8_t*>(tile.x);
  }
  static std::int64_t stride(const MatmulTile& tile) { return 4 * tile.in; }
  template <int Part>
  [[gnu::always_inline]] static Floats part(Bits words)
    requires(Isa::kMultipliesPacked) && requires { Element::template part<Part>(words); }
  {
    return Element::template part<Part>(words);
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
