// Row operations, written once over compiler vectors as wide as the ISA's registers
// and compiled by every table with its own flags. Everything lies in an anonymous namespace: each table has its own
// copy, none can be mixed up by the linker. A row's result depends on the row and the table alone: lanes and their
// final order of addition are fixed.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/abi.h"

namespace carat::kernels {
namespace {

#if defined(__AVX512F__) || defined(CARAT_WIDE_VECTORS)  // the latter in tests: the widest vectors on any machine
constexpr int kVectorBytes = 64;
#elif defined(__AVX__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif
using Bits = std::uint32_t __attribute__((vector_size(kVectorBytes)));
using Halves = std::uint16_t __attribute__((vector_size(kVectorBytes / 2)));
using Shorts = std::int16_t __attribute__((vector_size(kVectorBytes / 2)));
using Bytes = std::int8_t __attribute__((vector_size(kVectorBytes / 4)));
constexpr std::int64_t kLanes = kVectorBytes / 4;
/// Rows of a tile, and of the panels that matmuls unpack them into: two vectors or more, so that what is loaded of the
/// activations serves twice.
constexpr std::int64_t kPanelRows = kLanes < 16 ? 16 : 2 * kLanes;
// Named sizes: gcc forgets a vector size that depends on a template's parameter.
template <std::size_t Bytes>
struct VectorOf;
template <>
struct VectorOf<64> {
  using Floats = float __attribute__((vector_size(64)));
  using Ints = std::int32_t __attribute__((vector_size(64)));
};
template <>
struct VectorOf<32> {
  using Floats = float __attribute__((vector_size(32)));
  using Ints = std::int32_t __attribute__((vector_size(32)));
};
template <>
struct VectorOf<16> {
  using Floats = float __attribute__((vector_size(16)));
  using Ints = std::int32_t __attribute__((vector_size(16)));
};
using Floats = VectorOf<kVectorBytes>::Floats;
using Ints = VectorOf<kVectorBytes>::Ints;

template <typename V, typename T>
inline V load(const T* p) {
  V v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
template <typename V, typename T>
inline void store(T* p, const V& v) {
  __builtin_memcpy(p, &v, sizeof v);
}
// In two steps: at once, gcc 12 takes the bytes apart one by one.
inline Floats to_floats(Bytes b) {
  return __builtin_convertvector(__builtin_convertvector(__builtin_convertvector(b, Shorts), Ints), Floats);
}
inline Floats splat(float x) { return x - Floats{}; }  // x + 0 would turn -0 into 0
inline Floats as_float(Bits v) {
  Floats f;
  __builtin_memcpy(&f, &v, sizeof f);
  return f;
}
inline Bits as_bits(Floats v) {
  Bits u;
  __builtin_memcpy(&u, &v, sizeof u);
  return u;
}
// Lanes are joined as a tree, always the same one: the halves of the vector, then the halves of the result.
template <typename V, typename Join>
inline float join_lanes(V v, Join join) {
  // In registers: halves read back from memory would have to wait until the whole is written there.
  if constexpr (sizeof(V) == 64) {
    return join_lanes(join(__builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7),
                           __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15)),
                      join);
  } else if constexpr (sizeof(V) == 32) {
    return join_lanes(join(__builtin_shufflevector(v, v, 0, 1, 2, 3), __builtin_shufflevector(v, v, 4, 5, 6, 7)), join);
  } else {
    v = join(v, __builtin_shufflevector(v, v, 2, 3, 0, 1));
    v = join(v, __builtin_shufflevector(v, v, 1, 0, 3, 2));
    return v[0];
  }
}
inline float sum_lanes(Floats v) {
  return join_lanes(v, [](auto a, auto b) { return a + b; });
}
// The larger magnitude of each lane; NaN if either is one: without their sign bits floats order like whole numbers, NaN
// last.
inline Floats larger_magnitude(Floats a, Floats b) {
  const Bits x = as_bits(a) & 0x7FFFFFFFU, y = as_bits(b) & 0x7FFFFFFFU;
  return as_float(x > y ? x : y);
}
// Of lanes without sign bits; NaN if any is one.
inline float largest_lane(Floats v) {
  return join_lanes(v, [](auto a, auto b) {
    using Whole = typename VectorOf<sizeof a>::Ints;
    const Whole x = reinterpret_cast<Whole>(a), y = reinterpret_cast<Whole>(b);
    return reinterpret_cast<typename VectorOf<sizeof a>::Floats>(x > y ? x : y);
  });
}
// The first n < kLanes values, zeros behind them.
template <typename T>
inline void load_tail(const T* p, std::int64_t n, T* out) {
  for (std::int64_t i = 0; i < kLanes; ++i) out[i] = i < n ? p[i] : T{};
}

// The first `count` lanes.
[[gnu::always_inline]] inline void store_rows(float* out, Floats v, std::int64_t count) {
  if (count >= kLanes) return store(out, v);
  for (std::int64_t r = 0; r < count; ++r) out[r] = v[r];
}
[[gnu::always_inline]] inline Floats load_rows(const float* in, std::int64_t count) {
  if (count >= kLanes) return load<Floats>(in);
  alignas(kVectorBytes) float lanes[kLanes] = {};
  for (std::int64_t r = 0; r < count; ++r) lanes[r] = in[r];
  return load<Floats>(lanes);
}

// A 32-bit word, in all lanes.
[[gnu::always_inline]] inline Bits word_at(const void* x) {
  std::uint32_t v;
  __builtin_memcpy(&v, x, 4);
  return v - Bits{};
}

/// Calls f(0), f(1), … f(Count - 1) with the numbers as constants: accumulators indexed by them stay in registers.
template <int N>
struct Number {
  static constexpr int kValue = N;
  constexpr operator int() const { return N; }
};
template <int Count, int From = 0, typename F>
[[gnu::always_inline]] inline void repeat(const F& f) {
  if constexpr (From < Count) {
    f(Number<From>{});
    repeat<Count, From + 1>(f);
  }
}

// --- 16-bit floats ---

inline Floats bf16_to_f32(Halves h) { return as_float(__builtin_convertvector(h, Bits) << 16); }
// Exact for normals, subnormals, infinities and NaN: shift the 15 bits into place, rescale the exponent by 2^112.
inline Floats f16_to_f32(Halves h) {
  const Bits bits = __builtin_convertvector(h, Bits);
  const Bits magnitude = (bits & 0x7FFFU) << 13;
  const Floats scaled = as_float(magnitude) * 0x1.0p112F;
  const Bits special = (Bits)((bits & 0x7C00U) == 0x7C00U);  // all ones where infinite or NaN
  const Bits value = (as_bits(scaled) & ~special) | ((magnitude | 0x7F800000U) & special);
  return as_float(value | ((bits & 0x8000U) << 16));
}
// To nearest, ties to even; NaN stays NaN.
inline Halves f32_to_bf16(Floats v) {
  const Bits u = as_bits(v);
  const Bits nan = (Bits)((u & 0x7FFFFFFFU) > 0x7F800000U);
  const Bits rounded = (u + 0x7FFFU + ((u >> 16) & 1U)) >> 16, quiet = (u >> 16) | 0x40U;
  return __builtin_convertvector((rounded & ~nan) | (quiet & nan), Halves);
}
inline Halves f32_to_f16(Floats v) {
  const Bits u = as_bits(v), a = u & 0x7FFFFFFFU;
  Bits r = (a - 0x38000000U + 0xFFFU + ((a >> 13) & 1U)) >> 13;
  // Subnormal or zero: adding 0.5 puts the rounded value into the low bits.
  const Bits small = as_bits(as_float(a) + 0.5F) - 0x3F000000U;
  r = a < 0x38800000U ? small : r;
  r = a >= 0x47800000U - 0x1000U ? Bits{} + 0x7C00U : r;  // rounds to infinity
  r = a > 0x7F800000U ? Bits{} + 0x7E00U : r;
  return __builtin_convertvector(r | ((u >> 16) & 0x8000U), Halves);
}

// Element types of weights and caches: how kLanes of them become floats, and floats become them.
struct ElementF32 {
  using Stored = float;
  static Floats read(const Stored* p) { return load<Floats>(p); }
  static Floats write(Floats v) { return v; }
};
struct ElementF16 {
  using Stored = std::uint16_t;
  static Floats read(const Stored* p) { return f16_to_f32(load<Halves>(p)); }
  static Halves write(Floats v) { return f32_to_f16(v); }
};
struct ElementBf16 {
  using Stored = std::uint16_t;
  static Floats read(const Stored* p) { return bf16_to_f32(load<Halves>(p)); }
  static Halves write(Floats v) { return f32_to_bf16(v); }
};

// --- exp ---

// e^x for x that is not above 88, relative error below 2e-7: x = n ln 2 + r, a polynomial of degree 6 in r, and n added
// to the exponent. Below -87 the result is 0; NaN stays NaN.
inline Floats exp_below(Floats x) {
  const Floats original = x;
  const Floats low = splat(-87.0F);
  const Ints tiny = x < low;
  x = x < low ? low : x;
  const Floats magic = splat(12582912.0F);  // 1.5 * 2^23: adding it rounds to an integer in the low bits
  const Floats shifted = x * 1.44269504088896341F + magic;
  const Floats n = shifted - magic;
  const Floats r = (x - n * 0.693359375F) - n * -2.12194440e-4F;
  Floats p = splat(1.0F / 720.0F);
  p = p * r + 1.0F / 120.0F;
  p = p * r + 1.0F / 24.0F;
  p = p * r + 1.0F / 6.0F;
  p = p * r + 0.5F;
  p = p * r + 1.0F;
  p = p * r + 1.0F;
  const Bits exponent = as_bits(shifted) << 23;  // n in the low bits of `shifted`, moved to the exponent field
  const Floats cut = as_float((as_bits(p) + exponent) & ~(Bits)tiny);
  return original == original ? cut : original;
}
// The same for any x; above 88 it stays at e^88.
inline Floats exp_lanes(Floats x) {
  const Floats high = splat(88.0F);
  return exp_below(x > high ? high : x);
}

// --- rows ---

inline float mean_square(const float* x, std::int64_t width) {
  Floats a{}, b{};
  std::int64_t i = 0;
  for (; i + 2 * kLanes <= width; i += 2 * kLanes) {
    const Floats u = load<Floats>(x + i), v = load<Floats>(x + i + kLanes);
    a += u * u;
    b += v * v;
  }
  for (; i < width; i += kLanes) {
    float tail[kLanes];
    load_tail(x + i, width - i, tail);
    const Floats u = load<Floats>(tail);
    a += u * u;
  }
  return sum_lanes(a + b) / static_cast<float>(width);
}

template <bool Add>
inline void norm_row(const float* x, std::int64_t width, const float* weight, float eps, float* y) {
  const float factor = 1.0F / __builtin_sqrtf(mean_square(x, width) + eps);
  std::int64_t i = 0;
  for (; i + kLanes <= width; i += kLanes) {
    Floats v = load<Floats>(x + i) * factor;
    if (weight != nullptr) v *= load<Floats>(weight + i);
    if constexpr (Add) v += load<Floats>(y + i);
    store(y + i, v);
  }
  for (; i < width; ++i) {
    float v = x[i] * factor;
    if (weight != nullptr) v *= weight[i];
    if constexpr (Add) v += y[i];
    y[i] = v;
  }
}
void rms_norm_row(const float* x, std::int64_t width, const float* weight, float eps, float* y) {
  norm_row<false>(x, width, weight, eps, y);
}
void add_rms_norm_row(float* x, const float* y, std::int64_t width, const float* weight, float eps) {
  norm_row<true>(y, width, weight, eps, x);
}

void rope_row(float* x, std::int64_t heads, std::int64_t head_dim, const float* cos, const float* sin,
              std::int64_t rotated_pairs) {
  const std::int64_t half = head_dim / 2;
  for (std::int64_t h = 0; h < heads; ++h) {
    float* low = x + h * head_dim;
    float* high = low + half;
    std::int64_t i = 0;
    for (; i + kLanes <= rotated_pairs; i += kLanes) {
      const Floats a = load<Floats>(low + i), b = load<Floats>(high + i), c = load<Floats>(cos + i),
                   s = load<Floats>(sin + i);
      store(low + i, a * c - b * s);
      store(high + i, b * c + a * s);
    }
    for (; i < rotated_pairs; ++i) {
      const float a = low[i], b = high[i];
      low[i] = a * cos[i] - b * sin[i];
      high[i] = b * cos[i] + a * sin[i];
    }
  }
}

// gelu_tanh(x) = x / (1 + exp(-2 sqrt(2/pi) (x + 0.044715 x^3))), the same function without the cancellation of 1 +
// tanh.
inline Floats gelu_tanh(Floats x) {
  const Floats inner = x + x * x * x * 0.044715F;
  return x / (exp_lanes(inner * -1.5957691216057308F) + 1.0F);
}
inline Floats softcapped(Floats x, float cap, float inverse) {
  const Floats e = exp_lanes(x * (2.0F * inverse));  // tanh(y) = 1 - 2 / (e^2y + 1)
  return (splat(1.0F) - 2.0F / (e + 1.0F)) * cap;
}

void gelu_tanh_mul_row(const float* gate, const float* up, std::int64_t count, float* out) {
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(out + i, gelu_tanh(load<Floats>(gate + i)) * load<Floats>(up + i));
  if (i < count) {
    float g[kLanes], u[kLanes];
    load_tail(gate + i, count - i, g);
    load_tail(up + i, count - i, u);
    store(g, gelu_tanh(load<Floats>(g)) * load<Floats>(u));
    for (std::int64_t j = 0; i + j < count; ++j) out[i + j] = g[j];
  }
}

// x * sigmoid(gate): silu where both are the same, a gated linear unit where they are halves of a row.
inline Floats sigmoid_gated(Floats x, Floats gate) { return x / (exp_lanes(-gate) + 1.0F); }
void sigmoid_mul_row(const float* x, const float* gate, std::int64_t count, float* out) {
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(out + i, sigmoid_gated(load<Floats>(x + i), load<Floats>(gate + i)));
  if (i < count) {
    float v[kLanes], g[kLanes];
    load_tail(x + i, count - i, v);
    load_tail(gate + i, count - i, g);
    store(v, sigmoid_gated(load<Floats>(v), load<Floats>(g)));
    for (std::int64_t j = 0; i + j < count; ++j) out[i + j] = v[j];
  }
}

void softcap_row(float* x, std::int64_t count, float cap) {
  const float inverse = 1.0F / cap;
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(x + i, softcapped(load<Floats>(x + i), cap, inverse));
  if (i < count) {
    float t[kLanes];
    load_tail(x + i, count - i, t);
    store(t, softcapped(load<Floats>(t), cap, inverse));
    for (std::int64_t j = 0; i + j < count; ++j) x[i + j] = t[j];
  }
}

void clamp_row(const float* x, std::int64_t count, float low, float high, float* out) {
  const Floats lowest = splat(low), highest = splat(high);
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const Floats v = load<Floats>(x + i), above = v < lowest ? lowest : v;
    store(out + i, above > highest ? highest : above);
  }
  for (; i < count; ++i) {
    const float above = x[i] < low ? low : x[i];
    out[i] = above > high ? high : above;
  }
}

