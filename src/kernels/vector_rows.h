// Row operations, float matmul tiles and attention, written once over 16-lane compiler vectors and compiled by every ISA
// table with its own flags. Everything lies in an anonymous namespace: each table has its own copy, none can be mixed up by
// the linker. A row's result depends on the row alone: lanes and their final order of addition are fixed.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/abi.h"

namespace carat::kernels {
namespace {

using F16 = float __attribute__((vector_size(64)));
using I16 = std::int32_t __attribute__((vector_size(64)));
using U16 = std::uint32_t __attribute__((vector_size(64)));
using H16 = std::uint16_t __attribute__((vector_size(32)));
constexpr std::int64_t kLanes = 16;
constexpr std::int64_t kPrefetchBytes = 6144;

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
inline F16 splat(float x) { return F16{} + x; }
inline F16 as_float(U16 v) {
  F16 f;
  __builtin_memcpy(&f, &v, sizeof f);
  return f;
}
inline U16 as_bits(F16 v) {
  U16 u;
  __builtin_memcpy(&u, &v, sizeof u);
  return u;
}
// Lanes are joined as a tree, always the same one: 8 apart, then 4, 2, 1.
template <typename Join>
inline float join_lanes(F16 v, Join join) {
  v = join(v, __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));
  v = join(v, __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11));
  v = join(v, __builtin_shufflevector(v, v, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13));
  v = join(v, __builtin_shufflevector(v, v, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14));
  return v[0];
}
inline float sum_lanes(F16 v) {
  return join_lanes(v, [](F16 a, F16 b) { return a + b; });
}
// The largest magnitude; NaN if any lane is one: without their sign bits floats order like whole numbers, NaN last.
inline float largest_magnitude(F16 a, F16 b) {
  const U16 x = as_bits(a) & 0x7FFFFFFFU, y = as_bits(b) & 0x7FFFFFFFU;
  return join_lanes(as_float(x > y ? x : y), [](F16 u, F16 v) { return as_float(as_bits(u) > as_bits(v) ? as_bits(u) : as_bits(v)); });
}
// The first n < 16 values, zeros behind them.
template <typename T>
inline void load_tail(const T* p, std::int64_t n, T* out) {
  for (std::int64_t i = 0; i < kLanes; ++i) out[i] = i < n ? p[i] : T{};
}

// --- 16-bit floats ---

inline F16 bf16_to_f32(H16 h) { return as_float(__builtin_convertvector(h, U16) << 16); }
// Exact for normals, subnormals, infinities and NaN: shift the 15 bits into place, rescale the exponent by 2^112.
inline F16 f16_to_f32(H16 h) {
  const U16 bits = __builtin_convertvector(h, U16);
  const U16 magnitude = (bits & 0x7FFFU) << 13;
  const F16 scaled = as_float(magnitude) * 0x1.0p112F;
  const U16 special = (U16)((bits & 0x7C00U) == 0x7C00U);  // all ones where infinite or NaN
  const U16 value = (as_bits(scaled) & ~special) | ((magnitude | 0x7F800000U) & special);
  return as_float(value | ((bits & 0x8000U) << 16));
}
inline std::uint16_t f32_to_bf16_bits(float x) {
  std::uint32_t u;
  __builtin_memcpy(&u, &x, 4);
  if ((u & 0x7FFFFFFFU) > 0x7F800000U) return static_cast<std::uint16_t>((u >> 16) | 0x40U);  // NaN stays NaN
  return static_cast<std::uint16_t>((u + 0x7FFFU + ((u >> 16) & 1U)) >> 16);
}
inline std::uint16_t f32_to_f16_bits(float x) {
  std::uint32_t u;
  __builtin_memcpy(&u, &x, 4);
  const std::uint32_t sign = (u >> 16) & 0x8000U, a = u & 0x7FFFFFFFU;
  if (a > 0x7F800000U) return static_cast<std::uint16_t>(sign | 0x7E00U);
  if (a >= 0x47800000U - 0x1000U) return static_cast<std::uint16_t>(sign | 0x7C00U);  // rounds to infinity
  if (a < 0x38800000U) {  // subnormal or zero: adding 0.5 puts the rounded value into the low bits
    float f;
    __builtin_memcpy(&f, &a, 4);
    f += 0.5F;
    std::uint32_t r;
    __builtin_memcpy(&r, &f, 4);
    return static_cast<std::uint16_t>(sign | (r - 0x3F000000U));
  }
  return static_cast<std::uint16_t>(sign | ((a - 0x38000000U + 0xFFFU + ((a >> 13) & 1U)) >> 13));
}

