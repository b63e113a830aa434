// Shape arithmetic, byte sizes and sub-views, including the sizes a hostile file may claim.
#include "tensor/tensor_view.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <limits>
#include <vector>

namespace carat::tensor {
namespace {

std::optional<Shape> shape_of(std::vector<std::int64_t> dims) { return Shape::from(dims); }

TEST(Shape, CountsElementsAndRows) {
  const Shape shape{3, 4, 5};
  EXPECT_EQ(shape.rank(), 3u);
  EXPECT_EQ(shape[1], 4);
  EXPECT_EQ(shape.elements(), 60);
  EXPECT_EQ(shape.row_elements(), 5);
  EXPECT_EQ(shape.rows(), 12);
  EXPECT_EQ(shape.text(), "[3, 4, 5]");
}

TEST(Shape, RankZeroIsOneValue) {
  const Shape scalar;
  EXPECT_EQ(scalar.elements(), 1);
  EXPECT_EQ(scalar.row_elements(), 1);
  EXPECT_EQ(scalar.rows(), 1);
  EXPECT_EQ(scalar.text(), "[]");
  EXPECT_EQ(scalar, *shape_of({}));
}

TEST(Shape, EmptyTensorsHaveNoRows) {
  EXPECT_EQ(Shape({4, 0}).rows(), 0);
  EXPECT_EQ(Shape({0, 4}).rows(), 0);
  EXPECT_EQ(Shape({0, 4}).elements(), 0);
}

TEST(Shape, ComparesRankAndDimensions) {
  EXPECT_EQ(Shape({2, 3}), Shape({2, 3}));
  EXPECT_NE(Shape({2, 3}), Shape({3, 2}));
  EXPECT_NE(Shape({2, 3}), Shape({2, 3, 1}));
  EXPECT_NE(Shape({}), Shape({1}));
}

TEST(Shape, RefusesWhatAFileMustNotClaim) {
  constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();
  EXPECT_FALSE(shape_of({1, 1, 1, 1, 1}));
  EXPECT_FALSE(shape_of({-1}));
  EXPECT_FALSE(shape_of({2, -3}));
  EXPECT_FALSE(shape_of({1LL << 32, 1LL << 32}));
  EXPECT_FALSE(shape_of({kMax, 2}));
  EXPECT_FALSE(shape_of({1LL << 40, 1LL << 40, 0})) << "a zero must not hide a product that overflows";
  EXPECT_FALSE(shape_of({0, 1LL << 40, 1LL << 40}));
  EXPECT_TRUE(shape_of({kMax}));
  EXPECT_TRUE(shape_of({1, 1, 1, 1}));
}

TEST(SizeInBytes, ChecksBlocksAndOverflow) {
  EXPECT_EQ(size_in_bytes(DType::f32, {3, 5}), 60);
  EXPECT_EQ(size_in_bytes(DType::q4_0, {3, 64}), 3 * 2 * 18);
  EXPECT_EQ(size_in_bytes(DType::q6_k, {2, 512}), 2 * 2 * 210);
  EXPECT_EQ(size_in_bytes(DType::q4_0, {3, 48}), std::nullopt);
  EXPECT_EQ(size_in_bytes(DType::q4_0, {64, 3}), std::nullopt) << "blocks must not cross rows";
  EXPECT_EQ(size_in_bytes(DType::q4_0, {}), std::nullopt);
  EXPECT_EQ(size_in_bytes(DType::q4_0, {32, 0}), 0);
  EXPECT_EQ(size_in_bytes(DType::bf16, {}), 2);
  EXPECT_EQ(size_in_bytes(DType::f32, {1LL << 62}), std::nullopt);
  EXPECT_EQ(size_in_bytes(DType::i8, {1LL << 62}), 1LL << 62);
}

TEST(TensorView, SlicesAlongTheFirstDimension) {
  std::array<float, 24> values{};
  for (int i = 0; i < 24; ++i) values[static_cast<std::size_t>(i)] = static_cast<float>(i);
  const TensorView tensor{DType::f32, {2, 3, 4}, reinterpret_cast<const std::byte*>(values.data())};
  EXPECT_EQ(tensor.row_bytes(), 16);
  EXPECT_EQ(tensor.size_bytes(), 96);
  const TensorView second = tensor.slice(1);
  EXPECT_EQ(second.shape, Shape({3, 4}));
  EXPECT_EQ(second.data, tensor.data + 48);
  const TensorView rows = second.rows(1, 2);
  EXPECT_EQ(rows.shape, Shape({2, 4}));
  EXPECT_EQ(rows.data, tensor.data + 64);
  EXPECT_EQ(second.rows(3, 0).size_bytes(), 0);
  std::array<float, 4> row{};
  decode_row(rows, 1, row);
  EXPECT_EQ(row, (std::array<float, 4>{20, 21, 22, 23}));
  decode_row(tensor, 5, row);
  EXPECT_EQ(row[0], 20.0f) << "rows count over all leading dimensions";
}

TEST(TensorView, DecodesRowsOfBlocks) {
  // Two rows of two q8_0 blocks; scale 1 in row 0, 2 in row 1.
  std::vector<std::byte> bytes(4 * 34);
  for (int block = 0; block < 4; ++block) {
    const std::uint16_t scale = f32_to_f16(block < 2 ? 1.0f : 2.0f);
    std::memcpy(bytes.data() + block * 34, &scale, 2);
    for (int i = 0; i < 32; ++i)
      bytes[static_cast<std::size_t>(block * 34 + 2 + i)] = static_cast<std::byte>(block % 2 * 32 + i);
  }
  const TensorView tensor{DType::q8_0, {2, 64}, bytes.data()};
  EXPECT_EQ(tensor.row_bytes(), 68);
  std::vector<float> row(64);
  decode_row(tensor, 1, row);
  for (int i = 0; i < 64; ++i) EXPECT_EQ(row[static_cast<std::size_t>(i)], 2.0f * static_cast<float>(i));
}

}  // namespace
}  // namespace carat::tensor
