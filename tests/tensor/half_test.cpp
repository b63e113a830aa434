// f16 and bf16 conversions against the definition of the formats, for every 16-bit pattern and for every rounding edge.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "tensor/tensor_view.h"

namespace carat::tensor {
namespace {

// The value of a 16-bit float with `mantissa_bits` mantissa bits, from the definition of the format, in double.
double value_of(std::uint16_t bits, int mantissa_bits, int bias) {
  const int exponent_max = (1 << (15 - mantissa_bits)) - 1;
  const int exponent = (bits & 0x7fff) >> mantissa_bits;
  const int mantissa = bits & ((1 << mantissa_bits) - 1);
  const double sign = (bits & 0x8000) != 0 ? -1 : 1;
  if (exponent == exponent_max) {
    return mantissa != 0 ? std::numeric_limits<double>::quiet_NaN() : sign * std::numeric_limits<double>::infinity();
  }
  if (exponent == 0) return sign * std::ldexp(mantissa, 1 - bias - mantissa_bits);
  return sign * std::ldexp(mantissa + (1 << mantissa_bits), exponent - bias - mantissa_bits);
}

template <typename ToF32, typename FromF32>
void check_format(int mantissa_bits, int bias, ToF32 to_f32, FromF32 from_f32) {
  for (std::uint32_t pattern = 0; pattern <= 0xffff; ++pattern) {
    const auto bits = static_cast<std::uint16_t>(pattern);
    const double expected = value_of(bits, mantissa_bits, bias);
    const float value = to_f32(bits);
    if (std::isnan(expected)) {
      ASSERT_TRUE(std::isnan(value)) << pattern;
      ASSERT_TRUE(std::isnan(to_f32(from_f32(value)))) << pattern;
      continue;
    }
    ASSERT_EQ(value, expected) << pattern;
    ASSERT_EQ(std::signbit(value), (pattern & 0x8000) != 0) << pattern;
    ASSERT_EQ(from_f32(value), bits) << pattern;
    if (std::isinf(value)) continue;

    // Around the midpoint to the next larger magnitude: below rounds down, above rounds up, a tie goes to the even one.
    // Past the largest value the "next" is infinity, which the formats treat as one more step.
    const auto next = static_cast<std::uint16_t>(bits + 1);
    const double step = std::abs(value_of(bits, mantissa_bits, bias)) -
                        std::abs(value_of(static_cast<std::uint16_t>(bits - 1), mantissa_bits, bias));
    const double above = std::isinf(value_of(next, mantissa_bits, bias)) ? expected + std::copysign(step, expected)
                                                                         : value_of(next, mantissa_bits, bias);
    const double midpoint = (expected + above) / 2;
    const auto middle = static_cast<float>(midpoint);
    if (static_cast<double>(middle) != midpoint) continue;  // below the smallest f32: cannot be given as an f32
    ASSERT_EQ(from_f32(middle), bits % 2 == 0 ? bits : next) << pattern;
    ASSERT_EQ(from_f32(std::nextafter(middle, static_cast<float>(expected))), bits) << pattern;
    const float larger = std::nextafter(middle, std::copysign(std::numeric_limits<float>::infinity(), value));
    ASSERT_EQ(from_f32(larger), next) << pattern;
  }
  EXPECT_TRUE(std::isnan(to_f32(from_f32(std::numeric_limits<float>::quiet_NaN()))));
  // A NaN whose payload lies in the dropped bits stays a NaN.
  EXPECT_TRUE(std::isnan(to_f32(from_f32(std::bit_cast<float>(0x7f800001u)))));
}

TEST(Half, F16AgreesWithTheDefinitionEverywhere) { check_format(10, 15, f16_to_f32, f32_to_f16); }

TEST(Half, Bf16AgreesWithTheDefinitionEverywhere) { check_format(7, 127, bf16_to_f32, f32_to_bf16); }

TEST(Half, F16OverflowsToInfinityFrom65520) {
  EXPECT_EQ(f32_to_f16(65504.0f), 0x7bff);
  EXPECT_EQ(f32_to_f16(65519.99f), 0x7bff);
  EXPECT_EQ(f32_to_f16(65520.0f), 0x7c00);
  EXPECT_EQ(f32_to_f16(-1e30f), 0xfc00);
  EXPECT_EQ(f32_to_f16(1e-30f), 0x0000);
  EXPECT_EQ(f32_to_f16(-1e-30f), 0x8000);
}

TEST(Half, Bf16RoundsEmbeddingScalesAsTheReferenceDoes) {
  // sqrt(hidden size) of the released models in bf16.
  EXPECT_EQ(bf16_to_f32(f32_to_bf16(std::sqrt(1536.0f))), 39.25f);
  EXPECT_EQ(bf16_to_f32(f32_to_bf16(std::sqrt(2560.0f))), 50.5f);
  EXPECT_EQ(bf16_to_f32(f32_to_bf16(std::sqrt(2816.0f))), 53.0f);
  EXPECT_EQ(bf16_to_f32(f32_to_bf16(std::sqrt(3840.0f))), 62.0f);
  EXPECT_EQ(bf16_to_f32(f32_to_bf16(std::sqrt(5376.0f))), 73.5f);
}

}  // namespace
}  // namespace carat::tensor