// Element types of weights and caches: how 16 of them become floats.
struct ElementF32 {
  using Stored = float;
  static F16 read(const Stored* p) { return load<F16>(p); }
  static Stored write(float x) { return x; }
};
struct ElementF16 {
  using Stored = std::uint16_t;
  static F16 read(const Stored* p) { return f16_to_f32(load<H16>(p)); }
  static Stored write(float x) { return f32_to_f16_bits(x); }
};
struct ElementBf16 {
  using Stored = std::uint16_t;
  static F16 read(const Stored* p) { return bf16_to_f32(load<H16>(p)); }
  static Stored write(float x) { return f32_to_bf16_bits(x); }
};

// --- exp ---

// e^x, relative error below 2e-7: x = n ln 2 + r, a polynomial of degree 6 in r, and n added to the exponent. Below -87
// the result is 0, above 88 it stays at e^88; NaN stays NaN.
inline F16 exp16(F16 x) {
  const F16 original = x;
  const F16 low = splat(-87.0F), high = splat(88.0F);
  const I16 tiny = x < low;
  x = x > high ? high : x;
  x = x < low ? low : x;
  const F16 magic = splat(12582912.0F);  // 1.5 * 2^23: adding it rounds to an integer in the low bits
  const F16 shifted = x * 1.44269504088896341F + magic;
  const F16 n = shifted - magic;
  const F16 r = (x - n * 0.693359375F) - n * -2.12194440e-4F;
  F16 p = splat(1.0F / 720.0F);
  p = p * r + 1.0F / 120.0F;
  p = p * r + 1.0F / 24.0F;
  p = p * r + 1.0F / 6.0F;
  p = p * r + 0.5F;
  p = p * r + 1.0F;
  p = p * r + 1.0F;
  const U16 exponent = as_bits(shifted) << 23;  // n in the low bits of `shifted`, moved to the exponent field
  const F16 result = as_float(as_bits(p) + exponent);
  const F16 cut = as_float(as_bits(result) & ~(U16)tiny);
  return original == original ? cut : original;
}

// --- rows ---

inline float mean_square(const float* x, std::int64_t width) {
  F16 a{}, b{};
  std::int64_t i = 0;
  for (; i + 2 * kLanes <= width; i += 2 * kLanes) {
    const F16 u = load<F16>(x + i), v = load<F16>(x + i + kLanes);
    a += u * u;
    b += v * v;
  }
  for (; i < width; i += kLanes) {
    float tail[kLanes];
    load_tail(x + i, width - i, tail);
    const F16 u = load<F16>(tail);
    a += u * u;
  }
  return sum_lanes(a + b) / static_cast<float>(width);
}

