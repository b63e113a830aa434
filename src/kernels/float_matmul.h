// Tiles of 16- and 32-bit float weights times f32 activations. One result is a sum over runs of 64 columns, in order,
// each run one chain of fused multiply-adds in order of columns: the same bits for one token and for many.
// From an instruction set's `Isa` (quantised_matmul.h) it takes transpose16, halves, multiply_add and prefetch, and
//   kFloatTokens                          tokens multiplied at a time with a panel: as many as registers hold
#pragma once

#include "kernels/abi.h"
#include "kernels/quantised_matmul.h"
#include "kernels/vector_rows.h"

namespace carat::kernels {
namespace {

constexpr std::int64_t kRunColumns = 64;

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
  template <typename Isa>
  [[gnu::always_inline]] static void columns(const Bits (&t)[4], Floats (&out)[8]) {
    for (int i = 0; i < 4; ++i) {
      out[2 * i] = as_float(t[i] << 16);
      out[2 * i + 1] = as_float(t[i] & 0xFFFF0000U);
    }
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
// `x` holds as many columns, whatever `in` is.
template <typename Isa, typename Element, int Runs, typename Rows>
[[gnu::always_inline]] inline Floats add_runs(Floats total, const Rows& rows, std::int64_t column, std::int64_t in,
                                              const std::uint8_t* next, const float* x) {
  constexpr int kStep = kStepColumns<Element>;
  Floats acc[Runs] = {};
  for (std::int64_t k = 0; k < kRunColumns; k += kStep) {
    for (int run = 0; run < Runs; ++run) {
      const std::int64_t at = run * kRunColumns + k;
      Floats w[kStep];
      read_columns<Isa, Element>(rows, column + at, in, w);
      for (int i = 0; i < kStep; ++i) acc[run] = Isa::multiply_add(w[i], splat(x[at + i]), acc[run]);
      if constexpr (Rows::kPacked)
        prefetch_lines<Isa, (4 * kVectorBytes + 63) / 64>(next +
                                                          (column + at) / Element::kFields.values * kVectorBytes);
    }
    if constexpr (!Rows::kPacked) {
      for (int r = 0; r < kLanes; ++r)
        Isa::prefetch_far(rows.row[r] + (next - rows.row[0]) + (column + k * Runs) * 4 / Element::kFields.values);
    }
  }
  for (const Floats& a : acc) total += a;
  return total;
}

template <typename Isa, typename Element, typename Rows>
[[gnu::noinline]] void one_token_float(const MatmulTile& tile) {
  // Memory likes packed weights best in the order of their bytes; mapped rows are streams of their own anyway.
  constexpr std::int64_t kRuns = Rows::kPacked ? 1 : 4, kTogether = kRuns * kRunColumns;
  for (std::int64_t first = 0; first < tile.rows; first += kLanes) {
    const Rows rows(tile, first);
    const std::uint8_t* next = tile.weights + first * tile.weight_row_bytes +
                               (Rows::kPacked ? Isa::kAhead : kPanelRows * tile.weight_row_bytes);
    Floats total{};
    std::int64_t k = 0;
    for (; k + kTogether <= tile.in; k += kTogether) {
      total = add_runs<Isa, Element, kRuns>(total, rows, k, tile.in, next, tile.x + k);
    }
    for (; k < tile.in; k += kRunColumns) {
      const std::int64_t n = tile.in - k < kRunColumns ? tile.in - k : kRunColumns;
      // Zeros behind the last columns: a product of zeros changes no sum.
      alignas(kVectorBytes) float x[kRunColumns] = {};
      __builtin_memcpy(x, tile.x + k, static_cast<std::size_t>(n) * 4);
      total = add_runs<Isa, Element, 1>(total, rows, k, tile.in, next, x);
    }
    store_rows(tile.out + first, total, tile.rows - first);
  }
}

/// kPanelRows rows' columns as f32, the rows of one column together.
constexpr std::int64_t kFloatColumns = 4096 / kPanelRows;
struct alignas(64) FloatPanel {
  float w[kFloatColumns][kPanelRows];
};

template <typename Isa, typename Element, typename Rows>
[[gnu::noinline]] void fill(FloatPanel& panel, const Rows* rows, std::int64_t begin, std::int64_t columns) {
  constexpr std::int64_t kStep = kStepColumns<Element>;
  for (int group = 0; group < kGroups; ++group) {
    for (std::int64_t k = 0; k < columns; k += kStep) {
      Floats w[kStep];
      read_columns<Isa, Element>(rows[group], begin + k, begin + columns, w);
      for (std::int64_t i = 0; i < kStep && k + i < kFloatColumns; ++i) store(&panel.w[k + i][kLanes * group], w[i]);
    }
  }
}

// Accumulators are indexed by constants alone: otherwise gcc keeps them in memory, and storing them takes twice as long
// as the products.
template <typename Isa, int Tokens>
[[gnu::noinline]] void multiply(const FloatPanel& panel, const MatmulTile& tile, std::int64_t token, std::int64_t begin,
                                std::int64_t columns, NextPanel& next) {
  const float* x[Tokens];
  float* out[Tokens];
  for (int t = 0; t < Tokens; ++t) {
    x[t] = tile.x + (token + t) * tile.in + begin;
    out[t] = tile.out + (token + t) * tile.out_stride;
  }
  for (std::int64_t run = 0; run < columns; run += kRunColumns) {
    const std::int64_t end = run + kRunColumns < columns ? run + kRunColumns : columns;
    next.ask<Isa>();
    Floats acc[Tokens][kGroups];
    repeat<Tokens>([&](auto t) __attribute__((always_inline)) {
      repeat<kGroups>([&](auto group) __attribute__((always_inline)) { acc[t][group] = Floats{}; });
    });
    for (std::int64_t k = run; k < end; ++k) {
      Floats w[kGroups];
      repeat<kGroups>([&](auto group)
                          __attribute__((always_inline)) { w[group] = load<Floats>(panel.w[k] + kLanes * group); });
      repeat<Tokens>([&](auto t) __attribute__((always_inline)) {
        const Floats v = splat(x[t][k]);
        repeat<kGroups>([&](auto group) __attribute__((always_inline)) {
          acc[t][group] = Isa::multiply_add(w[group], v, acc[t][group]);
        });
      });
    }
    repeat<Tokens>([&](auto t) __attribute__((always_inline)) {
      repeat<kGroups>([&](auto group) __attribute__((always_inline)) {
        const std::int64_t rows = tile.rows - kLanes * group;
        const Floats before = begin + run == 0 ? Floats{} : load_rows(out[t] + kLanes * group, rows);
        store_rows(out[t] + kLanes * group, before + acc[t][group], rows);
      });
    });
  }
}

// The last few tokens, at most Tokens.
template <typename Isa, int Tokens>
[[gnu::always_inline]] inline void multiply_rest(const FloatPanel& panel, const MatmulTile& tile, std::int64_t token,
                                                 std::int64_t begin, std::int64_t columns, NextPanel& next) {
  if constexpr (Tokens > 0) {
    if (tile.tokens - token == Tokens) return multiply<Isa, Tokens>(panel, tile, token, begin, columns, next);
    multiply_rest<Isa, Tokens - 1>(panel, tile, token, begin, columns, next);
  }
}

template <typename Isa, typename Element, typename Rows>
void float_tile_of(const MatmulTile& tile) {
  if (tile.tokens == 1) return one_token_float<Isa, Element, Rows>(tile);
  Rows rows[kGroups];
  for (int group = 0; group < kGroups; ++group) rows[group] = Rows(tile, kLanes * group);
  FloatPanel panel;
  for (std::int64_t begin = 0; begin < tile.in; begin += kFloatColumns) {
    const std::int64_t columns = tile.in - begin < kFloatColumns ? tile.in - begin : kFloatColumns;
    fill<Isa, Element>(panel, rows, begin, columns);
    constexpr int kTokens = Isa::kFloatTokens, kRows = Rows::kPacked ? static_cast<int>(kLanes) : 1;
    constexpr std::int64_t kWord = 4, kValues = Element::kFields.values;
    const bool last = begin + columns >= tile.in;
    NextPanel next{
        tile.weights + (last ? kPanelRows * tile.weight_row_bytes : kRows * kWord * (begin + columns) / kValues),
        kRows * tile.weight_row_bytes, kRows * kWord * columns / kValues, static_cast<int>(kPanelRows / kRows), 0};
    const std::int64_t asks = (columns + kRunColumns - 1) / kRunColumns * ((tile.tokens + kTokens - 1) / kTokens);
    next.lines = static_cast<int>((next.runs * ((next.bytes + 63) / 64) + asks - 1) / asks);
    std::int64_t t = 0;
    for (; t + kTokens <= tile.tokens; t += kTokens) multiply<Isa, kTokens>(panel, tile, t, begin, columns, next);
    multiply_rest<Isa, kTokens - 1>(panel, tile, t, begin, columns, next);
  }
}
template <typename Isa, typename Element>
void float_matmul_tile(const MatmulTile& tile) {
  if (tile.packed) return float_tile_of<Isa, Element, PackedRows<Isa, Element::kFields>>(tile);
  float_tile_of<Isa, Element, MappedRows<Isa, Element::kFields>>(tile);
}

}  // namespace
}  // namespace carat::kernels
