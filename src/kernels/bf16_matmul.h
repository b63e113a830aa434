// Tiles of bf16 weights times activations rounded to bf16, for instruction sets that multiply pairs of them. One result
// is a sum over runs of kRunWords pairs of columns, in order, each run one chain over its pairs:
//   acc = x[2p] * w[2p] + (x[2p + 1] * w[2p + 1] + acc), every sum rounded once
// which is what AVX-512's instruction does: the same bits for one token and for many, and from plain multiply-adds (but
// for denormal numbers, which the instruction takes for zero). From an instruction set's `Isa` (quantised_matmul.h) it
// takes transpose16, prefetch, prefetch_far, and
//   to_bf16(v)                            to nearest, ties to even
//   add_pairs(acc, w, x)                  the step above, for kLanes rows
//   kPairTokens                           tokens multiplied at a time with a panel: as many as registers hold
#pragma once

#include "kernels/abi.h"
#include "kernels/quantised_matmul.h"
#include "kernels/vector_rows.h"
#include "kernels/word_panel.h"

namespace carat::kernels {
namespace {

/// Pairs of columns in sixteen bytes of a row, which are read at a time.
constexpr std::int64_t kStepPairs = 4;
constexpr BlockFields kPairFields = block_fields(2);

// kStepPairs pairs of each row from `pair` on, zeros behind the last column.
template <typename Isa, typename Rows>
[[gnu::always_inline]] inline void read_pairs(const Rows& rows, std::int64_t pair, std::int64_t in,
                                              Bits (&t)[kStepPairs]) {
  if (2 * (pair + kStepPairs) <= in) {
    rows.four_words(pair, 0, t);
  } else if constexpr (Rows::kPacked) {
    for (int i = 0; i < kStepPairs; ++i) t[i] = 2 * (pair + i) < in ? rows.word(pair + i, 0) : Bits{};
  } else {
    std::uint8_t copy[kLanes][16] = {};
    const std::uint8_t* copies[kLanes];
    for (std::int64_t r = 0; r < kLanes; ++r) {
      if (2 * pair < in) __builtin_memcpy(copy[r], rows.row[r] + 4 * pair, static_cast<std::size_t>(2 * in - 4 * pair));
      copies[r] = copy[r];
    }
    Isa::transpose16(copies, 0, t);
  }
}

template <typename Isa, typename Rows>
[[gnu::noinline]] void one_token_pairs(const MatmulTile& tile) {
  const std::int64_t pairs = (tile.in + 1) / 2;
  for (std::int64_t first = 0; first < tile.rows; first += kLanes) {
    const Rows rows(tile, first);
    Floats total{};
    for (std::int64_t run = 0; run < pairs; run += kRunWords) {
      const std::int64_t end = run + kRunWords < pairs ? run + kRunWords : pairs;
      Floats acc{};
      for (std::int64_t p = run; p < end; p += kStepPairs) {
        if constexpr (!Rows::kPacked) {
          for (std::int64_t r = 0; r < kLanes; ++r)
            Isa::prefetch_far(rows.row[r] + kPanelRows * tile.weight_row_bytes + 4 * p);
        } else if (tile.stream_ahead != 0) {
          prefetch_lines<Isa, kStepPairs * kVectorBytes / 64>(rows.data + kVectorBytes * p + tile.stream_ahead);
        }
        Bits w[kStepPairs];
        read_pairs<Isa>(rows, p, tile.in, w);
        for (int i = 0; i < kStepPairs; ++i) acc = Isa::add_pairs(acc, w[i], word_at(tile.rounded + 2 * (p + i)));
      }
      total += acc;
    }
    store_rows(tile.out + first, total, tile.rows - first);
  }
}

/// How a panel of pairs is multiplied (word_panel.h).
template <typename I>
struct PairProduct {
  using Isa = I;
  using Vector = Bits;
  static constexpr BlockFields kFields = kPairFields;
  static constexpr int kColumns = 2, kStep = kStepPairs, kTokens = Isa::kPairTokens, kParts = 1;

  template <typename Rows>
  [[gnu::always_inline]] static void read(const Rows& rows, std::int64_t pair, std::int64_t in, Bits (&w)[kStep]) {
    read_pairs<Isa>(rows, pair, in, w);
  }
  static const std::uint8_t* activations(const MatmulTile& tile) {
    return reinterpret_cast<const std::uint8_t*>(tile.rounded);
  }
  static std::int64_t stride(const MatmulTile& tile) { return 2 * tile.rounded_stride; }
  static constexpr std::int64_t kPackedTokens = INT64_MAX;
  template <int Part>
  [[gnu::always_inline]] static Bits packed(const std::uint8_t* p) {
    return load<Bits>(p);
  }
  [[gnu::always_inline]] static Bits operand(Bits pair) { return pair; }
  [[gnu::always_inline]] static Floats add(Floats acc, Bits w, Bits x) { return Isa::add_pairs(acc, w, x); }
  template <typename Rows>
  static void one_token(const MatmulTile& tile) {
    one_token_pairs<Isa, Rows>(tile);
  }
};

template <typename Isa>
void round_row(const float* x, std::int64_t in, std::int64_t padded, std::uint16_t* out) {
  for (std::int64_t i = 0; i < padded; i += kLanes)
    store(out + i, i < in ? Isa::to_bf16(load_rows(x + i, in - i)) : Halves{});
}

template <typename Isa>
constexpr void add_bf16_products(KernelTable& table) {
  table.round_row = round_row<Isa>;
  table.matmul[2] = product_tile<PairProduct<Isa>>;
  table.takes[2] = Activations::bf16;
}

}  // namespace
}  // namespace carat::kernels