bool all_finite_row(const float* x, std::int64_t count) {
  Bits bad{};
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    bad |= (Bits)((as_bits(load<Floats>(x + i)) & 0x7F800000U) == 0x7F800000U);
  }
  std::uint32_t any = 0;
  for (int lane = 0; lane < kLanes; ++lane) any |= bad[lane];
  for (; i < count; ++i) {
    std::uint32_t u;
    __builtin_memcpy(&u, x + i, 4);
    any |= static_cast<std::uint32_t>((u & 0x7F800000U) == 0x7F800000U);
  }
  return any == 0;
}

void quantise_row_8bit(const float* x, std::int64_t in, std::int64_t padded, std::int8_t* q, float* scale, float* sum,
                       float* half_sum, float* total, float* half_total) {
  for (std::int64_t b = 0; b < padded / 32; ++b) {
    float tail[32];
    const bool all = b * 32 + 32 <= in;
    if (!all) {
      for (std::int64_t i = 0; i < 32; ++i) tail[i] = b * 32 + i < in ? x[b * 32 + i] : 0.0F;
    }
    const float* v = all ? x + b * 32 : tail;
    Floats largest_lanes{};
    for (std::int64_t i = 0; i < 32; i += kLanes) largest_lanes = larger_magnitude(largest_lanes, load<Floats>(v + i));
    // A NaN or infinity becomes the scale, so that every product of the block shows it.
    const float largest = largest_lane(largest_lanes);
    // Below 2^-119 the factor would be infinite: such a block counts as zeros.
    const float inverse = largest > 0x1p-119F ? 127.0F / largest : 0.0F;
    const float d = largest / 127.0F;
    const Floats magic = splat(12582912.0F);
    [[maybe_unused]] std::int32_t ints[32];
    Floats half[2] = {};  // sums of at most 32 small whole numbers are exact in f32
    for (std::int64_t i = 0; i < 32; i += kLanes) {
      const Floats rounded = (load<Floats>(v + i) * inverse + magic) - magic;
      const Ints whole = __builtin_convertvector(rounded, Ints);
      if constexpr (kLanes == 16) {
        store(q + b * 32 + i, __builtin_convertvector(whole, Bytes));  // one instruction, where vectors are as wide
      } else {
        store(ints + i, whole);
      }
      half[i / 16] += rounded;
    }
    if constexpr (kLanes < 16) {
      for (int i = 0; i < 32; ++i) q[b * 32 + i] = static_cast<std::int8_t>(ints[i]);
    }
    const float slo = sum_lanes(half[0]), shi = sum_lanes(half[1]);
    scale[b] = d;
    total[b] = slo + shi;
    half_total[2 * b] = slo;
    half_total[2 * b + 1] = shi;
    half_sum[2 * b] = d * slo;
    half_sum[2 * b + 1] = d * shi;
    sum[b] = d * (slo + shi);
  }
}

