// Random matrices of any type for kernel tests: bytes that decode to finite values of moderate size.
#pragma once

#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include "tensor/tensor_view.h"

namespace carat::test {

/// A matrix that owns its bytes.
struct RandomMatrix {
  std::vector<std::byte> bytes;
  tensor::TensorView view;

  /// Values of about `size`; of 1e-4 the scales of blocks are denormal halves.
  RandomMatrix(tensor::DType dtype, std::int64_t rows, std::int64_t columns, std::uint32_t seed, float size = 1) {
    const auto& info = tensor::info(dtype);
    std::mt19937 random(seed);
    view.dtype = dtype;
    view.shape = tensor::Shape{rows, columns};
    bytes.resize(static_cast<std::size_t>(*tensor::size_in_bytes(dtype, view.shape)));
    std::normal_distribution<float> normal;
    if (info.block_elements == 1) {
      for (std::int64_t i = 0; i < rows * columns; ++i) {
        const float value = size * normal(random);
        const std::uint16_t half = dtype == tensor::DType::f16 ? tensor::f32_to_f16(value) : tensor::f32_to_bf16(value);
        std::byte* at = bytes.data() + i * info.block_bytes;
        if (info.block_bytes == 4)
          std::memcpy(at, &value, 4);
        else
          std::memcpy(at, &half, 2);
      }
    } else {
      // Random codes under small positive half-precision scales; every even offset may be a scale, so all words get the
      // exponent of one where a format keeps scales.
      for (std::byte& b : bytes) b = static_cast<std::byte>(random());
      const auto half_at = [&](std::int64_t block, std::int64_t offset) {
        const std::uint16_t scale =
            tensor::f32_to_f16(size * (0.01F + 0.02F * static_cast<float>(random() % 100) / 100.0F));
        std::memcpy(bytes.data() + block * info.block_bytes + offset, &scale, 2);
      };
      const std::int64_t blocks = rows * columns / info.block_elements;
      for (std::int64_t b = 0; b < blocks; ++b) {
        switch (dtype) {
          case tensor::DType::q2_k:
            half_at(b, 80), half_at(b, 82);
            break;
          case tensor::DType::q3_k:
            half_at(b, 108);
            break;
          case tensor::DType::q4_k:
          case tensor::DType::q5_k:
          case tensor::DType::q4_1:
          case tensor::DType::q5_1:
            half_at(b, 0), half_at(b, 2);
            break;
          case tensor::DType::q6_k:
            half_at(b, 208);
            break;
          case tensor::DType::mxfp4:
            bytes[static_cast<std::size_t>(b * info.block_bytes)] = static_cast<std::byte>(120 + random() % 8);
            break;
          default:
            half_at(b, 0);
            break;
        }
      }
    }
    view.data = bytes.data();
  }

  std::vector<float> row(std::int64_t r) const {
    std::vector<float> out(static_cast<std::size_t>(view.shape[1]));
    tensor::decode_row(view, r, out);
    return out;
  }
};

inline std::vector<float> random_floats(std::int64_t count, std::uint32_t seed, float scale = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> out(static_cast<std::size_t>(count));
  for (float& value : out) value = normal(random);
  return out;
}

}  // namespace carat::test
