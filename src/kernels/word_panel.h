// Tiles of 16- and 32-bit float weights times many tokens: a panel of weights is unpacked to 32-bit words, kPanelRows
// rows of one word together, unless packed rows lie like that already, and multiplied with a few tokens at a time in
// registers. One result is a sum over runs of kRunWords words, in order, each run one chain over its words: the same
// bits however many tokens there are.
// What is multiplied is a struct `Product` of float_matmul.h or bf16_matmul.h:
//   Isa, Vector                           its instruction set, kLanes words
//   kFields                               how the weights lie in the file
//   kColumns, kStep                       columns in a word, words read at a time
//   kTokens                               tokens multiplied at a time: as many as registers hold
//   read(rows, word, in, w)               kStep words of each row from `word` on, zeros behind column `in`
//   activations(tile), stride(tile)       the first token's first word; bytes between tokens
//   operand(x), add(acc, w, x)            a word of activations, in all lanes, as `add` takes it; the step of the chain
//   packed<I>(p)                          the I-th of the kParts words that begin at p in packed rows, for up to
//                                         kPackedTokens tokens; without it, and for more, a panel is unpacked
//   one_token<Rows>(tile)                 the product with a single token, without a panel
#pragma once

#include "kernels/abi.h"
#include "kernels/quantised_matmul.h"
#include "kernels/vector_rows.h"

namespace carat::kernels {
namespace {

constexpr std::int64_t kRunWords = 64;
/// A panel and the rows of activations of a pass over it share the second cache level (measured, docs/benchmarks.md),
/// as do packed rows that are read like one.
constexpr std::int64_t kPanelWords = 24576 / kPanelRows, kPackedPanelBytes = 128 << 10;
struct alignas(64) WordPanel {
  static constexpr int kParts = 1;  ///< words that are read at a time
  std::uint32_t w[kPanelWords][kPanelRows];

  // Word k of the rows of a vector.
  template <typename Product, int>
  [[gnu::always_inline]] typename Product::Vector at(std::int64_t k, int group) const {
    return load<typename Product::Vector>(w[k] + kLanes * group);
  }
};
/// Bytes of a row's word as it lies in memory.
template <typename Product>
constexpr std::int64_t kWordBytes = Product::kColumns * Product::kFields.bytes / Product::kFields.values;
/// Packed rows whose words are what is multiplied, or nearly: they are a panel already, from one of their words on.
template <int Parts>
struct PackedWords {
  static constexpr int kParts = Parts;
  const std::uint8_t* w[kGroups];

