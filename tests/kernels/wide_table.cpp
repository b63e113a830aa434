// The kernels that every instruction set shares, over vectors of sixteen lanes as AVX-512 has them, with products in
// plain C++: what tests of a machine without AVX-512 can say about them. Unsigned weights times signed activations, as
// its dot product takes them.
#include "kernels/wide_table.h"

#include <cstdint>

#include "kernels/attention.h"
#include "kernels/bf16_matmul.h"
#include "kernels/float_matmul.h"
#include "kernels/quantised_matmul.h"
#include "kernels/vector_rows.h"

namespace carat::kernels {
namespace {

static_assert(kLanes == 16);

struct Plain {
  static constexpr int kTokens = 6, kFewTokens = 8;
  static constexpr bool kMultipliesPacked = true;
  static constexpr int kFloatTokens = 12, kPairTokens = 12;
  template <Integers Kind>
  static constexpr int zero = Kind == Integers::signed8 ? 128 : 0;
  template <Integers Kind>
  static Bits operand(Bits w) {
    return Kind == Integers::signed8 ? w ^ 0x80808080U : w;
  }
  static void transpose16(const std::uint8_t* const (&row)[16], std::int64_t at, Bits (&t)[4]) {
    for (int i = 0; i < 4; ++i) {
      std::uint32_t words[16];
      for (int r = 0; r < 16; ++r) __builtin_memcpy(words + r, row[r] + at + 4 * i, 4);
      t[i] = load<Bits>(words);
    }
  }
  static Floats halves(Halves h) { return f16_to_f32(h); }
  template <int Shift>
  static Bits fifth_bits(Bits lanes) {
    const Bits four = (lanes >> Shift) & 15U;
    return ((four & 1U) << 4) | ((four & 2U) << 11) | ((four & 4U) << 18) | ((four & 8U) << 25);
  }
  static Bits look_up(const std::int8_t (&book)[16], Bits codes) {
    std::uint8_t bytes[64];
    store(bytes, codes);
    for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(book[byte]);
    return load<Bits>(bytes);
  }
  static Floats multiply_add(Floats a, Floats b, Floats c) {
    for (int i = 0; i < 16; ++i) c[i] = __builtin_fmaf(a[i], b[i], c[i]);
    return c;
  }
  static Floats multiply_subtract(Floats a, Floats b, Floats c) { return multiply_add(Floats{} - a, b, c); }
  static void prefetch(const std::uint8_t*) {}
  static void prefetch_far(const std::uint8_t*) {}

  static Halves to_bf16(Floats v) { return f32_to_bf16(v); }
  static Floats add_pairs(Floats acc, Bits w, Bits x) {
    acc = multiply_add(as_float(w & 0xFFFF0000U), as_float(x & 0xFFFF0000U), acc);
    return multiply_add(as_float(w << 16), as_float(x << 16), acc);
  }
  static Ints dot(Ints sum, Bits w, Bits x) {
    std::uint8_t u[64];
    std::int8_t s[64];
    store(u, w);
    store(s, x);
    for (int i = 0; i < 64; ++i) sum[i / 4] += static_cast<std::int32_t>(u[i]) * static_cast<std::int32_t>(s[i]);
    return sum;
  }
  template <Integers Kind>
  static Ints add_products(Ints sum, Bits w0, Bits w1, Bits w2, Bits w3, const std::int8_t* x) {
    sum = dot(dot(sum, w0, word_at(x)), w1, word_at(x + 4));
    return dot(dot(sum, w2, word_at(x + 8)), w3, word_at(x + 12));
  }
  template <typename Format, int Tokens>
  static void sub_block(const Panel<Format>& panel, std::int64_t k, const std::int8_t* const (&x)[Tokens],
                        std::int64_t at, Ints (&sum)[Tokens][kGroups]) {
    dot_sub_block<Plain, Format, Tokens>(panel, k, x, at, sum);
  }
};

constexpr KernelTable make_table(bool bf16) {
  KernelTable table = vector_rows_table("wide");
  add_cache_types(table);
  table.matmul[0] = float_matmul_tile<Plain, FloatF32>;
  table.matmul[1] = float_matmul_tile<Plain, FloatF16>;
  table.matmul[2] = float_matmul_tile<Plain, FloatBf16>;
  add_quantised_types<Plain>(table);
  if (bf16) {
    add_bf16_products<Plain>(table);
    add_cache_type<PairWords<Plain>>(table, 2);
  }
  return table;
}

}  // namespace

KernelTable wide_table(bool bf16) { return make_table(bf16); }

}  // namespace carat::kernels
