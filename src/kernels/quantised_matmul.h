// Tiles of quantised weights times 8-bit activations, for every instruction set that multiplies small integers.
// Whatever the number of tokens, one result is one chain of fused multiply-adds:
//   for every sub-block in order: acc = integer sum * (scale of weights * scale of activations) + acc
// where the integer sum is exact. So a row of activations gives the same bits alone, in any batch and on any of these
// instruction sets.
//
// What an instruction set adds is a struct `Isa` of static functions over the vectors of vector_rows.h:
//   kTokens                               tokens multiplied at a time with a panel
//   kMultipliesPacked                     whether formats with a step() are multiplied as packed, without a panel
//   kFewTokens                            up to how many the others are, in the registers of packed weights
//   transpose16(rows, at, t)              sixteen bytes of each row: lane r of t[i] holds bytes 4i … 4i + 3 of row r
//   halves(h)                             kLanes half-precision numbers as floats
//   fifth_bits<Shift>(words)              bits Shift … Shift + 3 of each lane as bytes: 16 where set
//   look_up(book, codes)                  bytes below 16 replaced by those of a table
//   multiply_add(a, b, c)                 a * b + c, rounded once; multiply_subtract: c - a * b
//   operand<Kind>(w)                      weights as the dot product takes them, and zero<Kind>: what that added
//   add_products<Kind>(sum, w0 … w3, x)   sums of four products per lane: sixteen operands of each row, sixteen x
//   sub_block<Format, Tokens>(…)          adds the products of one sub-block of a panel to `sum`
//   prefetch(p), prefetch_far(p)          ask for bytes that are needed soon, and for those of a stream
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/abi.h"
#include "kernels/quantised_formats.h"
#include "kernels/vector_rows.h"

