// TensorView: a typed, shaped look at bytes somebody else owns (usually a mapped file). Never owns, cheap to copy.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>

#include "tensor/dtype.h"

namespace carat::tensor {

/// Up to four dimensions, slowest first, as in the papers and in safetensors (the reverse of GGUF's order).
class Shape {
 public:
  static constexpr std::size_t kMaxRank = 4;

  Shape() = default;
  Shape(std::initializer_list<std::int64_t> dims);
  /// Nothing if there are more than kMaxRank dimensions, one is negative, or their product overflows.
  static std::optional<Shape> from(std::span<const std::int64_t> dims);

  std::size_t rank() const { return rank_; }
  std::int64_t operator[](std::size_t i) const { return dims_[i]; }
  std::span<const std::int64_t> dims() const { return {dims_.data(), rank_}; }
  std::int64_t elements() const;  ///< product of all dimensions, 1 for rank 0
  std::int64_t row_elements() const { return rank_ == 0 ? 1 : dims_[rank_ - 1]; }  ///< the last dimension
  std::int64_t rows() const;  ///< elements() / row_elements(), 0 for an empty tensor
  bool operator==(const Shape& other) const;
  std::string text() const;  ///< "[2560, 2048]"

 private:
  std::array<std::int64_t, kMaxRank> dims_{};
  std::size_t rank_ = 0;
};

/// Bytes of a tensor of this type and shape; nothing when the last dimension is no multiple of the block width or the
/// product overflows.
std::optional<std::int64_t> size_in_bytes(DType dtype, const Shape& shape);

struct TensorView {
  DType dtype = DType::f32;
  Shape shape;
  const std::byte* data = nullptr;

  std::int64_t row_bytes() const;   ///< bytes of one row along the last dimension
  std::int64_t size_bytes() const;  ///< bytes of the whole tensor
  /// Sub-tensor i along the first dimension: [a, b, c] -> [b, c]. Requires rank >= 2 and i < shape[0].
  TensorView slice(std::int64_t i) const;
  /// Rows [first, first + count) of a matrix (rank 2).
  TensorView rows(std::int64_t first, std::int64_t count) const;
};

/// Decodes row `row` (of shape.rows()) into `out`, which holds shape.row_elements() values.
/// Requires a type whose info().decode is set.
void decode_row(const TensorView& tensor, std::int64_t row, std::span<float> out);

/// Converts one value; f16 and bf16 round to nearest even.
float f16_to_f32(std::uint16_t bits);
std::uint16_t f32_to_f16(float value);
float bf16_to_f32(std::uint16_t bits);
std::uint16_t f32_to_bf16(float value);

}  // namespace carat::tensor
