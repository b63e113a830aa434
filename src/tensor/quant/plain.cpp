// The plain floating-point types as decoders, so that every weight type is read the same way.
#include <cstring>

#include "tensor/quant/decoders.h"
#include "tensor/tensor_view.h"

namespace carat::tensor::quant {

namespace {
template <float (*to_f32)(std::uint16_t bits)>
void decode_16_bit(const std::byte* blocks, std::int64_t elements, float* out) {
  for (std::int64_t i = 0; i < elements; ++i) {
    std::uint16_t bits;
    std::memcpy(&bits, blocks + i * 2, sizeof bits);
    out[i] = to_f32(bits);
  }
}
}  // namespace

void decode_f32(const std::byte* blocks, std::int64_t elements, float* out) {
  if (elements > 0) std::memcpy(out, blocks, static_cast<std::size_t>(elements) * sizeof(float));
}

void decode_f16(const std::byte* blocks, std::int64_t elements, float* out) {
  decode_16_bit<f16_to_f32>(blocks, elements, out);
}

void decode_bf16(const std::byte* blocks, std::int64_t elements, float* out) {
  decode_16_bit<bf16_to_f32>(blocks, elements, out);
}

}  // namespace carat::tensor::quant