void local_attention_row(const LocalAttention& a, std::int64_t t, float* scores) {
  const std::int64_t width = a.heads * a.head_dim, seen = t + 1 < a.seen ? t + 1 : a.seen;
  for (std::int64_t h = 0; h < a.heads; ++h) {
    const std::int64_t at = t * width + h * a.head_dim;
    for (std::int64_t d = 0; d < seen; ++d) {
      const float *key = a.k + at - d * width, *distance = a.relative + d * width + h * a.head_dim;
      Floats content{}, place{};
      for (std::int64_t i = 0; i < a.head_dim; i += kLanes) {
        const std::int64_t n = a.head_dim - i;
        const Floats q = load_rows(a.q + at + i, n);
        content += q * load_rows(key + i, n);
        place += q * load_rows(distance + i, n);
      }
      scores[d] = sum_lanes(content + place);
    }
    softcap_row(scores, seen, a.cap);
    float largest = scores[0];
    for (std::int64_t d = 1; d < seen; ++d) largest = scores[d] > largest ? scores[d] : largest;
    Floats totals{};
    for (std::int64_t d = 0; d < seen; d += kLanes) {
      float part[kLanes];
      for (std::int64_t i = 0; i < kLanes; ++i) part[i] = d + i < seen ? scores[d + i] - largest : -1000.0F;
      const Floats e = exp_below(load<Floats>(part));
      totals += e;
      store_rows(scores + d, e, seen - d);
    }
    const float share = 1.0F / sum_lanes(totals);
    for (std::int64_t i = 0; i < a.head_dim; i += kLanes) {
      const std::int64_t n = a.head_dim - i;
      Floats sum{};
      for (std::int64_t d = 0; d < seen; ++d) sum += load_rows(a.v + at - d * width + i, n) * scores[d];
      store_rows(a.q + at + i, sum * share, n);
    }
  }
}

