// Every row of the type registry: unique names and numbers, sane sizes, and a decoder that matches golden blocks bit by
// bit. The golden files come from tools/reference/quant_blocks.py; a type without one fails.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <vector>

#include "tensor/dtype.h"
#include "tensor/tensor_view.h"

namespace carat::tensor {
namespace {

std::vector<char> read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

TEST(Registry, HasOneRowPerTypeInEnumOrder) {
  ASSERT_EQ(registry().size(), kDTypeCount);
  for (std::size_t i = 0; i < kDTypeCount; ++i) {
    EXPECT_EQ(registry()[i].dtype, static_cast<DType>(i));
    EXPECT_EQ(&info(static_cast<DType>(i)), &registry()[i]);
  }
}

TEST(Registry, NamesAndNumbersAreUniqueAndFoundAgain) {
  std::set<std::string_view> names, safetensors_names;
  std::set<std::uint32_t> numbers;
  for (const DTypeInfo& row : registry()) {
    EXPECT_FALSE(row.name.empty());
    EXPECT_TRUE(names.insert(row.name).second) << row.name;
    EXPECT_EQ(find_dtype(row.name), &row);
    if (row.gguf_id) {
      EXPECT_TRUE(numbers.insert(*row.gguf_id).second) << row.name;
      EXPECT_EQ(find_gguf_type(*row.gguf_id), &row);
    }
    if (!row.safetensors_name.empty()) {
      EXPECT_TRUE(safetensors_names.insert(row.safetensors_name).second) << row.name;
      EXPECT_EQ(find_safetensors_type(row.safetensors_name), &row);
    }
    EXPECT_TRUE(row.gguf_id || !row.safetensors_name.empty()) << row.name << " can stand in no file";
  }
}

TEST(Registry, UnknownTypesAreNotFound) {
  for (const std::uint32_t id : {4u, 5u, 9u, 15u, 29u, 36u, 40u, 4096u, 0xffffffffu}) {
    EXPECT_EQ(find_gguf_type(id), nullptr) << id;
  }
  EXPECT_EQ(find_safetensors_type(""), nullptr);
  EXPECT_EQ(find_safetensors_type("F4"), nullptr);
  EXPECT_EQ(find_safetensors_type("bf16"), nullptr);
  EXPECT_EQ(find_dtype(""), nullptr);
  EXPECT_EQ(find_dtype("Q4_0"), nullptr);
}

TEST(Registry, BlockSizesAreThoseOfTheFormats) {
  // type -> bits per weight, from the layouts: bytes * 8 / values.
  const std::pair<DType, double> bits_per_weight[] = {
      {DType::f32, 32},      {DType::f16, 16},     {DType::bf16, 16},  {DType::f64, 64},      {DType::q4_0, 4.5},
      {DType::q4_1, 5},      {DType::q5_0, 5.5},   {DType::q5_1, 6},   {DType::q8_0, 8.5},    {DType::q2_k, 2.625},
      {DType::q3_k, 3.4375}, {DType::q4_k, 4.5},   {DType::q5_k, 5.5}, {DType::q6_k, 6.5625}, {DType::iq4_nl, 4.5},
      {DType::iq4_xs, 4.25}, {DType::mxfp4, 4.25}, {DType::i8, 8},     {DType::u16, 16},      {DType::boolean, 8}};
  for (const auto& [dtype, bits] : bits_per_weight) {
    EXPECT_DOUBLE_EQ(info(dtype).block_bytes * 8.0 / info(dtype).block_elements, bits) << info(dtype).name;
  }
}

TEST(Registry, ZeroBytesDecodeToFiniteNumbers) {
  for (const DTypeInfo& row : registry()) {
    if (row.decode == nullptr) continue;
    const std::vector<std::byte> zeros(static_cast<std::size_t>(row.block_bytes) * 3);
    std::vector<float> out(static_cast<std::size_t>(row.block_elements) * 3, 1.0f);
    row.decode(zeros.data(), row.block_elements * 3, out.data());
    for (const float value : out) EXPECT_EQ(value, 0.0f) << row.name;
  }
}

class GoldenBlocks : public testing::TestWithParam<DType> {};

TEST_P(GoldenBlocks, DecodeToTheReferenceBits) {
  const DTypeInfo& type = info(GetParam());
  const std::string path = CARAT_TEST_DATA "/golden/quant/" + std::string(type.name) + ".bin";
  const std::vector<char> file = read_file(path);
  const auto width = static_cast<std::size_t>(type.block_elements);
  const auto bytes = static_cast<std::size_t>(type.block_bytes);
  ASSERT_FALSE(file.empty()) << path << " is missing: run tools/reference/quant_blocks.py";
  ASSERT_EQ(file.size() % (bytes + width * sizeof(float)), 0u) << path;
  const std::size_t count = file.size() / (bytes + width * sizeof(float));
  ASSERT_GE(count, 28u);

  std::vector<float> expected(count * width), found(count * width), again(count * width);
  std::memcpy(expected.data(), file.data() + count * bytes, expected.size() * sizeof(float));
  type.decode(reinterpret_cast<const std::byte*>(file.data()), static_cast<std::int64_t>(found.size()), found.data());
  for (std::size_t i = 0; i < found.size(); ++i) {
    // Sign and payload of a NaN are up to the hardware in the reference too; anything else must agree in every bit.
    if (std::isnan(expected[i]) && std::isnan(found[i])) continue;
    ASSERT_EQ(std::bit_cast<std::uint32_t>(found[i]), std::bit_cast<std::uint32_t>(expected[i]))
        << type.name << " block " << i / width << " value " << i % width << ": " << found[i] << ", expected "
        << expected[i];
  }

  // Blocks lie at any address in a file.
  std::vector<std::byte> shifted(count * bytes + 1);
  std::memcpy(shifted.data() + 1, file.data(), count * bytes);
  type.decode(shifted.data() + 1, static_cast<std::int64_t>(again.size()), again.data());
  EXPECT_EQ(std::memcmp(again.data(), found.data(), found.size() * sizeof(float)), 0);
}

std::vector<DType> block_types() {
  std::vector<DType> out;
  for (const DTypeInfo& row : registry()) {
    if (row.block_elements > 1) out.push_back(row.dtype);
  }
  return out;
}

INSTANTIATE_TEST_SUITE_P(Registry, GoldenBlocks, testing::ValuesIn(block_types()),
                         [](const auto& instance) { return std::string(tensor::info(instance.param).name); });

}  // namespace
}  // namespace carat::tensor