namespace carat::kernels {
namespace {

/// Columns unpacked at a time. A multiple of every unit; the panel of a tile stays in the first cache level.
constexpr std::int64_t kColumns = 16384 / kPanelRows;
/// Columns at a time for one token: few, so that what is not there yet when their scales are read is soon waited for.
constexpr std::int64_t kTokenColumns = 512;
/// How many bytes before they are read a few tokens' weights are asked for: about two such chunks of 4-bit weights, as
/// the scales of a whole chunk are read first (measured, docs/benchmarks.md).
constexpr std::int64_t kFewTokensAhead = 9216;
/// Vectors that hold the rows of a tile.
constexpr int kGroups = static_cast<int>(kPanelRows / kLanes);

template <typename Format>
constexpr int kSubsPerUnit = Format::kUnit / Format::kSub;
/// Bytes of a unit of a vector of packed rows, and the cache lines that takes.
template <typename Format>
constexpr std::int64_t kUnitBytes = kLanes * Format::kFields.bytes * Format::kUnit / Format::kFields.values;
template <typename Format>
constexpr int kUnitLines = static_cast<int>((kUnitBytes<Format> + 63) / 64);

// gcc moves the additions of a chain to its end and keeps every product until then, on the stack. A value that
// something unknown has touched must be there: each product is added as it comes.
template <typename V>
[[gnu::always_inline]] inline void add_now(V& sum) {
#if defined(CARAT_WIDE_VECTORS)
  static_cast<void>(sum);
#elif defined(__AVX512F__)
  __asm__("" : "+v"(sum));  // any of the 32 registers
#elif defined(__x86_64__)
  __asm__("" : "+x"(sum));
#elif defined(__aarch64__)
  __asm__("" : "+w"(sum));
#else
  static_cast<void>(sum);
#endif
}

/// What one token's activations of a sub-block add around the integer sum.
struct SubActivations {
  const float *scale, *sum;
  const float* total;  ///< the sum of the integers, for weights that are not around 0
};
template <typename Format>
[[gnu::always_inline]] inline SubActivations sub_activations(const QuantisedRows& x, std::int64_t at) {
  return {x.scale + (at >> 5), x.sum + (at >> 5), Format::kSub == 32 ? x.total + (at >> 5) : x.half_total + (at >> 4)};
}
template <typename Format, typename Isa>
constexpr int kZeroOf = (Format::kZeroLog >= 0 ? 1 << Format::kZeroLog : 0) + Isa::template zero<Format::kIntegers>;
template <typename Isa, typename Format, int Zero>
[[gnu::always_inline]] inline Floats join(Floats acc, Ints sum, Floats scale, Floats offset, const SubActivations& x) {
  Floats value = __builtin_convertvector(sum, Floats);
  // Whole numbers below 2^24: exact.
  if constexpr (Zero != 0) value = Isa::multiply_subtract(splat(*x.total), splat(static_cast<float>(Zero)), value);
  acc = Isa::multiply_add(value, scale * splat(*x.scale), acc);
  if constexpr (Format::kOffset) acc = Isa::multiply_subtract(offset, splat(*x.sum), acc);
  return acc;
}

// What the sums of one token's sub-blocks start from: the weights' zero times what it is multiplied with, for all lanes
// the same. (Rows of activations are padded: whole vectors of their totals are there.)
template <int Zero>
[[gnu::always_inline]] inline void starts(const SubActivations& x, std::int64_t subs, std::int32_t* out) {
  for (std::int64_t j = 0; j < subs; j += kLanes)
    store(out + j, __builtin_convertvector(load<Floats>(x.total + j) * static_cast<float>(-Zero), Ints));
}

// Asks for bytes in their order: memory likes that best. Past the end of a mapping the request is ignored.
template <typename Isa, int Lines>
[[gnu::always_inline]] inline void prefetch_lines(const std::uint8_t* p) {
  repeat<Lines>([&](auto line) __attribute__((always_inline)) { Isa::prefetch_far(p + 64 * line); });
}

// From the weights' bytes to the product in registers. Mapped rows are worked through side by side, while the same
// share of the next tile is asked for; their scales are read in a pass of their own, whose loads depend on nothing, so
// that lines the prefetch did not bring (it is dropped where too many are under way) are fetched side by side. Packed
// rows are one run of bytes, read in their order. Some processors see by themselves what comes next, and requests some
// KB ahead only get in their way; others have to be asked (KernelTable::stream_ahead). Not inlined, here and below: in
// one large function the registers would not do.
template <typename Isa, typename Format, typename Rows>
[[gnu::noinline]] void one_token(const MatmulTile& tile) {
  constexpr std::int64_t kAtATime = Rows::kPacked ? Format::kFields.values : kTokenColumns;
  for (std::int64_t first = 0; first < tile.rows; first += kLanes) {
    const Rows rows(tile, first);
    const std::uint8_t* next = tile.weights + (first + kPanelRows) * tile.weight_row_bytes;
    constexpr std::int64_t kSubs = kAtATime / Format::kSub;
    alignas(kVectorBytes) float scale[kSubs * kLanes], offset[(Format::kOffset ? kSubs : 1) * kLanes];
    Floats acc{};
    for (std::int64_t begin = 0; begin < tile.in; begin += kAtATime) {
      const std::int64_t left = tile.in - begin;
      const std::int64_t units = (Rows::kPacked || left >= kAtATime ? kAtATime : left) / Format::kUnit;
      Format::template scales<Isa>(rows, begin / Format::kUnit, units, scale, offset, kLanes);
      for (std::int64_t u = 0; u < units; ++u) {
        const std::int64_t at = begin + u * Format::kUnit, unit = at / Format::kUnit;
        if constexpr (!Rows::kPacked) {
          prefetch_lines<Isa, kUnitLines<Format>>(next + kUnitBytes<Format> * unit);
        } else if (tile.stream_ahead != 0) {
          prefetch_lines<Isa, kUnitLines<Format>>(rows.data + kUnitBytes<Format> * unit + tile.stream_ahead);
        }
        Ints sums[kSubsPerUnit<Format>] = {};
        Format::template read<Isa>(
            rows, unit, [&](int sub, int step, Bits a, Bits b, Bits c, Bits d) __attribute__((always_inline)) {
              constexpr Integers kKind = Format::kIntegers;
              sums[sub] = Isa::template add_products<kKind>(
                  sums[sub], Isa::template operand<kKind>(a), Isa::template operand<kKind>(b),
                  Isa::template operand<kKind>(c), Isa::template operand<kKind>(d),
                  tile.quantised.q + at + sub * Format::kSub + 4 * step);
            });
        for (int sub = 0; sub < kSubsPerUnit<Format>; ++sub) {
          const std::int64_t j = u * kSubsPerUnit<Format> + sub;
          acc =
              join<Isa, Format, kZeroOf<Format, Isa>>(acc, sums[sub], load<Floats>(scale + kLanes * j),
                                                      Format::kOffset ? load<Floats>(offset + kLanes * j) : Floats{},
                                                      sub_activations<Format>(tile.quantised, at + sub * Format::kSub));
        }
      }
    }
    store_rows(tile.out + first, acc, tile.rows - first);
  }
}

/// kPanelRows rows' chunk of columns, unpacked: four columns of a row lie together, then the rows, then the next four
/// columns.
template <typename Format>
struct alignas(64) Panel {
  static constexpr std::int64_t kChunk = kColumns;
  static constexpr bool kFar = false;
  std::uint8_t w[kColumns / 4][kPanelRows][4];
  float scale[kColumns / Format::kSub][kPanelRows], offset[Format::kOffset ? kColumns / Format::kSub : 1][kPanelRows];