template <bool Add>
inline void norm_row(const float* x, std::int64_t width, const float* weight, float eps, float* y) {
  const float factor = 1.0F / __builtin_sqrtf(mean_square(x, width) + eps);
  std::int64_t i = 0;
  for (; i + kLanes <= width; i += kLanes) {
    F16 v = load<F16>(x + i) * factor;
    if (weight != nullptr) v *= load<F16>(weight + i);
    if constexpr (Add) v += load<F16>(y + i);
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
      const F16 a = load<F16>(low + i), b = load<F16>(high + i), c = load<F16>(cos + i), s = load<F16>(sin + i);
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

// gelu_tanh(x) = x / (1 + exp(-2 sqrt(2/pi) (x + 0.044715 x^3))), the same function without the cancellation of 1 + tanh.
inline F16 gelu_tanh(F16 x) {
  const F16 inner = x + x * x * x * 0.044715F;
  return x / (exp16(inner * -1.5957691216057308F) + 1.0F);
}
inline F16 softcapped(F16 x, float cap, float inverse) {
  const F16 e = exp16(x * (2.0F * inverse));  // tanh(y) = 1 - 2 / (e^2y + 1)
  return (splat(1.0F) - 2.0F / (e + 1.0F)) * cap;
}

void gelu_tanh_mul_row(const float* gate, const float* up, std::int64_t count, float* out) {
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(out + i, gelu_tanh(load<F16>(gate + i)) * load<F16>(up + i));
  if (i < count) {
    float g[kLanes], u[kLanes];
    load_tail(gate + i, count - i, g);
    load_tail(up + i, count - i, u);
    store(g, gelu_tanh(load<F16>(g)) * load<F16>(u));
    for (std::int64_t j = 0; i + j < count; ++j) out[i + j] = g[j];
  }
}

void softcap_row(float* x, std::int64_t count, float cap) {
  const float inverse = 1.0F / cap;
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(x + i, softcapped(load<F16>(x + i), cap, inverse));
  if (i < count) {
    float t[kLanes];
    load_tail(x + i, count - i, t);
    store(t, softcapped(load<F16>(t), cap, inverse));
    for (std::int64_t j = 0; i + j < count; ++j) x[i + j] = t[j];
  }
}

bool all_finite_row(const float* x, std::int64_t count) {
  U16 bad{};
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    bad |= (U16)((as_bits(load<F16>(x + i)) & 0x7F800000U) == 0x7F800000U);
  }
  std::uint32_t any = 0;
  for (int lane = 0; lane < 16; ++lane) any |= bad[lane];
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
    float v[32];
    for (std::int64_t i = 0; i < 32; ++i) v[i] = b * 32 + i < in ? x[b * 32 + i] : 0.0F;
    const F16 lo = load<F16>(v), hi = load<F16>(v + kLanes);
    // A NaN or infinity becomes the scale, so that every product of the block shows it.
    const float largest = largest_magnitude(lo, hi);
    const float inverse = largest > 0 ? 127.0F / largest : 0.0F;
    const float d = largest / 127.0F;
    const F16 magic = splat(12582912.0F);
    const I16 qlo = __builtin_convertvector((lo * inverse + magic) - magic, I16);
    const I16 qhi = __builtin_convertvector((hi * inverse + magic) - magic, I16);
    std::int32_t ints[32];
    store(ints, qlo);
    store(ints + kLanes, qhi);
    for (int i = 0; i < 32; ++i) q[b * 32 + i] = static_cast<std::int8_t>(ints[i]);
    // Sums of at most 32 small whole numbers are exact in f32.
    const float slo = sum_lanes(__builtin_convertvector(qlo, F16)), shi = sum_lanes(__builtin_convertvector(qhi, F16));
    scale[b] = d;
    total[b] = slo + shi;
    half_total[2 * b] = slo;
    half_total[2 * b + 1] = shi;
    half_sum[2 * b] = d * slo;
    half_sum[2 * b + 1] = d * shi;
    sum[b] = d * (slo + shi);
  }
}

// --- float matmul ---

// Decoding streams each weight once. The hardware's prefetchers stop at page borders; asking for what comes some pages
// later keeps the stream going. Past the end of a mapping the request is ignored.
inline void prefetch(const void* p) { __builtin_prefetch(static_cast<const std::uint8_t*>(p) + kPrefetchBytes, 0, 2); }