  // Word k + Part; k is a multiple of Parts.
  template <typename Product, int Part>
  [[gnu::always_inline]] typename Product::Vector at(std::int64_t k, int group) const {
    return Product::template packed<Part>(w[group] + kLanes * kWordBytes<Product> * k);
  }
};

template <typename Product, typename Rows>
[[gnu::noinline]] void fill(WordPanel& panel, const Rows* rows, std::int64_t first, std::int64_t words,
                            std::int64_t in) {
  static_assert(kPanelWords % Product::kStep == 0);
  for (int group = 0; group < kGroups; ++group) {
    for (std::int64_t k = 0; k < words; k += Product::kStep) {
      typename Product::Vector w[Product::kStep];
      Product::read(rows[group], first + k, in, w);
      for (std::int64_t i = 0; i < Product::kStep; ++i) store(&panel.w[k + i][kLanes * group], w[i]);
    }
  }
}

// Accumulators are indexed by constants alone: otherwise gcc keeps them in memory, and storing them takes twice as long
// as the products. What runs add up to stays in the first cache level until the panel's end: rows of `out` lie far
// apart.
template <typename Product, int Tokens, typename Panel>
[[gnu::noinline]] void multiply_words(const Panel& panel, const MatmulTile& tile, std::int64_t token,
                                      std::int64_t first, std::int64_t words, NextPanel& next) {
  using Vector = typename Product::Vector;
  // Four rows of activations from one pointer: with one each there are too few registers for them.
  constexpr int kPointers = (Tokens + 3) / 4;
  const std::uint8_t* x[kPointers];
  const std::int64_t stride = Product::stride(tile);
  alignas(kVectorBytes) float total[Tokens][kPanelRows];
  for (int p = 0; p < kPointers; ++p) x[p] = Product::activations(tile) + (token + 4 * p) * stride + 4 * first;
  for (int t = 0; t < Tokens; ++t) {
    const float* before = tile.out + (token + t) * tile.out_stride;
    for (int group = 0; group < kGroups; ++group) {
      store(total[t] + kLanes * group,
            first == 0 ? Floats{} : load_rows(before + kLanes * group, tile.rows - kLanes * group));
      Product::Isa::prefetch(reinterpret_cast<const std::uint8_t*>(before + kLanes * group));
    }
  }
  for (std::int64_t run = 0; run < words; run += kRunWords) {
    const std::int64_t end = run + kRunWords < words ? run + kRunWords : words;
    next.ask<typename Product::Isa>();
    Floats acc[Tokens][kGroups];
    repeat<Tokens>([&](auto t) __attribute__((always_inline)) {
      repeat<kGroups>([&](auto group) __attribute__((always_inline)) { acc[t][group] = Floats{}; });
    });
    for (std::int64_t k = run; k < end; k += Panel::kParts) {
      repeat<Panel::kParts>([&](auto part) __attribute__((always_inline)) {
        Vector w[kGroups];
        repeat<kGroups>([&](auto group)
                            __attribute__((always_inline)) { w[group] = panel.template at<Product, part>(k, group); });
        repeat<Tokens>([&](auto t) __attribute__((always_inline)) {
          const Vector v = Product::operand(word_at(x[t / 4] + t % 4 * stride + 4 * part));
          repeat<kGroups>([&](auto group) __attribute__((always_inline)) {
            acc[t][group] = Product::add(acc[t][group], w[group], v);
          });
        });
      });
      for (const std::uint8_t*& p : x) p += 4 * Panel::kParts;
    }
    repeat<Tokens>([&](auto t) __attribute__((always_inline)) {
      repeat<kGroups>([&](auto group) __attribute__((always_inline)) {
        float* sum = total[t] + kLanes * group;
        store(sum, load<Floats>(sum) + acc[t][group]);
      });
    });
  }
  for (int t = 0; t < Tokens; ++t) {
    float* out = tile.out + (token + t) * tile.out_stride;
    for (int group = 0; group < kGroups; ++group)
      store_rows(out + kLanes * group, load<Floats>(total[t] + kLanes * group), tile.rows - kLanes * group);
  }
}

// The last few tokens, at most Tokens.
template <typename Product, int Tokens, typename Panel>
[[gnu::always_inline]] inline void multiply_last_words(const Panel& panel, const MatmulTile& tile, std::int64_t token,
                                                       std::int64_t first, std::int64_t words, NextPanel& next) {
  if constexpr (Tokens > 0) {
    if (tile.tokens - token == Tokens) return multiply_words<Product, Tokens>(panel, tile, token, first, words, next);
    multiply_last_words<Product, Tokens - 1>(panel, tile, token, first, words, next);
  }
}

template <typename Product, typename Panel>
void multiply_panel(const Panel& panel, const MatmulTile& tile, std::int64_t first, std::int64_t words,
                    NextPanel next) {
  constexpr int kTokens = Product::kTokens;
  std::int64_t t = 0;
  for (; t + kTokens <= tile.tokens; t += kTokens) multiply_words<Product, kTokens>(panel, tile, t, first, words, next);
  multiply_last_words<Product, kTokens - 1>(panel, tile, t, first, words, next);
}

template <typename Product, typename Rows>
void product_tile_of(const MatmulTile& tile) {
  if (tile.tokens == 1) return Product::template one_token<Rows>(tile);
  Rows rows[kGroups];
  for (int group = 0; group < kGroups; ++group) rows[group] = Rows(tile, kLanes * group);
  const std::int64_t all = (tile.in + Product::kColumns - 1) / Product::kColumns;
  constexpr std::int64_t kWord = kWordBytes<Product>;
  constexpr int kTokens = Product::kTokens, kRows = Rows::kPacked ? static_cast<int>(kLanes) : 1,
                kParts = Product::kParts;
  constexpr bool kReadable = Rows::kPacked && requires(const std::uint8_t* p) { Product::template packed<0>(p); };
  const bool as_packed = kReadable && all % kParts == 0 && tile.tokens <= Product::kPackedTokens;
  // Whole runs, and equally many of them in all passes.
  static_assert(kPanelWords % kRunWords == 0 && kPackedPanelBytes % (kPanelRows * kWord * kRunWords) == 0);
  const std::int64_t most = as_packed ? kPackedPanelBytes / (kPanelRows * kWord) : kPanelWords;
  const std::int64_t passes = (all + most - 1) / most,
                     each = (all + passes * kRunWords - 1) / (passes * kRunWords) * kRunWords;
  for (std::int64_t first = 0; first < all; first += each) {
    const std::int64_t words = all - first < each ? all - first : each;
    const bool last = first + words >= all;
    const std::int64_t asks = (words + kRunWords - 1) / kRunWords * ((tile.tokens + kTokens - 1) / kTokens);
    const NextPanel next(tile.weights + (last ? kPanelRows * tile.weight_row_bytes : kRows * kWord * (first + words)),
                         kRows * tile.weight_row_bytes, static_cast<int>(kPanelRows / kRows), kRows * kWord * words,
                         asks);
    if constexpr (kReadable) {
      if (as_packed) {
        PackedWords<kParts> panel;
        for (int group = 0; group < kGroups; ++group) panel.w[group] = rows[group].data + kLanes * kWord * first;
        multiply_panel<Product>(panel, tile, first, words, next);
        continue;
      }
    }
    WordPanel panel;
    fill<Product>(panel, rows, first, words, tile.in);
    multiply_panel<Product>(panel, tile, first, words, next);
  }
}

template <typename Product>
void product_tile(const MatmulTile& tile) {
  using Isa = typename Product::Isa;
  if (tile.packed) return product_tile_of<Product, PackedRows<Isa, Product::kFields>>(tile);
  product_tile_of<Product, MappedRows<Isa, Product::kFields>>(tile);
}

}  // namespace
}  // namespace carat::kernels