  // Adds the products of sub-block j with `x`, which begins where the chunk does.
  template <typename Isa, int Tokens>
  [[gnu::always_inline]] void add_products(std::int64_t j, const std::int8_t* const (&x)[Tokens],
                                           Ints (&sum)[Tokens][kGroups]) const {
    Isa::template sub_block<Format, Tokens>(*this, j * (Format::kSub / 4), x, j * Format::kSub, sum);
  }
  // Of sub-block j and the rows of a vector; offsets only where the format has them.
  template <typename Isa>
  [[gnu::always_inline]] Floats scale_of(std::int64_t j, int group) const {
    return load<Floats>(scale[j] + kLanes * group);
  }
  template <typename Isa>
  [[gnu::always_inline]] Floats offset_of(std::int64_t j, int group) const {
    return load<Floats>(offset[Format::kOffset ? j : 0] + kLanes * group);
  }

  template <typename Isa, typename Rows>
  [[gnu::noinline]] void fill_scales(const Rows* rows, std::int64_t begin, std::int64_t columns) {
    for (int group = 0; group < kGroups; ++group) {
      Format::template scales<Isa>(rows[group], begin / Format::kUnit, columns / Format::kUnit,
                                   &scale[0][group * kLanes], &offset[0][group * kLanes], kPanelRows);
    }
  }
  // Unit u of the panel, unit first + u of a vector of rows.
  template <typename Isa, typename Rows>
  [[gnu::always_inline]] void fill_unit(const Rows& rows, int group, std::int64_t first, std::int64_t u) {
    const std::int64_t lane = group * kLanes;
    Format::template read<Isa>(rows, first + u,
                               [&](int sub, int step, Bits a, Bits b, Bits c, Bits d) __attribute__((always_inline)) {
                                 constexpr Integers kKind = Format::kIntegers;
                                 const std::int64_t k = (u * Format::kUnit + sub * Format::kSub) / 4 + step;
                                 store(w[k][lane], Isa::template operand<kKind>(a));
                                 store(w[k + 1][lane], Isa::template operand<kKind>(b));
                                 store(w[k + 2][lane], Isa::template operand<kKind>(c));
                                 store(w[k + 3][lane], Isa::template operand<kKind>(d));
                               });
  }
  template <typename Isa, typename Rows>
  [[gnu::noinline]] void fill(const Rows* rows, std::int64_t begin, std::int64_t columns) {
    for (int group = 0; group < kGroups; ++group) {
      for (std::int64_t u = 0; u < columns / Format::kUnit; ++u)
        fill_unit<Isa>(rows[group], group, begin / Format::kUnit, u);
    }
  }
};

/// A chunk of packed rows that is multiplied as it lies: where a word is an operand after an instruction or two, those
/// cost less for every few tokens anew than writing a panel and reading it, and chunks may be long
/// (docs/benchmarks.md).
template <typename Format, typename Rows>
struct PackedChunk {
  static_assert(Format::kUnit == Format::kSub);
  static constexpr std::int64_t kChunk = 4096;
  static constexpr bool kFar = true;
  Rows rows[kGroups];
  std::int64_t first;  ///< unit of the rows that is the chunk's first