// Rows x tokens register tile over the whole width; two accumulators per result, added at the end.
template <typename Element, int Rows, int Tokens>
inline void float_block(const MatmulTile& tile, std::int64_t row, std::int64_t token) {
  using Stored = typename Element::Stored;
  const Stored* w[Rows];
  const float* x[Tokens];
  for (int r = 0; r < Rows; ++r) {
    w[r] = reinterpret_cast<const Stored*>(tile.weights + (row + r) * tile.weight_row_bytes);
  }
  for (int t = 0; t < Tokens; ++t) x[t] = tile.x + (token + t) * tile.in;
  F16 even[Rows][Tokens] = {}, odd[Rows][Tokens] = {};
  std::int64_t i = 0;
  for (; i + 2 * kLanes <= tile.in; i += 2 * kLanes) {
    F16 a[Rows], b[Rows];
    for (int r = 0; r < Rows; ++r) {
      if constexpr (Tokens == 1) prefetch(w[r] + i);
      a[r] = Element::read(w[r] + i);
      b[r] = Element::read(w[r] + i + kLanes);
    }
    for (int t = 0; t < Tokens; ++t) {
      const F16 u = load<F16>(x[t] + i), v = load<F16>(x[t] + i + kLanes);
      for (int r = 0; r < Rows; ++r) {
        even[r][t] += a[r] * u;
        odd[r][t] += b[r] * v;
      }
    }
  }
  for (; i < tile.in; i += kLanes) {
    const std::int64_t n = tile.in - i < kLanes ? tile.in - i : kLanes;
    for (int r = 0; r < Rows; ++r) {
      Stored part[kLanes];
      load_tail(w[r] + i, n, part);
      const F16 a = Element::read(part);
      for (int t = 0; t < Tokens; ++t) {
        float tail[kLanes];
        load_tail(x[t] + i, n, tail);
        even[r][t] += a * load<F16>(tail);
      }
    }
  }
  for (int t = 0; t < Tokens; ++t) {
    for (int r = 0; r < Rows; ++r) {
      tile.out[(token + t) * tile.out_stride + row + r] = sum_lanes(even[r][t] + odd[r][t]);
    }
  }
}

template <typename Element>
void float_tile(const MatmulTile& tile) {
  std::int64_t t = 0;
  for (; t + 4 <= tile.tokens; t += 4) {
    std::int64_t r = 0;
    for (; r + 2 <= tile.rows; r += 2) float_block<Element, 2, 4>(tile, r, t);
    for (; r < tile.rows; ++r) float_block<Element, 1, 4>(tile, r, t);
  }
  for (; t < tile.tokens; ++t) {
    std::int64_t r = 0;
    for (; r + 4 <= tile.rows; r += 4) float_block<Element, 4, 1>(tile, r, t);
    for (; r < tile.rows; ++r) float_block<Element, 1, 1>(tile, r, t);
  }
}

// --- attention ---

template <typename Element>
void store_row(const float* x, std::int64_t count, std::uint8_t* out) {
  auto* to = reinterpret_cast<typename Element::Stored*>(out);
  for (std::int64_t i = 0; i < count; ++i) to[i] = Element::write(x[i]);
}

template <typename Element>
inline void read_rows(const std::uint8_t* base, std::int64_t slots, std::int64_t begin, std::int64_t end,
                      std::int64_t dim, float* out) {
  using Stored = typename Element::Stored;
  for (std::int64_t p = begin; p < end; ++p, out += dim) {
    const auto* from = reinterpret_cast<const Stored*>(base) + p % slots * dim;
    std::int64_t i = 0;
    for (; i + kLanes <= dim; i += kLanes) store(out + i, Element::read(from + i));
    if (i < dim) {
      Stored part[kLanes];
      float tail[kLanes];
      load_tail(from + i, dim - i, part);
      store(tail, Element::read(part));
      for (std::int64_t j = 0; i + j < dim; ++j) out[i + j] = tail[j];
    }
  }
}

inline float dot(const float* a, const float* b, std::int64_t count) {
  F16 even{}, odd{};
  std::int64_t i = 0;
  for (; i + 2 * kLanes <= count; i += 2 * kLanes) {
    even += load<F16>(a + i) * load<F16>(b + i);
    odd += load<F16>(a + i + kLanes) * load<F16>(b + i + kLanes);
  }
  for (; i < count; i += kLanes) {
    const std::int64_t n = count - i < kLanes ? count - i : kLanes;
    float u[kLanes], v[kLanes];
    load_tail(a + i, n, u);
    load_tail(b + i, n, v);
    even += load<F16>(u) * load<F16>(v);
  }
  return sum_lanes(even + odd);
}

inline void scale_row(float* x, std::int64_t count, float factor) {
  for (std::int64_t i = 0; i < count; ++i) x[i] *= factor;
}
inline void add_scaled_row(float* x, const float* y, std::int64_t count, float factor) {
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(x + i, load<F16>(x + i) + load<F16>(y + i) * factor);
  for (; i < count; ++i) x[i] += y[i] * factor;
}

