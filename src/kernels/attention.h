// Attention over blocks of cached keys and values, for every instruction set: scores of a few rows of queries with the
// keys of some blocks, a step of the online softmax, and the weighted values added up, all in registers as wide as the
// ISA's. Steps begin at multiples of kStepKeys, whatever range of positions a row sees, so that the order of every
// addition is a matter of positions alone: a row's result has the same bits in any tile.
// How a cache type is multiplied is a struct of static functions, `Words` below: SingleWords, or PairWords of an
// instruction set that multiplies pairs of bf16.
//   Stored, write(v)                      an element of the cache, and floats as elements
//   kWord                                 elements of a query (or weights of positions) in a 32-bit word
//   Vector, read(p)                       kLanes words of a block
//   operand(x), add(acc, v, x)            a word in all lanes as `add` takes it; acc + products of v and x
//   words(x, count, stride, to)           `count` floats as words, `stride` words apart; join(x, count, to): beside
//                                         each other
//   only(v, part)                         v with all but one element of each word zero
#pragma once

#include "kernels/abi.h"
#include "kernels/vector_rows.h"

namespace carat::kernels {
namespace {

/// Positions of a step: enough that joining lanes and rescaling what is added up so far cost little.
constexpr std::int64_t kStepKeys = 4 * kKeyBlock;
/// Rows whose sums the registers hold, two vectors each.
#if defined(__AVX512F__) || defined(CARAT_WIDE_VECTORS) || defined(__aarch64__)
constexpr int kMostRows = 12;
#else
constexpr int kMostRows = 6;
#endif

template <typename Element>
struct SingleWords : Element {
  using Vector = Floats;
  static constexpr int kWord = 1;
  [[gnu::always_inline]] static Floats operand(Bits x) { return as_float(x); }
  [[gnu::always_inline]] static Floats add(Floats acc, Floats v, Floats x) { return acc + v * x; }
  static void words(const float* x, std::int64_t count, std::int64_t stride, float* to) {
    for (std::int64_t i = 0; i < count; ++i) to[i * stride] = x[i];
  }
  static Floats only(Floats v, int) { return v; }
};

/// Two bf16 in a word, queries and weights rounded to bf16. `Isa` is that of bf16_matmul.h.
template <typename Isa>
struct PairWords {
  static_assert(kLanes == kStrip || sizeof(Isa) == 0, "a vector of words is a strip");
  using Stored = std::uint16_t;
  using Vector = Bits;
  static constexpr int kWord = 2;
  static Halves write(Floats v) { return Isa::to_bf16(v); }
  [[gnu::always_inline]] static Bits read(const Stored* p) { return load<Bits>(p); }
  [[gnu::always_inline]] static Bits operand(Bits x) { return x; }
  [[gnu::always_inline]] static Floats add(Floats acc, Bits v, Bits x) { return Isa::add_pairs(acc, v, x); }
  static void words(const float* x, std::int64_t count, std::int64_t stride, float* to) {
    for (std::int64_t i = 0; i < count; i += kLanes) {
      Stored rounded[kLanes];
      store(rounded, write(load_rows(x + i, count - i)));
      for (std::int64_t j = 0; j < kLanes && i + j < count; j += 2)
        __builtin_memcpy(to + (i + j) / 2 * stride, rounded + j, 4);
    }
  }
  // A multiple of kLanes; in place, as it may be.
  static void join(const float* x, std::int64_t count, float* to) {
    for (std::int64_t i = 0; i < count; i += kLanes) store(to + i / 2, write(load<Floats>(x + i)));
  }
  static Bits only(Bits v, int part) { return part == 0 ? v & 0xFFFFU : v & 0xFFFF0000U; }
};

// Cache elements that are integers with scales; see kKeyBlock.
struct ElementQ8 {
  using Stored = std::int8_t;
  static Floats read(const Stored* p) { return to_floats(load<Bytes>(p)); }
  static constexpr std::int64_t kScaled = kKeyBlock;  ///< dimensions of a position that share a scale
};
template <typename Words>
concept Scaled = (Words::kScaled > 0);

inline const std::uint16_t* scales_of(const std::uint8_t* block, std::int64_t dim) {
  return reinterpret_cast<const std::uint16_t*>(block + kKeyBlock * padded_dim(dim));
}
// Where elements stand in a block: dimension i of position p.
template <typename Words>
constexpr std::int64_t key_at(std::int64_t dim, std::int64_t p, std::int64_t i) {
  constexpr std::int64_t kWord = Words::kWord;
  return p / kStrip * kStrip * padded_dim(dim) + i / kWord * kWord * kStrip + p % kStrip * kWord + i % kWord;
}
template <typename Words>
constexpr std::int64_t value_at(std::int64_t p, std::int64_t i) {
  constexpr std::int64_t kWord = Words::kWord;
  return i / kStrip * kStrip * kKeyBlock + p / kWord * kWord * kStrip + i % kStrip * kWord + p % kWord;
}

// x[i] of one position, zeros behind the last, each given to put(i, value).
template <typename Words, typename Put>
inline void store_position(const float* x, std::int64_t dim, const Put& put) {
  for (std::int64_t i = 0; i < padded_dim(dim); i += kLanes) {
    typename Words::Stored part[kLanes];
    store(part, Words::write(i < dim ? load_rows(x + i, dim - i) : Floats{}));
    for (std::int64_t j = 0; j < kLanes; ++j) put(i + j, part[j]);
  }
}
// Integers of -127 … 127 times an f16 scale, the largest magnitude / 127. A NaN or infinity becomes the scale.
template <Scaled Words, typename Put>
inline void store_position(const float* x, std::int64_t dim, const Put& put, std::uint16_t* scales) {
  for (std::int64_t first = 0; first < dim; first += Words::kScaled, scales += kKeyBlock) {
    float v[Words::kScaled];
    for (std::int64_t i = 0; i < Words::kScaled; ++i) v[i] = first + i < dim ? x[first + i] : 0.0F;
    Floats largest{};
    for (std::int64_t i = 0; i < Words::kScaled; i += kLanes) largest = larger_magnitude(largest, load<Floats>(v + i));
    const Halves half = f32_to_f16(splat(largest_lane(largest) / 127.0F));
    *scales = half[0];
    // By the rounded scale; where that is so small that it lost bits, what does not fit is cut off.
    const float scale = f16_to_f32(half)[0], inverse = scale > 0 ? 1.0F / scale : 0.0F;
    const Floats magic = splat(12582912.0F), bound = splat(127.0F);
    for (std::int64_t i = 0; i < Words::kScaled && first + i < padded_dim(dim); i += kLanes) {
      Floats q = (load<Floats>(v + i) * inverse + magic) - magic;
      q = q > bound ? bound : q;
      q = q < -bound ? -bound : q;
      std::int32_t ints[kLanes];
      store(ints, __builtin_convertvector(q, Ints));
      for (std::int64_t j = 0; j < kLanes; ++j) put(first + i + j, static_cast<std::int8_t>(ints[j]));
    }
  }
}
template <typename Words, typename Put>
inline void store_in_block(const float* x, std::int64_t dim, std::uint8_t* block, std::int64_t p, const Put& put) {
  if constexpr (Scaled<Words>)
    store_position<Words>(x, dim, put, const_cast<std::uint16_t*>(scales_of(block, dim)) + p);
  else
    store_position<Words>(x, dim, put);
}
template <typename Words>
void store_key(const float* x, std::int64_t dim, std::uint8_t* block, std::int64_t p) {
  auto* to = reinterpret_cast<typename Words::Stored*>(block);
  store_in_block<Words>(x, dim, block, p, [=](std::int64_t i, auto value) { to[key_at<Words>(dim, p, i)] = value; });
}
template <typename Words>
void store_value(const float* x, std::int64_t dim, std::uint8_t* block, std::int64_t p) {
  auto* to = reinterpret_cast<typename Words::Stored*>(block);
  store_in_block<Words>(x, dim, block, p, [=](std::int64_t i, auto value) { to[value_at<Words>(p, i)] = value; });
}

// kLanes positions' scales.
inline Floats read_scales(const std::uint16_t* p) { return f16_to_f32(load<Halves>(p)); }

// A block is asked for while another of its length is read, as many bytes at a time: its order in memory is not one
// that the processor foresees. Nothing where there is none.
template <std::int64_t Bytes>
[[gnu::always_inline]] inline void ask_for(const std::uint8_t* ahead, std::int64_t at) {
  if (ahead == nullptr) return;
  repeat<(Bytes + 63) / 64>([&](auto line)
                                __attribute__((always_inline)) { __builtin_prefetch(ahead + at + 64 * line, 0, 2); });
}

// Scores of Rows query rows with the keys of one block: positions are lanes and no sum crosses them. Two vectors of
// positions at a time keep every sum in a register. `q` holds word after word of all rows.
template <typename Words, int Rows>
[[gnu::always_inline]] inline void score_keys(const std::uint8_t* q, std::int64_t dim, float scale,
                                              const std::uint8_t* block, const std::uint8_t* ahead, float* scores) {
  using Vector = typename Words::Vector;
  constexpr std::int64_t kWord = Words::kWord;
  const auto* stored = reinterpret_cast<const typename Words::Stored*>(block);
  const std::int64_t words = (dim + kWord - 1) / kWord;
  std::int64_t group = words;  // words added up before their scale is taken
  if constexpr (Scaled<Words>) group = Words::kScaled;
  constexpr std::int64_t kBytes = 2 * kLanes * kWord * sizeof(typename Words::Stored);  // read of two vectors
  for (std::int64_t v = 0; v < kKeyBlock; v += 2 * kLanes) {
    const auto* first = stored + key_at<Words>(dim, v, 0);
    const auto* second = stored + key_at<Words>(dim, v + kLanes, 0);
    Floats all[Rows][2];
    repeat<Rows>([&](auto r) __attribute__((always_inline)) { all[r][0] = all[r][1] = Floats{}; });
    for (std::int64_t from = 0; from < words; from += group) {
      const std::int64_t to = from + group < words ? from + group : words;
      Floats sum[Rows][2];
      repeat<Rows>([&](auto r) __attribute__((always_inline)) { sum[r][0] = sum[r][1] = Floats{}; });
      const std::uint8_t* x = q + 4 * Rows * from;
      for (std::int64_t i = from; i < to; ++i, x += 4 * Rows) {
        ask_for<kBytes>(ahead,
                        v * padded_dim(dim) * static_cast<std::int64_t>(sizeof(typename Words::Stored)) + kBytes * i);
        const Vector a = Words::read(first + i * kWord * kStrip), b = Words::read(second + i * kWord * kStrip);
        repeat<Rows>([&](auto r) __attribute__((always_inline)) {
          const Vector word = Words::operand(word_at(x + 4 * r));
          sum[r][0] = Words::add(sum[r][0], a, word);
          sum[r][1] = Words::add(sum[r][1], b, word);
        });
      }
      if constexpr (Scaled<Words>) {
        const std::uint16_t* scales = scales_of(block, dim) + from / group * kKeyBlock + v;
        const Floats a = read_scales(scales), b = read_scales(scales + kLanes);
        repeat<Rows>([&](auto r) __attribute__((always_inline)) {
          all[r][0] += sum[r][0] * a;
          all[r][1] += sum[r][1] * b;
        });
      } else {
        repeat<Rows>([&](auto r) __attribute__((always_inline)) {
          all[r][0] = sum[r][0];
          all[r][1] = sum[r][1];
        });
      }
    }
    repeat<Rows>([&](auto r) __attribute__((always_inline)) {
      store(scores + r * kStepKeys + v, all[r][0] * scale);
      store(scores + r * kStepKeys + v + kLanes, all[r][1] * scale);
    });
  }
}

/// The blocks of a step, wherever they lie in the KV head's ring.
struct Step {
  std::int64_t first;  ///< position
  const std::uint8_t *keys[kStepKeys / kKeyBlock], *values[kStepKeys / kKeyBlock];
  const std::uint8_t* next_keys[kStepKeys / kKeyBlock];  ///< of the step after, where there is one
};

// out[r] = out[r] * factor[r] + sum over the step's positions [low, high) of weight[r][p] * value[p], in order, for
// Vectors vectors of columns from `column` on, of which there are `count`. `weights` are words, rows kStepKeys apart.
template <typename Words, int Rows, int Vectors>
[[gnu::always_inline]] inline void add_columns(const Step& step, std::int64_t low, std::int64_t high,
                                               const float* weights, const float (&factor)[Rows], std::int64_t column,
                                               std::int64_t count, bool asks, float* const (&out)[Rows]) {
  using Stored = typename Words::Stored;
  using Vector = typename Words::Vector;
  constexpr std::int64_t kWord = Words::kWord;
  constexpr std::int64_t kBytes = Vectors * kLanes * kWord * sizeof(Stored);  // read of a word of positions
  Floats sum[Rows][Vectors];
  repeat<Rows>([&](auto r) __attribute__((always_inline)) {
    repeat<Vectors>([&](auto v) __attribute__((always_inline)) {
      sum[r][v] = load_rows(out[r] + column + v * kLanes, count - v * kLanes) * factor[r];
    });
  });
  for (std::int64_t at = low / kKeyBlock * kKeyBlock; at < high; at += kKeyBlock) {
    const auto* stored = reinterpret_cast<const Stored*>(step.values[at / kKeyBlock]);
    const Stored* strip[Vectors];
    for (int v = 0; v < Vectors; ++v) strip[v] = stored + value_at<Words>(0, column + v * kLanes);
    const auto* weight = reinterpret_cast<const std::uint8_t*>(weights) + 4 * at / kWord;
    const std::uint8_t* ahead = asks ? step.next_keys[at / kKeyBlock] : nullptr;
    const std::int64_t ahead_at = column * kKeyBlock * static_cast<std::int64_t>(sizeof(Stored));
    const auto add = [&](std::int64_t w, auto part) __attribute__((always_inline)) {
      ask_for<kBytes>(ahead, ahead_at + kBytes * w);
      Vector value[Vectors];
      repeat<Vectors>(
          [&](auto v) __attribute__((always_inline)) { value[v] = part(Words::read(strip[v] + w * kWord * kStrip)); });
      repeat<Rows>([&](auto r) __attribute__((always_inline)) {
        const Vector x = Words::operand(word_at(weight + 4 * (r * kStepKeys + w)));
        repeat<Vectors>([&](auto v) __attribute__((always_inline)) { sum[r][v] = Words::add(sum[r][v], value[v], x); });
      });
    };
    const auto whole = [](Vector v) __attribute__((always_inline)) { return v; };
    std::int64_t p = low > at ? low - at : 0;
    const std::int64_t end = high < at + kKeyBlock ? high - at : kKeyBlock;
    // Nothing is said about what lies beside the range: not even that it is finite.
    if (p % kWord != 0) {
      add(p / kWord, [](Vector v) __attribute__((always_inline)) { return Words::only(v, 1); });
      ++p;
    }
    for (; p + kWord <= end; p += kWord) add(p / kWord, whole);
    if (p < end) add(p / kWord, [](Vector v) __attribute__((always_inline)) { return Words::only(v, 0); });
  }
  repeat<Rows>([&](auto r) __attribute__((always_inline)) {
    repeat<Vectors>([&](auto v) __attribute__((always_inline)) {
      store_rows(out[r] + column + v * kLanes, sum[r][v], count - v * kLanes);
    });
  });
}
template <typename Words, int Rows>
[[gnu::always_inline]] inline void add_values(const Step& step, std::int64_t low, std::int64_t high,
                                              const float* weights, const float (&factor)[Rows], std::int64_t from,
                                              std::int64_t to, bool asks, float* const (&out)[Rows]) {
  std::int64_t i = from;
  for (; i + 2 * kLanes <= to; i += 2 * kLanes)
    add_columns<Words, Rows, 2>(step, low, high, weights, factor, i, to - i, asks, out);
  for (; i < to; i += kLanes) add_columns<Words, Rows, 1>(step, low, high, weights, factor, i, to - i, asks, out);
}

/// A row of queries: one head of one token.
struct QueryRow {
  float* out;
  std::int64_t begin, end;  ///< positions it sees
  // What its softmax has seen so far; the sum in lanes of positions.
  float largest = -__builtin_inff();
  Floats sum{};
};
// Scores of the positions [from, to) of a step become weights; returns what the sums so far shrink by. Positions
// outside [begin, end) get the weight 0, whatever their keys hold.
inline float softmax_step(QueryRow& row, float* scores, std::int64_t from, std::int64_t to, std::int64_t begin,
                          std::int64_t end) {
  if (begin >= end) {
    for (std::int64_t p = from; p < to; p += kLanes) store(scores + p, Floats{});
    return 1.0F;
  }
  if (begin > from || end < to) {
    const Floats lowest = splat(-__builtin_inff());
    Ints position;
    for (int i = 0; i < kLanes; ++i) position[i] = static_cast<std::int32_t>(from) + i;
    for (std::int64_t p = from; p < to; p += kLanes, position += static_cast<std::int32_t>(kLanes)) {
      const Ints seen = (position >= static_cast<std::int32_t>(begin)) & (position < static_cast<std::int32_t>(end));
      store(scores + p, seen ? load<Floats>(scores + p) : lowest);
    }
  }
  Floats tops = splat(row.largest);
  for (std::int64_t p = from; p < to; p += kLanes) {
    const Floats s = load<Floats>(scores + p);
    tops = s > tops ? s : tops;
  }
  const float largest = join_lanes(tops, [](auto a, auto b) { return a > b ? a : b; });
  const float shift = largest == -__builtin_inff() ? 0.0F : largest;  // all scores infinitely low, or NaN
  const float factor = row.largest == largest ? 1.0F : exp_lanes(splat(row.largest - shift))[0];
  Floats sum = row.sum * factor;
  for (std::int64_t p = from; p < to; p += kLanes) {
    const Floats e = exp_below(load<Floats>(scores + p) - shift);
    store(scores + p, e);
    sum += e;
  }
  row.sum = sum;
  row.largest = largest;
  return factor;
}

// One step of keys and values for Rows rows. The first rows of a tile ask for what comes next.
template <typename Words, int Rows>
[[gnu::noinline]] void attend_step(const AttentionTile& a, const Step& step, bool asks, const std::uint8_t* q,
                                   QueryRow* rows) {
  float* out[Rows];
  std::int64_t begin[Rows], end[Rows], low = kStepKeys, high = 0;
  for (int r = 0; r < Rows; ++r) {
    out[r] = rows[r].out;
    begin[r] = rows[r].begin > step.first ? rows[r].begin - step.first : 0;
    end[r] = rows[r].end < step.first + kStepKeys ? rows[r].end - step.first : kStepKeys;
    if (begin[r] >= end[r]) continue;
    low = begin[r] < low ? begin[r] : low;
    high = end[r] > high ? end[r] : high;
  }
  if (low >= high) return;
  const std::int64_t from = low / kKeyBlock * kKeyBlock, to = (high + kKeyBlock - 1) / kKeyBlock * kKeyBlock;
  alignas(kVectorBytes) float scores[Rows][kStepKeys];
  float factor[Rows];
  for (std::int64_t at = from; at < to; at += kKeyBlock)
    score_keys<Words, Rows>(q, a.head_dim, a.scale, step.keys[at / kKeyBlock],
                            asks ? step.values[at / kKeyBlock] : nullptr, scores[0] + at);
  for (int r = 0; r < Rows; ++r) factor[r] = softmax_step(rows[r], scores[r], from, to, begin[r], end[r]);
  if constexpr (Scaled<Words>) {
    // A position's scale goes to its weight.
    for (std::int64_t i = 0; i < a.head_dim; i += Words::kScaled) {
      alignas(kVectorBytes) float scaled[Rows][kStepKeys];
      for (std::int64_t p = from; p < to; p += kLanes) {
        const std::int64_t at = p / kKeyBlock * kKeyBlock;
        const Floats s =
            read_scales(scales_of(step.values[at / kKeyBlock], a.head_dim) + i / Words::kScaled * kKeyBlock + p - at);
        for (int r = 0; r < Rows; ++r) store(scaled[r] + p, load<Floats>(scores[r] + p) * s);
      }
      const std::int64_t end_column = i + Words::kScaled < a.head_dim ? i + Words::kScaled : a.head_dim;
      add_values<Words, Rows>(step, low, high, scaled[0], factor, i, end_column, asks, out);
    }
  } else {
    // In place: words are no wider than what they are made of.
    if constexpr (Words::kWord > 1) {
      for (int r = 0; r < Rows; ++r) Words::join(scores[r] + from, to - from, scores[r] + from / Words::kWord);
    }
    add_values<Words, Rows>(step, low, high, scores[0], factor, 0, a.head_dim, asks, out);
  }
}

// Calls visit(first, Number<rows>) for all rows of a tile, some at a time.
template <typename Visit>
inline void each_rows(std::int64_t rows, const Visit& visit) {
  std::int64_t r = 0;
  // Eight go better as two fours than as six and two.
  for (; rows - r >= kMostRows && rows - r != 8; r += kMostRows) visit(r, Number<kMostRows>{});
  if constexpr (kMostRows > 8) {
    if (rows - r >= 8) visit(r, Number<8>{}), r += 8;
  }
  for (; rows - r >= 4; r += 4) visit(r, Number<4>{});
  for (; rows - r >= 2; r += 2) visit(r, Number<2>{});
  if (r < rows) visit(r, Number<1>{});
}

// A step is read once from memory for all rows of the tile.
template <typename Words>
void attention_tile(const AttentionTile& a) {
  const std::int64_t count = a.tokens * a.heads, dim = a.head_dim, words = (dim + Words::kWord - 1) / Words::kWord;
  QueryRow rows[kAttentionRows];
  std::int64_t first = a.key_begin[0], last = a.key_end[0];
  for (std::int64_t t = 0; t < a.tokens; ++t) {
    first = a.key_begin[t] < first ? a.key_begin[t] : first;
    last = a.key_end[t] > last ? a.key_end[t] : last;
    for (std::int64_t h = 0; h < a.heads; ++h)
      rows[t * a.heads + h] = {a.out + t * a.token_stride + h * dim, a.key_begin[t], a.key_end[t]};
    for (std::int64_t i = 0; i < a.heads * dim; ++i) a.out[t * a.token_stride + i] = 0;
  }
  each_rows(count, [&](std::int64_t begin, auto together) {
    for (std::int64_t r = begin; r < begin + together; ++r)
      Words::words(a.q + (rows[r].out - a.out), dim, together, a.scratch + begin * words + r - begin);
  });
  for (std::int64_t at = first / kStepKeys * kStepKeys; at < last; at += kStepKeys) {
    Step step{at, {}, {}, {}};
    const auto offset = [&](std::int64_t p) { return p % a.slots / kKeyBlock * a.block_bytes; };
    for (std::int64_t b = 0; b < kStepKeys / kKeyBlock; ++b) {
      const std::int64_t p = at + b * kKeyBlock, next = p + kStepKeys;
      step.keys[b] = a.keys + offset(p);
      step.values[b] = a.values + offset(p);
      step.next_keys[b] = next < last ? a.keys + offset(next) : nullptr;
    }
    each_rows(count, [&](std::int64_t begin, auto together) {
      const auto* q = reinterpret_cast<const std::uint8_t*>(a.scratch + begin * words);
      attend_step<Words, decltype(together)::kValue>(a, step, begin == 0, q, rows + begin);
    });
  }
  for (std::int64_t r = 0; r < count; ++r) {
    const float inverse = 1.0F / sum_lanes(rows[r].sum);
    for (std::int64_t i = 0; i < dim; ++i) rows[r].out[i] *= inverse;
  }
}

template <typename Words>
constexpr void add_cache_type(KernelTable& table, int type) {
  table.attention[type] = attention_tile<Words>;
  table.store_key[type] = store_key<Words>;
  table.store_value[type] = store_value<Words>;
  table.rounds_queries[type] = Words::kWord > 1;
}
/// All cache types, elements read by plain compiler vectors.
constexpr void add_cache_types(KernelTable& table) {
  add_cache_type<SingleWords<ElementF32>>(table, 0);
  add_cache_type<SingleWords<ElementF16>>(table, 1);
  add_cache_type<SingleWords<ElementBf16>>(table, 2);
  add_cache_type<SingleWords<ElementQ8>>(table, 3);
}

}  // namespace
}  // namespace carat::kernels
