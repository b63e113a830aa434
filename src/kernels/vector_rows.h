// Row operations, float matmul tiles and attention, written once over compiler vectors as wide as the ISA's registers
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
  if constexpr (sizeof(V) > 16) {
    typename VectorOf<sizeof(V) / 2>::Floats low, high;
    __builtin_memcpy(&low, &v, sizeof low);
    __builtin_memcpy(&high, reinterpret_cast<const char*>(&v) + sizeof low, sizeof high);
    return join_lanes(join(low, high), join);
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

// e^x, relative error below 2e-7: x = n ln 2 + r, a polynomial of degree 6 in r, and n added to the exponent. Below -87
// the result is 0, above 88 it stays at e^88; NaN stays NaN.
inline Floats exp_lanes(Floats x) {
  const Floats original = x;
  const Floats low = splat(-87.0F), high = splat(88.0F);
  const Ints tiny = x < low;
  x = x > high ? high : x;
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
  const Floats result = as_float(as_bits(p) + exponent);
  const Floats cut = as_float(as_bits(result) & ~(Bits)tiny);
  return original == original ? cut : original;
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
    float v[32];
    for (std::int64_t i = 0; i < 32; ++i) v[i] = b * 32 + i < in ? x[b * 32 + i] : 0.0F;
    Floats largest_lanes{};
    for (std::int64_t i = 0; i < 32; i += kLanes) largest_lanes = larger_magnitude(largest_lanes, load<Floats>(v + i));
    // A NaN or infinity becomes the scale, so that every product of the block shows it.
    const float largest = largest_lane(largest_lanes);
    // Below 2^-119 the factor would be infinite: such a block counts as zeros.
    const float inverse = largest > 0x1p-119F ? 127.0F / largest : 0.0F;
    const float d = largest / 127.0F;
    const Floats magic = splat(12582912.0F);
    std::int32_t ints[32];
    Floats half[2] = {};  // sums of at most 32 small whole numbers are exact in f32
    for (std::int64_t i = 0; i < 32; i += kLanes) {
      const Floats rounded = (load<Floats>(v + i) * inverse + magic) - magic;
      store(ints + i, __builtin_convertvector(rounded, Ints));
      half[i / 16] += rounded;
    }
    for (int i = 0; i < 32; ++i) q[b * 32 + i] = static_cast<std::int8_t>(ints[i]);
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

// --- attention ---

// Cache elements that are integers with scales; see kKeyBlock.
struct ElementQ8 {
  using Stored = std::int8_t;
  using Bytes = std::int8_t __attribute__((vector_size(kLanes)));
  static Floats read(const Stored* p) {
    return __builtin_convertvector(__builtin_convertvector(load<Bytes>(p), Ints), Floats);
  }
  static constexpr std::int64_t kScaled = kKeyBlock;  ///< dimensions of a position that share a scale
};
template <typename Element>
concept Scaled = (Element::kScaled > 0);

template <typename Element>
constexpr std::int64_t block_bytes(std::int64_t dim) {
  std::int64_t bytes = kKeyBlock * dim * static_cast<std::int64_t>(sizeof(typename Element::Stored));
  if constexpr (Scaled<Element>) bytes += (dim + Element::kScaled - 1) / Element::kScaled * kKeyBlock * 2;
  return bytes;
}

// Where elements stand in a block: position p's key at key_at + i * kStrip, its value's columns from `column` on at
// value_at + i within their strip.
inline std::int64_t key_at(std::int64_t dim, std::int64_t p) { return p / kStrip * kStrip * dim + p % kStrip; }
inline std::int64_t strip_width(std::int64_t dim, std::int64_t column) {
  const std::int64_t left = dim - column / kStrip * kStrip;
  return left < kStrip ? left : kStrip;
}
inline std::int64_t value_at(std::int64_t dim, std::int64_t p, std::int64_t column) {
  return column / kStrip * kStrip * kKeyBlock + p * strip_width(dim, column) + column % kStrip;
}
inline const std::uint16_t* scales_of(const std::uint8_t* block, std::int64_t dim) {
  return reinterpret_cast<const std::uint16_t*>(block + kKeyBlock * dim);
}

// x[i] of one position, kLanes at a time or fewer at the end, each given to put(i, value).
template <typename Element, typename Put>
inline void store_position(const float* x, std::int64_t dim, const Put& put) {
  for (std::int64_t i = 0; i < dim; i += kLanes) {
    const std::int64_t n = dim - i < kLanes ? dim - i : kLanes;
    float lanes[kLanes];
    typename Element::Stored part[kLanes];
    load_tail(x + i, n, lanes);
    store(part, Element::write(load<Floats>(lanes)));
    for (std::int64_t j = 0; j < n; ++j) put(i + j, part[j]);
  }
}
// Integers of -127 … 127 times an f16 scale, the largest magnitude / 127. A NaN or infinity becomes the scale.
template <Scaled Element, typename Put>
inline void store_position(const float* x, std::int64_t dim, const Put& put, std::uint16_t* scales) {
  for (std::int64_t first = 0; first < dim; first += Element::kScaled, scales += kKeyBlock) {
    const std::int64_t n = dim - first < Element::kScaled ? dim - first : Element::kScaled;
    float v[Element::kScaled];
    for (std::int64_t i = 0; i < Element::kScaled; ++i) v[i] = i < n ? x[first + i] : 0.0F;
    Floats largest{};
    for (std::int64_t i = 0; i < Element::kScaled; i += kLanes)
      largest = larger_magnitude(largest, load<Floats>(v + i));
    const Halves half = f32_to_f16(splat(largest_lane(largest) / 127.0F));
    *scales = half[0];
    // By the rounded scale; where that is so small that it lost bits, what does not fit is cut off.
    const float scale = f16_to_f32(half)[0], inverse = scale > 0 ? 1.0F / scale : 0.0F;
    const Floats magic = splat(12582912.0F), bound = splat(127.0F);
    for (std::int64_t i = 0; i < Element::kScaled; i += kLanes) {
      Floats q = (load<Floats>(v + i) * inverse + magic) - magic;
      q = q > bound ? bound : q;
      q = q < -bound ? -bound : q;
      std::int32_t ints[kLanes];
      store(ints, __builtin_convertvector(q, Ints));
      for (std::int64_t j = 0; j < kLanes && i + j < n; ++j) put(first + i + j, static_cast<std::int8_t>(ints[j]));
    }
  }
}
template <typename Element, typename Put>
inline void store_in_block(const float* x, std::int64_t dim, std::uint8_t* block, std::int64_t p, const Put& put) {
  if constexpr (Scaled<Element>)
    store_position<Element>(x, dim, put, const_cast<std::uint16_t*>(scales_of(block, dim)) + p);
  else
    store_position<Element>(x, dim, put);
}
template <typename Element>
void store_key(const float* x, std::int64_t dim, std::uint8_t* block, std::int64_t p) {
  auto* to = reinterpret_cast<typename Element::Stored*>(block) + key_at(dim, p);
  store_in_block<Element>(x, dim, block, p, [=](std::int64_t i, auto value) { to[i * kStrip] = value; });
}
template <typename Element>
void store_value(const float* x, std::int64_t dim, std::uint8_t* block, std::int64_t p) {
  auto* to = reinterpret_cast<typename Element::Stored*>(block);
  store_in_block<Element>(x, dim, block, p, [=](std::int64_t i, auto value) { to[value_at(dim, p, i)] = value; });
}

// kLanes positions' scales.
inline Floats read_scales(const std::uint16_t* p) { return f16_to_f32(load<Halves>(p)); }

// Scores of Rows query rows with the keys of one block: positions are lanes and no sum crosses them. Two vectors of
// positions at a time keep every sum in a register.
template <typename Element, int Rows>
inline void score_keys(const float* const (&q)[Rows], std::int64_t dim, float scale, const std::uint8_t* block,
                       float (&scores)[Rows][kKeyBlock]) {
  std::int64_t group = dim;  // dimensions added up before their scale is taken
  if constexpr (Scaled<Element>) group = Element::kScaled;
  for (std::int64_t v = 0; v < kKeyBlock; v += 2 * kLanes) {
    const auto* first = reinterpret_cast<const typename Element::Stored*>(block) + key_at(dim, v);
    const auto* second = reinterpret_cast<const typename Element::Stored*>(block) + key_at(dim, v + kLanes);
    Floats all[Rows][2] = {};
    for (std::int64_t from = 0; from < dim; from += group) {
      const std::int64_t to = from + group < dim ? from + group : dim;
      Floats sum[Rows][2] = {};
      for (std::int64_t i = from; i < to; ++i) {
        const Floats a = Element::read(first + i * kStrip), b = Element::read(second + i * kStrip);
        for (int r = 0; r < Rows; ++r) {
          const Floats x = splat(q[r][i]);
          sum[r][0] += a * x;
          sum[r][1] += b * x;
        }
      }
      if constexpr (Scaled<Element>) {
        const std::uint16_t* scales = scales_of(block, dim) + from / group * kKeyBlock + v;
        const Floats a = read_scales(scales), b = read_scales(scales + kLanes);
        for (int r = 0; r < Rows; ++r) {
          all[r][0] += sum[r][0] * a;
          all[r][1] += sum[r][1] * b;
        }
      } else {
        for (int r = 0; r < Rows; ++r) {
          all[r][0] = sum[r][0];
          all[r][1] = sum[r][1];
        }
      }
    }
    for (int r = 0; r < Rows; ++r) {
      store(scores[r] + v, all[r][0] * scale);
      store(scores[r] + v + kLanes, all[r][1] * scale);
    }
  }
}

// out[r] = out[r] * factor[r] + sum over positions of weight[r][p] * values[p] for the columns [from, to), positions in
// order.
template <typename Element, int Rows>
inline void add_columns(const float (&weight)[Rows][kKeyBlock], const float (&factor)[Rows], std::int64_t begin,
                        std::int64_t end, std::int64_t dim, std::int64_t from, std::int64_t to,
                        const typename Element::Stored* values, float* const (&out)[Rows]) {
  using Stored = typename Element::Stored;
  std::int64_t i = from;
  const auto columns = [&](auto vectors) {
    constexpr int kVectors = sizeof(vectors) / sizeof(Floats);
    Floats sum[Rows][kVectors];
    for (int r = 0; r < Rows; ++r) {
      for (int v = 0; v < kVectors; ++v) sum[r][v] = load<Floats>(out[r] + i + v * kLanes) * factor[r];
    }
    const Stored* strip[kVectors];
    for (int v = 0; v < kVectors; ++v) strip[v] = values + value_at(dim, 0, i + v * kLanes);
    const std::int64_t width = strip_width(dim, i);
    for (std::int64_t p = begin; p < end; ++p) {
      Floats value[kVectors];
      for (int v = 0; v < kVectors; ++v) value[v] = Element::read(strip[v] + p * width);
      for (int r = 0; r < Rows; ++r) {
        const Floats w = splat(weight[r][p]);
        for (int v = 0; v < kVectors; ++v) sum[r][v] += value[v] * w;
      }
    }
    for (int r = 0; r < Rows; ++r) {
      for (int v = 0; v < kVectors; ++v) store(out[r] + i + v * kLanes, sum[r][v]);
    }
    i += kVectors * kLanes;
  };
  struct Two {
    Floats v[2];
  };
  // Two vectors lie in strips of the same width: in one, or, where a vector is a strip, in two whole ones.
  while (i + 2 * kLanes <= to && strip_width(dim, i) == strip_width(dim, i + kLanes)) columns(Two{});
  while (i + kLanes <= to) columns(Floats{});
  if (i == to) return;
  Floats sum[Rows];
  for (int r = 0; r < Rows; ++r) {
    float tail[kLanes];
    load_tail(out[r] + i, to - i, tail);
    sum[r] = load<Floats>(tail) * factor[r];
  }
  for (std::int64_t p = begin; p < end; ++p) {
    Stored part[kLanes];
    load_tail(values + value_at(dim, p, i), to - i, part);
    for (int r = 0; r < Rows; ++r) sum[r] += Element::read(part) * weight[r][p];
  }
  for (int r = 0; r < Rows; ++r) {
    for (std::int64_t j = 0; i + j < to; ++j) out[r][i + j] = sum[r][j];
  }
}
template <typename Element, int Rows>
inline void add_values(const float (&weight)[Rows][kKeyBlock], const float (&factor)[Rows], std::int64_t begin,
                       std::int64_t end, std::int64_t dim, const std::uint8_t* block, float* const (&out)[Rows]) {
  const auto* values = reinterpret_cast<const typename Element::Stored*>(block);
  if constexpr (Scaled<Element>) {
    const auto* scales = scales_of(block, dim);
    for (std::int64_t i = 0; i < dim; i += Element::kScaled, scales += kKeyBlock) {
      float scaled[Rows][kKeyBlock];
      for (std::int64_t p = 0; p < kKeyBlock; p += kLanes) {
        const Floats s = read_scales(scales + p);
        for (int r = 0; r < Rows; ++r) store(scaled[r] + p, load<Floats>(weight[r] + p) * s);
      }
      add_columns<Element, Rows>(scaled, factor, begin, end, dim, i,
                                 i + Element::kScaled < dim ? i + Element::kScaled : dim, values, out);
    }
  } else {
    add_columns<Element, Rows>(weight, factor, begin, end, dim, 0, dim, values, out);
  }
}

/// What a row's softmax has seen so far.
struct Softmax {
  float largest = -__builtin_inff(), sum = 0;
};
// Scores of one block become weights; returns what the sums so far shrink by. Positions outside [begin, end) of the
// block get the weight 0, whatever their keys hold.
inline float softmax_step(Softmax& row, float (&scores)[kKeyBlock], std::int64_t begin, std::int64_t end) {
  if (begin >= end) {
    for (float& s : scores) s = 0;
    return 1.0F;
  }
  const Floats lowest = splat(-__builtin_inff());
  Floats tops = splat(row.largest);
  Ints position;
  for (int i = 0; i < kLanes; ++i) position[i] = i;
  for (std::int64_t p = 0; p < kKeyBlock; p += kLanes, position += static_cast<std::int32_t>(kLanes)) {
    const Ints seen = (position >= static_cast<std::int32_t>(begin)) & (position < static_cast<std::int32_t>(end));
    const Floats s = seen ? load<Floats>(scores + p) : lowest;
    store(scores + p, s);
    tops = s > tops ? s : tops;
  }
  const float largest = join_lanes(tops, [](auto a, auto b) { return a > b ? a : b; });
  const float shift = largest == -__builtin_inff() ? 0.0F : largest;  // all scores infinitely low, or NaN
  Floats sum{};
  for (std::int64_t p = 0; p < kKeyBlock; p += kLanes) {
    const Floats e = exp_lanes(load<Floats>(scores + p) - shift);
    store(scores + p, e);
    sum += e;
  }
  const float factor = row.largest == largest ? 1.0F : exp_lanes(splat(row.largest - shift))[0];
  row.sum = row.sum * factor + sum_lanes(sum);
  row.largest = largest;
  return factor;
}

// One block of keys and values for Rows rows of a tile from row `first` on. Row r is head r % heads of token r / heads.
template <typename Element, int Rows>
[[gnu::noinline]] void attend_block(const AttentionTile& a, std::int64_t first, std::int64_t block, Softmax* softmax) {
  const float* q[Rows];
  float* out[Rows];
  std::int64_t begin[Rows], end[Rows], low = kKeyBlock, high = 0;
  for (int r = 0; r < Rows; ++r) {
    const std::int64_t token = (first + r) / a.heads, at = token * a.token_stride + (first + r) % a.heads * a.head_dim;
    q[r] = a.q + at;
    out[r] = a.out + at;
    begin[r] = a.key_begin[token] > block ? a.key_begin[token] - block : 0;
    end[r] = a.key_end[token] < block + kKeyBlock ? a.key_end[token] - block : kKeyBlock;
    if (begin[r] >= end[r]) continue;
    low = begin[r] < low ? begin[r] : low;
    high = end[r] > high ? end[r] : high;
  }
  if (low >= high) return;
  const std::int64_t at = block % a.slots / kKeyBlock * block_bytes<Element>(a.head_dim);
  float scores[Rows][kKeyBlock], factor[Rows];
  score_keys<Element, Rows>(q, a.head_dim, a.scale, a.keys + at, scores);
  for (int r = 0; r < Rows; ++r) factor[r] = softmax_step(softmax[first + r], scores[r], begin[r], end[r]);
  add_values<Element, Rows>(scores, factor, low, high, a.head_dim, a.values + at, out);
}

// Online softmax over blocks of kKeyBlock positions that start at multiples of it, whatever range a row sees, so that
// the order of every addition is a matter of positions alone. A block is read once from memory for all rows of the
// tile.
template <typename Element>
void attention_tile(const AttentionTile& a) {
  const std::int64_t rows = a.tokens * a.heads, dim = a.head_dim;
  Softmax softmax[kAttentionRows];
  std::int64_t first = a.key_begin[0], last = a.key_end[0];
  for (std::int64_t t = 0; t < a.tokens; ++t) {
    first = a.key_begin[t] < first ? a.key_begin[t] : first;
    last = a.key_end[t] > last ? a.key_end[t] : last;
    for (std::int64_t i = 0; i < a.heads * dim; ++i) a.out[t * a.token_stride + i] = 0;
  }
  for (std::int64_t block = first / kKeyBlock * kKeyBlock; block < last; block += kKeyBlock) {
    // Six rows keep twelve chains of additions going, enough for any latency; eight go better as two fours.
    std::int64_t r = 0;
    for (; rows - r >= 6 && rows - r != 8; r += 6) attend_block<Element, 6>(a, r, block, softmax);
    for (; rows - r >= 4; r += 4) attend_block<Element, 4>(a, r, block, softmax);
    for (; rows - r >= 2; r += 2) attend_block<Element, 2>(a, r, block, softmax);
    if (r < rows) attend_block<Element, 1>(a, r, block, softmax);
  }
  for (std::int64_t r = 0; r < rows; ++r) {
    float* out = a.out + r / a.heads * a.token_stride + r % a.heads * dim;
    const float inverse = 1.0F / softmax[r].sum;
    for (std::int64_t i = 0; i < dim; ++i) out[i] *= inverse;
  }
}

void round_row_bf16(const float* x, std::int64_t in, std::int64_t padded, std::uint16_t* out) {
  std::int64_t i = 0;
  for (; i + kLanes <= in; i += kLanes) store(out + i, f32_to_bf16(load<Floats>(x + i)));
  for (; i < padded; i += kLanes) {
    float lanes[kLanes];
    load_tail(x + i, in - i, lanes);
    store(out + i, f32_to_bf16(load<Floats>(lanes)));
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

template <typename Element>
constexpr void add_cache_type(KernelTable& table, int type) {
  table.attention[type] = attention_tile<Element>;
  table.store_key[type] = store_key<Element>;
  table.store_value[type] = store_value<Element>;
}

// Everything above as a table; ISA folders add their matrix kernels to it.
constexpr KernelTable vector_rows_table(const char* name) {
  KernelTable table;
  table.name = name;
  table.tile_rows = kPanelRows;
  table.busy_float = busy_float_rows;
  table.quantise_row = quantise_row_8bit;
  table.round_row = round_row_bf16;
  table.rms_norm = rms_norm_row;
  table.add_rms_norm = add_rms_norm_row;
  table.rope = rope_row;
  table.gelu_tanh_mul = gelu_tanh_mul_row;
  table.sigmoid_mul = sigmoid_mul_row;
  table.softcap = softcap_row;
  table.all_finite = all_finite_row;
  add_cache_type<ElementF32>(table, 0);
  add_cache_type<ElementF16>(table, 1);
  add_cache_type<ElementBf16>(table, 2);
  add_cache_type<ElementQ8>(table, 3);
  return table;
}

}  // namespace
}  // namespace carat::kernels
