// Written safetensors files: read back equal, never left half written, wrong use refused.
#include "formats/safetensors_writer.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "file_builders.h"
#include "formats/safetensors.h"
#include "temp_dir.h"

namespace carat::formats {
namespace {

using tensor::DType;

std::string content(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::size_t files_in(const tests::TempDir& dir) {
  return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(dir.path()), {}));
}

TEST(SafetensorsWriter, WhatIsWrittenReadsBackEqual) {
  const tests::TempDir dir;
  const std::vector<float> logits = {1.5F, -2.F, 3.25F, 0.F, -0.F, 1e30F};
  const std::vector<std::int32_t> ids = {2, 9, -1};
  const std::vector<OutputTensor> tensors = {
      {"logits", DType::f32, {2, 3}, std::as_bytes(std::span(logits))},
      {"ids", DType::i32, {3}, std::as_bytes(std::span(ids))},
      {"none", DType::f32, {0, 7}, {}},
      {"scalar \"é\"", DType::f32, {}, std::as_bytes(std::span(logits).first(1))},
  };
  const auto written = write_safetensors(dir / "out.safetensors", tensors, {{"producer", "carat \n test"}});
  ASSERT_TRUE(written.has_value()) << written.error().message;
  EXPECT_EQ(files_in(dir), 1U);

  const auto file = open_safetensors(dir / "out.safetensors");
  ASSERT_TRUE(file.has_value()) << file.error().message;
  EXPECT_EQ(file->metadata(), (SafetensorsMetadata{{"producer", "carat \n test"}}));
  ASSERT_EQ(file->tensors().size(), tensors.size());
  for (const OutputTensor& expected : tensors) {
    const NamedTensor* found = file->find(expected.name);
    ASSERT_NE(found, nullptr) << expected.name;
    EXPECT_EQ(found->view.dtype, expected.dtype);
    EXPECT_EQ(found->view.shape, expected.shape);
    ASSERT_EQ(found->view.size_bytes(), static_cast<std::int64_t>(expected.data.size()));
    EXPECT_TRUE(std::equal(expected.data.begin(), expected.data.end(), found->view.data)) << expected.name;
  }
}

// The bytes themselves, so that writer and reader cannot agree on something else than the format.
TEST(SafetensorsWriter, WritesTheFormat) {
  const tests::TempDir dir;
  ASSERT_TRUE(write_safetensors(dir / "o", std::vector<OutputTensor>{{"t", DType::f32, {1}, tests::as_bytes("abcd")}}));
  EXPECT_EQ(content(dir / "o"),
            tests::safetensors(R"({"t":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}  )", "abcd"));
}

TEST(SafetensorsWriter, StreamsInPieces) {
  const tests::TempDir dir;
  auto writer = SafetensorsWriter::create(
      dir / "s",
      {{"empty", DType::f32, {0}}, {"a", DType::f32, {2}}, {"none", DType::f32, {0}}, {"b", DType::i32, {1}}});
  ASSERT_TRUE(writer.has_value()) << writer.error().message;
  EXPECT_TRUE(writer->write("a", tests::as_bytes("abc")));
  EXPECT_TRUE(writer->write("a", {}));
  EXPECT_TRUE(writer->write("a", tests::as_bytes("defgh")));
  EXPECT_FALSE(std::filesystem::exists(dir / "s"));  // not before it is whole
  EXPECT_TRUE(writer->write("b", tests::as_bytes("1234")));
  ASSERT_TRUE(writer->finish());
  EXPECT_TRUE(content(dir / "s").ends_with("abcdefgh1234"));
  EXPECT_EQ(open_safetensors(dir / "s").value().tensors().size(), 4U);
  EXPECT_FALSE(writer->finish());  // once only
  EXPECT_FALSE(writer->write("b", tests::as_bytes("1")));
}

TEST(SafetensorsWriter, RefusesWrongUseAndLeavesNothing) {
  const tests::TempDir dir;
  {
    auto writer = SafetensorsWriter::create(dir / "s", {{"a", DType::f32, {1}}, {"b", DType::f32, {1}}});
    ASSERT_TRUE(writer.has_value());
    EXPECT_EQ(writer->write("b", tests::as_bytes("1234")).error().code, ErrorCode::invalid_argument);
    EXPECT_EQ(writer->write("c", tests::as_bytes("1234")).error().code, ErrorCode::invalid_argument);
    EXPECT_EQ(writer->write("a", tests::as_bytes("12345")).error().code, ErrorCode::invalid_argument);
    ASSERT_TRUE(writer->write("a", tests::as_bytes("1234")));
    const auto finished = writer->finish();
    ASSERT_FALSE(finished);
    EXPECT_NE(finished.error().message.find("tensor \"b\" lacks 4 bytes"), std::string::npos)
        << finished.error().message;
    EXPECT_EQ(files_in(dir), 1U);  // the partial file
  }
  EXPECT_EQ(files_in(dir), 0U);

  const auto code = [&](std::vector<TensorDeclaration> tensors, const SafetensorsMetadata& metadata = {}) {
    const auto writer = SafetensorsWriter::create(dir / "s", std::move(tensors), metadata);
    return writer ? std::optional<ErrorCode>() : writer.error().code;
  };
  EXPECT_EQ(code({{"a", DType::f32, {1}}, {"a", DType::f32, {1}}}), ErrorCode::invalid_argument);
  EXPECT_EQ(code({{"__metadata__", DType::f32, {1}}}), ErrorCode::invalid_argument);
  EXPECT_EQ(code({{"q", DType::q4_0, {32}}}), ErrorCode::invalid_argument);
  EXPECT_EQ(code({{"\xff", DType::f32, {1}}}), ErrorCode::invalid_argument);
  EXPECT_EQ(code({}, {{"k", "\xff"}}), ErrorCode::invalid_argument);
  EXPECT_EQ(code({{"a", DType::f32, {std::int64_t{1} << 62}}}), ErrorCode::invalid_argument);
  EXPECT_EQ(code({{"a", DType::i8, {std::int64_t{1} << 62}},
                  {"b", DType::i8, {std::int64_t{1} << 62}},
                  {"c", DType::i8, {std::int64_t{1} << 62}},
                  {"d", DType::i8, {std::int64_t{1} << 62}}}),
            ErrorCode::invalid_argument);
  EXPECT_EQ(write_safetensors(dir / "s", std::vector<OutputTensor>{{"a", DType::f32, {2}, tests::as_bytes("1234")}})
                .error()
                .code,
            ErrorCode::invalid_argument);
  EXPECT_EQ(write_safetensors(dir / "no/such/dir", std::vector<OutputTensor>{}).error().code, ErrorCode::io);
  EXPECT_EQ(write_safetensors(dir.path(), std::vector<OutputTensor>{}).error().code, ErrorCode::io);
  EXPECT_EQ(files_in(dir), 0U);
}

TEST(SafetensorsWriter, AFullDiskIsAnErrorAndDevicesStay) {
  const std::vector<OutputTensor> tensors = {{"a", DType::f32, {1}, tests::as_bytes("1234")}};
  const auto full = write_safetensors("/dev/full", tensors);
  ASSERT_FALSE(full.has_value());
  EXPECT_EQ(full.error().code, ErrorCode::io);
  EXPECT_TRUE(write_safetensors("/dev/null", tensors).has_value());
  EXPECT_TRUE(std::filesystem::is_character_file("/dev/null"));
}

TEST(SafetensorsWriter, ReplacesAnEarlierFile) {
  const tests::TempDir dir;
  dir.write("o", "something older");
  ASSERT_TRUE(write_safetensors(dir / "o", std::vector<OutputTensor>{{"t", DType::f32, {1}, tests::as_bytes("abcd")}}));
  EXPECT_EQ(open_safetensors(dir / "o").value().tensors().size(), 1U);
}

}  // namespace
}  // namespace carat::formats
