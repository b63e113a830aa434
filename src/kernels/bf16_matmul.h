// Tiles of bf16 weights times activations rounded to bf16, for instruction sets that multiply pairs of them. One result
// is a sum over runs of kRunPairs pairs of columns, in order, each run one chain over its pairs:
//   acc = x[2p] * w[2p] + (x[2p + 1] * w[2p + 1] + acc), every sum rounded once
// which is what AVX-512's instruction does: the same bits for one token and for many, and from plain multiply-adds (but
// for denormal numbers, which the instruction takes for zero). From an instruction set's `Isa` (quantised_matmul.h) it
// takes transpose16, prefetch, prefetch_far, kAhead, and
//   add_pairs(acc, w, x)                  the step above, for kLanes rows
//   kPairTokens                           tokens multiplied at a time with a panel: as many as registers hold
#pragma once

#include "kernels/abi.h"
#include "kernels/quantised_matmul.h"
#include "kernels/vector_rows.h"

namespace carat::kernels {
namespace {

constexpr std::int64_t kRunPairs = 64;
/// Pairs of columns in sixteen bytes of a row, which are read at a time.
constexpr std::int64_t kStepPairs = 4;
inline constexpr BlockFields kPairFields = block_fields(2);

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
[[gnu::always_inline]] inline Bits pair_of(const std::uint16_t* x, std::int64_t pair) {
  std::uint32_t v;
  __builtin_memcpy(&v, x + 2 * pair, 4);
  return v - Bits{};
}

template <typename Isa, typename Rows>
[[gnu::noinline]] void one_token_pairs(const MatmulTile& tile) {
  const std::int64_t pairs = (tile.in + 1) / 2;
  for (std::int64_t first = 0; first < tile.rows; first += kLanes) {
    const Rows rows(tile, first);
    const std::uint8_t* next = tile.weights + first * tile.weight_row_bytes + Isa::kAhead;
    Floats total{};
    for (std::int64_t run = 0; run < pairs; run += kRunPairs) {
      const std::int64_t end = run + kRunPairs < pairs ? run + kRunPairs : pairs;
      Floats acc{};
      for (std::int64_t p = run; p < end; p += kStepPairs) {
        if constexpr (Rows::kPacked) {
          prefetch_lines<Isa, (4 * kVectorBytes + 63) / 64>(next + p * kVectorBytes);
        } else {
          for (std::int64_t r = 0; r < kLanes; ++r)
            Isa::prefetch_far(rows.row[r] + kPanelRows * tile.weight_row_bytes + 4 * p);
        }
        Bits w[kStepPairs];
        read_pairs<Isa>(rows, p, tile.in, w);
        for (int i = 0; i < kStepPairs; ++i) acc = Isa::add_pairs(acc, w[i], pair_of(tile.rounded, p + i));
      }
      total += acc;
    }
    store_rows(tile.out + first, total, tile.rows - first);
  }
}

/// kPanelRows rows' pairs of columns, those of one pair together.
constexpr std::int64_t kPanelPairs = 4096 / kPanelRows;
struct alignas(64) PairPanel {
  std::uint32_t w[kPanelPairs][kPanelRows];
};

template <typename Isa, typename Rows>
[[gnu::noinline]] void fill_pairs(PairPanel& panel, const Rows* rows, std::int64_t begin, std::int64_t pairs,
                                  std::int64_t in) {
  for (int group = 0; group < kGroups; ++group) {
    for (std::int64_t p = 0; p < pairs; p += kStepPairs) {
      Bits w[kStepPairs];
      read_pairs<Isa>(rows[group], begin + p, in, w);
      for (std::int64_t i = 0; i < kStepPairs; ++i) store(&panel.w[p + i][kLanes * group], w[i]);
    }
  }
}

template <typename Isa, int Tokens>
[[gnu::noinline]] void multiply_pairs(const PairPanel& panel, const MatmulTile& tile, std::int64_t token,
                                      std::int64_t begin, std::int64_t pairs, NextPanel& next) {
  const std::uint16_t* x[Tokens];
  float* out[Tokens];
  for (int t = 0; t < Tokens; ++t) {
    x[t] = tile.rounded + (token + t) * tile.rounded_stride + 2 * begin;
    out[t] = tile.out + (token + t) * tile.out_stride;
  }
  for (std::int64_t run = 0; run < pairs; run += kRunPairs) {
    const std::int64_t end = run + kRunPairs < pairs ? run + kRunPairs : pairs;
    next.ask<Isa>();
    Floats acc[Tokens][kGroups];
    repeat<Tokens>([&](auto t) __attribute__((always_inline)) {
      repeat<kGroups>([&](auto group) __attribute__((always_inline)) { acc[t][group] = Floats{}; });
    });
    for (std::int64_t p = run; p < end; ++p) {
      Bits w[kGroups];
      repeat<kGroups>([&](auto group)
                          __attribute__((always_inline)) { w[group] = load<Bits>(panel.w[p] + kLanes * group); });
      repeat<Tokens>([&](auto t) __attribute__((always_inline)) {
        const Bits v = pair_of(x[t], p);
        repeat<kGroups>([&](auto group) __attribute__((always_inline)) {
          acc[t][group] = Isa::add_pairs(acc[t][group], w[group], v);
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
[[gnu::always_inline]] inline void multiply_pairs_rest(const PairPanel& panel, const MatmulTile& tile,
                                                       std::int64_t token, std::int64_t begin, std::int64_t pairs,
                                                       NextPanel& next) {
  if constexpr (Tokens > 0) {
    if (tile.tokens - token == Tokens) return multiply_pairs<Isa, Tokens>(panel, tile, token, begin, pairs, next);
    multiply_pairs_rest<Isa, Tokens - 1>(panel, tile, token, begin, pairs, next);
  }
}

template <typename Isa, typename Rows>
void pair_tile_of(const MatmulTile& tile) {
  if (tile.tokens == 1) return one_token_pairs<Isa, Rows>(tile);
  Rows rows[kGroups];
  for (int group = 0; group < kGroups; ++group) rows[group] = Rows(tile, kLanes * group);
  PairPanel panel;
  const std::int64_t all = (tile.in + 1) / 2;
  for (std::int64_t begin = 0; begin < all; begin += kPanelPairs) {
    const std::int64_t pairs = all - begin < kPanelPairs ? all - begin : kPanelPairs;
    fill_pairs<Isa>(panel, rows, begin, pairs, tile.in);
    constexpr int kTokens = Isa::kPairTokens, kRows = Rows::kPacked ? static_cast<int>(kLanes) : 1;
    constexpr std::int64_t kWord = 4;
    const bool last = begin + pairs >= all;
    NextPanel next{tile.weights + (last ? kPanelRows * tile.weight_row_bytes : kRows * kWord * (begin + pairs)),
                   kRows * tile.weight_row_bytes, kRows * kWord * pairs, static_cast<int>(kPanelRows / kRows), 0};
    const std::int64_t asks = (pairs + kRunPairs - 1) / kRunPairs * ((tile.tokens + kTokens - 1) / kTokens);
    next.lines = static_cast<int>((next.runs * ((next.bytes + 63) / 64) + asks - 1) / asks);
    std::int64_t t = 0;
    for (; t + kTokens <= tile.tokens; t += kTokens) multiply_pairs<Isa, kTokens>(panel, tile, t, begin, pairs, next);
    multiply_pairs_rest<Isa, kTokens - 1>(panel, tile, t, begin, pairs, next);
  }
}

template <typename Isa>
void bf16_matmul_tile(const MatmulTile& tile) {
  if (tile.packed) return pair_tile_of<Isa, PackedRows<Isa, kPairFields>>(tile);
  pair_tile_of<Isa, MappedRows<Isa, kPairFields>>(tile);
}

template <typename Isa>
constexpr void add_bf16_products(KernelTable& table) {
  table.matmul[2] = bf16_matmul_tile<Isa>;
  table.takes[2] = Activations::bf16;
}

}  // namespace
}  // namespace carat::kernels