  template <typename Isa, int Tokens>
  [[gnu::always_inline]] void add_products(std::int64_t j, const std::int8_t* const (&x)[Tokens],
                                           Ints (&sum)[Tokens][kGroups]) const {
    repeat<Format::kSub / 4>([&](auto step) __attribute__((always_inline)) {
      Bits w[kGroups];
      repeat<kGroups>([&](auto group) __attribute__((always_inline)) {
        w[group] = Isa::template operand<Format::kIntegers>(Format::template step<step>(rows[group], first + j));
      });
      repeat<Tokens>([&](auto t) __attribute__((always_inline)) {
        const Bits v = word_at(x[t] + j * Format::kSub + 4 * step);
        repeat<kGroups>([&](auto group) __attribute__((always_inline)) {
          sum[t][group] = Isa::dot(sum[t][group], w[group], v);
          add_now(sum[t][group]);
        });
      });
    });
  }
  template <typename Isa>
  [[gnu::always_inline]] Floats scale_of(std::int64_t j, int group) const {
    return scales<Isa>(j, group, 0);
  }
  template <typename Isa>
  [[gnu::always_inline]] Floats offset_of(std::int64_t j, int group) const {
    return scales<Isa>(j, group, kLanes);
  }

 private:
  template <typename Isa>
  [[gnu::always_inline]] Floats scales(std::int64_t j, int group, std::int64_t at) const {
    alignas(kVectorBytes) float both[2 * kLanes];
    Format::template scales<Isa>(rows[group], first + j, 1, both, both + kLanes, kLanes);
    return load<Floats>(both + at);
  }
};
template <typename Isa, typename Format, typename Rows>
concept MultipliedAsPacked =
    Rows::kPacked && Isa::kMultipliesPacked && requires(const Rows& rows) { Format::template step<0>(rows, 0); };

/// Who fills a panel while its first tokens are multiplied, for instruction sets with registers to spare: storing takes
/// none of what the products take. `unit` is called before unit u of the panel is read.
template <typename Isa, typename Format, typename Rows>
struct Filler {
  Panel<Format>& panel;
  const Rows* rows;
  std::int64_t first;  ///< unit of the rows that is the panel's first

  [[gnu::always_inline]] void unit(std::int64_t u) const {
    repeat<kGroups>([&](auto group) __attribute__((always_inline)) {
      panel.template fill_unit<Isa>(rows[group], group, first, u);
    });
  }
};
/// The panel is full.
struct NoFiller {
  void unit(std::int64_t) const {}
};

/// The bytes that the next panel will be made of, asked for while this one is multiplied: `runs` runs of `bytes` bytes,
/// `stride` apart, some lines at each of `asks` sub-blocks.
class NextPanel {
 public:
  constexpr NextPanel(const std::uint8_t* at, std::int64_t stride, int runs, std::int64_t bytes, std::int64_t asks)
      : at_(at),
        lines_(static_cast<int>((bytes + 63) / 64)),
        gap_(stride - 64 * lines_),
        runs_(runs),
        left_(lines_),
        at_once_(static_cast<int>((runs * lines_ + asks - 1) / asks)) {}

  /// Far: a panel that is too long for the first cache level.
  template <typename Isa, bool Far = false>
  [[gnu::always_inline]] void ask() {
    for (int i = 0; i < at_once_ && runs_ > 0; ++i) {
      Far ? Isa::prefetch_far(at_) : Isa::prefetch(at_);
      at_ += 64;
      if (--left_ == 0) at_ += gap_, left_ = lines_, --runs_;
    }
  }

