// Conversions between f32 and the two 16-bit float formats, f16 (IEEE binary16) and bf16 (the upper half of an f32).
// They work on bits, so results do not depend on the CPU's half-precision instructions or its denormal mode.
#include <bit>
#include <cstdint>

#include "tensor/tensor_view.h"

namespace carat::tensor {

namespace {
constexpr std::uint32_t kF32Infinity = 0x7f800000;
constexpr std::uint32_t kRebias = (127 - 15) << 23;  // f32 exponent bias minus f16's, in place
}  // namespace

float f16_to_f32(std::uint16_t bits) {
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000) << 16;
  const std::uint32_t magnitude = bits & 0x7fff;
  std::uint32_t out;
  if (magnitude >= 0x7c00) {  // infinity and NaN: all exponent bits set, payload kept
    out = kF32Infinity | (magnitude & 0x3ff) << 13;
  } else if (magnitude >= 0x0400) {
    out = (magnitude << 13) + kRebias;
  } else {  // zero and subnormals count in steps of 2^-24, exact in f32
    out = std::bit_cast<std::uint32_t>(static_cast<float>(magnitude) * 0x1p-24f);
  }
  return std::bit_cast<float>(sign | out);
}

std::uint16_t f32_to_f16(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = bits >> 16 & 0x8000;
  const std::uint32_t magnitude = bits & 0x7fffffff;
  std::uint32_t out;
  if (magnitude > kF32Infinity) {
    out = 0x7e00 | (magnitude >> 13 & 0x3ff);  // a quiet NaN
  } else if (magnitude >= 0x477ff000) {        // 65520, halfway between the largest f16 and the next power: rounds up
    out = 0x7c00;
  } else if (magnitude < 0x38800000) {  // below 2^-14: the ulp of 0.5 is 2^-24, so the addition rounds for us
    out = std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) - std::bit_cast<std::uint32_t>(0.5f);
  } else {
    out = (magnitude + 0xfff + (magnitude >> 13 & 1) - kRebias) >> 13;
  }
  return static_cast<std::uint16_t>(sign | out);
}

float bf16_to_f32(std::uint16_t bits) { return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16); }

std::uint16_t f32_to_bf16(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7fffffff) > kF32Infinity) return static_cast<std::uint16_t>(bits >> 16 | 0x40);  // stays a NaN
  return static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

}  // namespace carat::tensor