std::int64_t busy_float_rows(std::int64_t rounds, float* sink) {
  constexpr int kChains = 10;
  Floats sum[kChains];
  for (int i = 0; i < kChains; ++i) sum[i] = splat(static_cast<float>(i));  // all different, or one would do
  const Floats factor = splat(0.999F);
  const Floats more = load<Floats>(sink);
  for (std::int64_t i = 0; i < rounds; ++i) {
    for (Floats& s : sum) s = s * factor + more;
  }
  for (int i = 1; i < kChains; ++i) sum[0] += sum[i];
  store(sink, sum[0]);
  return rounds * kChains * kLanes;
}

// Everything above as a table; ISA folders add their matrix kernels to it.
constexpr KernelTable vector_rows_table(const char* name) {
  KernelTable table;
  table.name = name;
  table.tile_rows = kPanelRows;
  table.busy_float = busy_float_rows;
  table.quantise_row = quantise_row_8bit;
  table.rms_norm = rms_norm_row;
  table.add_rms_norm = add_rms_norm_row;
  table.rope = rope_row;
  table.gelu_tanh_mul = gelu_tanh_mul_row;
  table.sigmoid_mul = sigmoid_mul_row;
  table.softcap = softcap_row;
  table.clamp = clamp_row;
  table.all_finite = all_finite_row;
  table.local_attention = local_attention_row;
  return table;
}

}  // namespace
}  // namespace carat::kernels