 private:
  const std::uint8_t* at_;
  int lines_;
  std::int64_t gap_;  ///< from the end of a run's last line to the next run
  int runs_, left_, at_once_;
};

// `chunk`: a Panel or a PackedChunk.
template <typename Isa, typename Format, int Tokens, typename Chunk, typename Fills = NoFiller>
[[gnu::noinline]] void multiply(const Chunk& chunk, const MatmulTile& tile, std::int64_t token, std::int64_t begin,
                                std::int64_t columns, NextPanel& next_panel, Fills fills = {}) {
  const QuantisedRows& q = tile.quantised;
  NextPanel next = next_panel;
  // A tile of fewer rows has its sums here, so that vectors are whole.
  alignas(kVectorBytes) float some[Tokens][kPanelRows];
  const bool whole = tile.rows == kPanelRows;
  float* const out = whole ? tile.out + token * tile.out_stride : &some[0][0];
  const std::int64_t out_stride = whole ? tile.out_stride : kPanelRows;
  if (!whole && begin > 0) {
    for (int t = 0; t < Tokens; ++t) {
      for (int group = 0; group < kGroups; ++group)
        store(some[t] + kLanes * group,
              load_rows(tile.out + (token + t) * tile.out_stride + kLanes * group, tile.rows - kLanes * group));
    }
  }
  const std::int8_t* x[Tokens];
  SubActivations a[Tokens];
  Floats acc[Tokens][kGroups];
  repeat<Tokens>([&](auto t) __attribute__((always_inline)) {
    x[t] = q.q + (token + t) * q.padded + begin;
    a[t] = sub_activations<Format>(q, (token + t) * q.padded + begin);
    repeat<kGroups>([&](auto group) __attribute__((always_inline)) { acc[t][group] = Floats{}; });
  });
  if (begin > 0) {
    repeat<Tokens>([&](auto t) __attribute__((always_inline)) {
      repeat<kGroups>([&](auto group) __attribute__((always_inline)) {
        acc[t][group] = load<Floats>(out + t * out_stride + kLanes * group);
      });
    });
  }
  // The sums of the tokens that follow lie far apart and have left the first cache level.
  repeat<Tokens>([&](auto t) __attribute__((always_inline)) {
    const float* later = tile.out + (token + Tokens + t) * tile.out_stride;
    Isa::prefetch(reinterpret_cast<const std::uint8_t*>(later));
    Isa::prefetch(reinterpret_cast<const std::uint8_t*>(later + kLanes));
  });
  constexpr int kZero = kZeroOf<Format, Isa>;
  alignas(kVectorBytes) std::int32_t start[Tokens][Chunk::kChunk / Format::kSub];
  if constexpr (kZero != 0) {
    for (int t = 0; t < Tokens; ++t) starts<kZero>(a[t], columns / Format::kSub, start[t]);
  }
  for (std::int64_t j = 0; j < columns / Format::kSub; ++j) {
    next.ask<Isa, Chunk::kFar>();
    if (j % kSubsPerUnit<Format> == 0) fills.unit(j / kSubsPerUnit<Format>);
    Ints sum[Tokens][kGroups];
    repeat<Tokens>([&](auto t) __attribute__((always_inline)) {
      repeat<kGroups>([&](auto group) __attribute__((always_inline)) {
        sum[t][group] = Ints{};
        if constexpr (kZero != 0) sum[t][group] += start[t][j];
      });
    });
    chunk.template add_products<Isa, Tokens>(j, x, sum);
    repeat<Tokens>([&](auto t) __attribute__((always_inline)) {
      const std::int64_t block = Format::kSub == 32 ? j : j >> 1;
      const SubActivations here{a[t].scale + block, a[t].sum + block, nullptr};
      repeat<kGroups>([&](auto group) __attribute__((always_inline)) {
        acc[t][group] = join<Isa, Format, 0>(acc[t][group], sum[t][group], chunk.template scale_of<Isa>(j, group),
                                             chunk.template offset_of<Isa>(j, group), here);
      });
    });
  }
  repeat<Tokens>([&](auto t) __attribute__((always_inline)) {
    repeat<kGroups>([&](auto group) __attribute__((always_inline)) {
      store(out + t * out_stride + kLanes * group, acc[t][group]);
    });
  });
  if (!whole) {
    for (int t = 0; t < Tokens; ++t) {
      for (int group = 0; group < kGroups; ++group)
        store_rows(tile.out + (token + t) * tile.out_stride + kLanes * group, load<Floats>(some[t] + kLanes * group),
                   tile.rows - kLanes * group);
    }
  }
  next_panel = next;
}

// The products of one sub-block in the plainest order: for instruction sets whose dot product takes four bytes of a
// lane at once. `k` counts groups of four columns of the panel.
template <typename Isa, typename Format, int Tokens>
[[gnu::always_inline]] inline void dot_sub_block(const Panel<Format>& panel, std::int64_t k,
                                                 const std::int8_t* const (&x)[Tokens], std::int64_t at,
                                                 Ints (&sum)[Tokens][kGroups]) {
  repeat<Format::kSub / 4>([&](auto step) __attribute__((always_inline)) {
    Bits w[kGroups];
    repeat<kGroups>([&](auto group)
                        __attribute__((always_inline)) { w[group] = load<Bits>(panel.w[k + step][kLanes * group]); });
    repeat<Tokens>([&](auto t) __attribute__((always_inline)) {
      const Bits v = word_at(x[t] + at + 4 * step);
      repeat<kGroups>([&](auto group) __attribute__((always_inline)) {
        sum[t][group] = Isa::dot(sum[t][group], w[group], v);
        add_now(sum[t][group]);
      });
    });
  });
}

/// A few tokens with the rows of one vector: a unit of packed weights stays in registers while all tokens are
/// multiplied with it. No panel, whose writing and reading many tokens have to pay for. `ahead`: bytes of the stream
/// that will be read later, asked for; null where they were.
template <typename Isa, typename Format, typename Rows, int Tokens>
[[gnu::noinline]] void few_tokens(const MatmulTile& tile, std::int64_t first, std::int64_t token,
                                  const std::uint8_t* ahead) {
  constexpr int kChains = Tokens < 3 ? 2 : 1;  // of each token, so that no product waits for the one before
  constexpr std::int64_t kSubs = kTokenColumns / Format::kSub, kWords = Format::kSub / 4;
  constexpr int kZero = kZeroOf<Format, Isa>;
  const Rows rows(tile, first);
  const QuantisedRows& q = tile.quantised;
  alignas(kVectorBytes) float scale[kSubs * kLanes], offset[(Format::kOffset ? kSubs : 1) * kLanes];
  alignas(kVectorBytes) std::int32_t start[Tokens][kSubs];
  Floats acc[Tokens] = {};
  for (std::int64_t begin = 0; begin < tile.in; begin += kTokenColumns) {
    const std::int64_t columns = tile.in - begin < kTokenColumns ? tile.in - begin : kTokenColumns;
    const std::int64_t units = columns / Format::kUnit;
    Format::template scales<Isa>(rows, begin / Format::kUnit, units, scale, offset, kLanes);
    if constexpr (kZero != 0) {
      for (int t = 0; t < Tokens; ++t)
        starts<kZero>(sub_activations<Format>(q, (token + t) * q.padded + begin), columns / Format::kSub, start[t]);
    }
    for (std::int64_t u = 0; u < units; ++u) {
      const std::int64_t unit = begin / Format::kUnit + u;
      if (ahead != nullptr) prefetch_lines<Isa, kUnitLines<Format>>(ahead + kUnitBytes<Format> * unit);
      Bits w[Format::kUnit / 4];
      Format::template read<Isa>(rows, unit,
                                 [&](int sub, int step, Bits a, Bits b, Bits c, Bits d) __attribute__((always_inline)) {
                                   constexpr Integers kKind = Format::kIntegers;
                                   Bits* to = w + sub * kWords + step;
                                   to[0] = Isa::template operand<kKind>(a), to[1] = Isa::template operand<kKind>(b);
                                   to[2] = Isa::template operand<kKind>(c), to[3] = Isa::template operand<kKind>(d);
                                 });
      for (int sub = 0; sub < kSubsPerUnit<Format>; ++sub) {
        const std::int64_t j = u * kSubsPerUnit<Format> + sub, at = begin + j * Format::kSub;
        Ints sum[Tokens][kChains] = {};
        if constexpr (kZero != 0)
          repeat<Tokens>([&](auto t) __attribute__((always_inline)) { sum[t][0] += start[t][j]; });
        repeat<kWords>([&](auto step) __attribute__((always_inline)) {
          repeat<Tokens>([&](auto t) __attribute__((always_inline)) {
            Ints& chain = sum[t][step % kChains];
            chain = Isa::dot(chain, w[sub * kWords + step], word_at(q.q + (token + t) * q.padded + at + 4 * step));
            add_now(chain);
          });
        });
        repeat<Tokens>([&](auto t) __attribute__((always_inline)) {
          if constexpr (kChains == 2) sum[t][0] += sum[t][1];
          acc[t] = join<Isa, Format, 0>(acc[t], sum[t][0], load<Floats>(scale + kLanes * j),
                                        Format::kOffset ? load<Floats>(offset + kLanes * j) : Floats{},
                                        sub_activations<Format>(q, (token + t) * q.padded + at));
        });
      }
    }
  }
  for (int t = 0; t < Tokens; ++t)
    store_rows(tile.out + (token + t) * tile.out_stride + first, acc[t], tile.rows - first);
}
// 5 = 3 + 2, 6 = 3 + 3, 7 = 4 + 3: never one alone.
template <typename Isa, typename Format, typename Rows>
void few_tokens(const MatmulTile& tile, std::int64_t first) {
  const std::uint8_t* ahead = tile.weights + first * tile.weight_row_bytes + kFewTokensAhead;
  for (std::int64_t t = 0; t < tile.tokens; ahead = nullptr) {
    const std::int64_t left = tile.tokens - t;
    if (left == 8)
      few_tokens<Isa, Format, Rows, 8>(tile, first, t, ahead), t += 8;
    else if (left == 7 || left == 4)
      few_tokens<Isa, Format, Rows, 4>(tile, first, t, ahead), t += 4;
    else if (left == 2)
      few_tokens<Isa, Format, Rows, 2>(tile, first, t, ahead), t += 2;
    else
      few_tokens<Isa, Format, Rows, 3>(tile, first, t, ahead), t += 3;
  }
}

// Tokens from `token` on, as many at a time as registers hold.
template <typename Isa, typename Format, int Tokens, typename Chunk>
[[gnu::always_inline]] inline void multiply_rest(const Chunk& chunk, const MatmulTile& tile, std::int64_t token,
                                                 std::int64_t begin, std::int64_t columns, NextPanel& next) {
  if constexpr (Tokens > 0) {
    if (tile.tokens - token == Tokens) return multiply<Isa, Format, Tokens>(chunk, tile, token, begin, columns, next);
    multiply_rest<Isa, Format, Tokens - 1>(chunk, tile, token, begin, columns, next);
  }
}
template <typename Isa, typename Format, typename Chunk>
void multiply_all(const Chunk& chunk, const MatmulTile& tile, std::int64_t token, std::int64_t begin,
                  std::int64_t columns, NextPanel& next) {
  const auto left = [&] { return tile.tokens - token; };
  // 7 = 4 + 3 and 8 = 4 + 4: one or two alone would take as long as three.
  constexpr bool kSixes = Isa::kTokens == 6;
  for (; left() >= Isa::kTokens && !(kSixes && (left() == 7 || left() == 8)); token += Isa::kTokens)
    multiply<Isa, Format, Isa::kTokens>(chunk, tile, token, begin, columns, next);
  if constexpr (kSixes) {
    for (; left() >= 4; token += 4) multiply<Isa, Format, 4>(chunk, tile, token, begin, columns, next);
  }
  multiply_rest<Isa, Format, 3>(chunk, tile, token, begin, columns, next);
}

// What is asked for while a chunk of the rows is multiplied: the one behind it, or the first of the next rows.
template <typename Isa, typename Format, typename Rows>
NextPanel next_panel(const MatmulTile& tile, std::int64_t begin, std::int64_t columns) {
  constexpr int kRows = Rows::kPacked ? static_cast<int>(kLanes) : 1;
  const std::int64_t run_bytes = kRows * Format::kFields.bytes * columns / Format::kFields.values;
  const bool last = begin + columns >= tile.in;
  const std::int64_t asks = columns / Format::kSub * ((tile.tokens + Isa::kTokens - 1) / Isa::kTokens);
  return {tile.weights + (last ? kPanelRows * tile.weight_row_bytes
                               : kRows * Format::kFields.bytes * (begin + columns) / Format::kFields.values),
          kRows * tile.weight_row_bytes, static_cast<int>(kPanelRows / kRows), run_bytes, asks};
}

template <typename Isa, typename Format, typename Rows>
void tile_of(const MatmulTile& tile) {
  if (tile.tokens == 1) return one_token<Isa, Format, Rows>(tile);
  if constexpr (Rows::kPacked && Isa::kFewTokens > 0 && !MultipliedAsPacked<Isa, Format, Rows>) {
    static_assert(Isa::kFewTokens == 8);
    if (tile.tokens <= Isa::kFewTokens) {
      for (std::int64_t first = 0; first < tile.rows; first += kLanes) few_tokens<Isa, Format, Rows>(tile, first);
      return;
    }
  }
  Rows rows[kGroups];
  for (int group = 0; group < kGroups; ++group) rows[group] = Rows(tile, kLanes * group);
  if constexpr (MultipliedAsPacked<Isa, Format, Rows>) {
    PackedChunk<Format, Rows> chunk;
    for (int group = 0; group < kGroups; ++group) chunk.rows[group] = rows[group];
    for (std::int64_t begin = 0; begin < tile.in; begin += chunk.kChunk) {
      const std::int64_t columns = tile.in - begin < chunk.kChunk ? tile.in - begin : chunk.kChunk;
      NextPanel next = next_panel<Isa, Format, Rows>(tile, begin, columns);
      chunk.first = begin / Format::kUnit;
      multiply_all<Isa, Format>(chunk, tile, 0, begin, columns, next);
    }
  } else {
    Panel<Format> panel;
    for (std::int64_t begin = 0; begin < tile.in; begin += kColumns) {
      const std::int64_t columns = tile.in - begin < kColumns ? tile.in - begin : kColumns;
      NextPanel next = next_panel<Isa, Format, Rows>(tile, begin, columns);
      panel.template fill_scales<Isa>(rows, begin, columns);
      std::int64_t t = 0;
      if constexpr (Rows::kPacked && Isa::kFewTokens >= Isa::kTokens) {  // so that there are enough tokens here
        const Filler<Isa, Format, Rows> fills{panel, rows, begin / Format::kUnit};
        multiply<Isa, Format, Isa::kTokens>(panel, tile, t, begin, columns, next, fills), t += Isa::kTokens;
      } else {
        panel.template fill<Isa>(rows, begin, columns);
      }
      multiply_all<Isa, Format>(panel, tile, t, begin, columns, next);
    }
  }
}
template <typename Isa, typename Format>
void quantised_tile(const MatmulTile& tile) {
  if (tile.packed) return tile_of<Isa, Format, PackedRows<Isa, Format::kFields>>(tile);
  tile_of<Isa, Format, MappedRows<Isa, Format::kFields>>(tile);
}

template <typename Isa, typename Format>
constexpr void add_quantised(KernelTable& table, int type) {
  table.matmul[type] = quantised_tile<Isa, Format>;
  table.takes[type] = Activations::int8;
}
/// Every type of block_fields, by tensor::DType, mapped or packed in groups of kLanes rows.
template <typename Isa>
constexpr void add_quantised_types(KernelTable& table) {
  table.packed_rows = kLanes;
  add_quantised<Isa, Q4_0>(table, 13);
  add_quantised<Isa, Q4_1>(table, 14);
  add_quantised<Isa, Q5_0>(table, 15);
  add_quantised<Isa, Q5_1>(table, 16);
  add_quantised<Isa, Q8_0>(table, 17);
  add_quantised<Isa, Q4K>(table, 20);
  add_quantised<Isa, Q5K>(table, 21);
  add_quantised<Isa, Q6K>(table, 22);
  add_quantised<Isa, Iq4Nl>(table, 23);
}

}  // namespace
}  // namespace carat::kernels