// Online softmax over blocks of 32 positions that start at multiples of 32, whatever range a row sees, so that the order
// of every addition is a matter of positions alone.
template <typename Element>
void attention_tile(const AttentionTile& a) {
  constexpr std::int64_t kBlock = 32;
  const std::int64_t heads = a.heads, dim = a.head_dim;
  float* out = a.scratch;               // [heads][dim]
  float* scores = out + heads * dim;    // [heads][kBlock]
  float* top = scores + heads * kBlock; // [heads]
  float* denominator = top + heads;     // [heads]
  float* rows = denominator + 2 * heads;  // [kBlock][dim] keys, then values
  for (std::int64_t h = 0; h < heads; ++h) {
    top[h] = -__builtin_inff();
    denominator[h] = 0;
  }
  for (std::int64_t i = 0; i < heads * dim; ++i) out[i] = 0;
  for (std::int64_t block = a.key_begin / kBlock * kBlock; block < a.key_end; block += kBlock) {
    const std::int64_t begin = block > a.key_begin ? block : a.key_begin;
    const std::int64_t end = block + kBlock < a.key_end ? block + kBlock : a.key_end;
    read_rows<Element>(a.keys, a.slots, begin, end, dim, rows);
    for (std::int64_t h = 0; h < heads; ++h) {
      float* s = scores + h * kBlock;
      float largest = top[h];
      for (std::int64_t i = 0; i < kBlock; ++i) s[i] = -__builtin_inff();
      for (std::int64_t p = begin; p < end; ++p) {
        const float score = dot(a.q + h * dim, rows + (p - begin) * dim, dim) * a.scale;
        s[p - block] = score;
        largest = score > largest ? score : largest;
      }
      float shrink[kLanes] = {};
      shrink[0] = top[h] - largest;
      store(shrink, exp16(load<F16>(shrink)));
      const F16 lo = exp16(load<F16>(s) - largest), hi = exp16(load<F16>(s + kLanes) - largest);
      store(s, lo);
      store(s + kLanes, hi);
      const float factor = top[h] == largest ? 1.0F : shrink[0];
      denominator[h] = denominator[h] * factor + sum_lanes(lo + hi);
      top[h] = largest;
      if (factor != 1.0F) scale_row(out + h * dim, dim, factor);
    }
    read_rows<Element>(a.values, a.slots, begin, end, dim, rows);
    for (std::int64_t h = 0; h < heads; ++h) {
      for (std::int64_t p = begin; p < end; ++p) {
        add_scaled_row(out + h * dim, rows + (p - begin) * dim, dim, scores[h * kBlock + p - block]);
      }
    }
  }
  for (std::int64_t h = 0; h < heads; ++h) {
    const float inverse = 1.0F / denominator[h];
    for (std::int64_t i = 0; i < dim; ++i) a.out[h * dim + i] = out[h * dim + i] * inverse;
  }
}

// Everything above as a table; ISA folders add their integer kernels to it.
constexpr KernelTable vector_rows_table(const char* name) {
  KernelTable table;
  table.name = name;
  table.matmul[0] = float_tile<ElementF32>;  // tensor::DType::f32, f16, bf16
  table.matmul[1] = float_tile<ElementF16>;
  table.matmul[2] = float_tile<ElementBf16>;
  table.quantise_row = quantise_row_8bit;
  table.rms_norm = rms_norm_row;
  table.add_rms_norm = add_rms_norm_row;
  table.rope = rope_row;
  table.gelu_tanh_mul = gelu_tanh_mul_row;
  table.softcap = softcap_row;
  table.all_finite = all_finite_row;
  table.attention[0] = attention_tile<ElementF32>;
  table.attention[1] = attention_tile<ElementF16>;
  table.attention[2] = attention_tile<ElementBf16>;
  table.store[0] = store_row<ElementF32>;
  table.store[1] = store_row<ElementF16>;
  table.store[2] = store_row<ElementBf16>;
  return table;
}

}  // namespace
}  // namespace carat::kernels
