// The safetensors parser on right files and on every kind of wrong one, and files opened by themselves.
#include "formats/safetensors.h"

#include <gtest/gtest.h>

#include <random>

#include "file_builders.h"
#include "temp_dir.h"

namespace carat::formats {
namespace {

using tests::raw;
using tests::safetensors;

constexpr std::string_view kHeader =
    R"({"__metadata__":{"format":"pt"},"b":{"dtype":"BF16","shape":[2,2],"data_offsets":[8,16]},)"
    R"("a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}} )";
constexpr std::string_view kData = "aaaaaaaabbbbbbbb";

Result<SafetensorsHeader> parse(const std::string& text) {
  const tests::ExactBytes bytes(text);  // the views are not used after this
  return parse_safetensors(bytes.span(), "dir/m.safetensors", "m.safetensors");
}

TEST(Safetensors, LocatesTensors) {
  const std::string text = safetensors(kHeader, kData);
  const auto header = parse_safetensors(tests::as_bytes(text), "dir/m.safetensors", "m.safetensors");
  ASSERT_TRUE(header.has_value()) << header.error().message;
  EXPECT_EQ(header->metadata, (std::map<std::string, std::string>{{"format", "pt"}}));
  ASSERT_EQ(header->tensors.size(), 2U);
  EXPECT_EQ(header->tensors[0].name, "a");
  EXPECT_EQ(header->tensors[0].view.dtype, tensor::DType::f32);
  EXPECT_EQ(header->tensors[0].view.data[0], std::byte{'a'});
  EXPECT_EQ(header->tensors[1].name, "b");
  EXPECT_EQ(header->tensors[1].file, "m.safetensors");
  EXPECT_EQ(header->tensors[1].view.dtype, tensor::DType::bf16);
  EXPECT_EQ(header->tensors[1].view.shape, (tensor::Shape{2, 2}));
  EXPECT_EQ(header->tensors[1].view.data[7], std::byte{'b'});
}

TEST(Safetensors, ScalarsEmptyTensorsAndEmptyFilesAreFine) {
  EXPECT_TRUE(parse(safetensors("{}", "")).has_value());
  EXPECT_TRUE(parse(safetensors(R"({"__metadata__":{}}   )", "")).has_value());
  const auto header = parse(safetensors(R"({"s":{"dtype":"I64","shape":[],"data_offsets":[0,8]},)"
                                        R"("e":{"dtype":"F32","shape":[0,4],"data_offsets":[8,8]}})",
                                        "12345678"));
  ASSERT_TRUE(header.has_value()) << header.error().message;
  EXPECT_EQ(header->tensors[0].view.shape.rank(), 0U);
  EXPECT_EQ(header->tensors[1].view.size_bytes(), 0);
}

TEST(Safetensors, ReadsEveryTypeItsRegistryNames) {
  for (const tensor::DTypeInfo& type : tensor::registry()) {
    if (type.safetensors_name.empty()) continue;
    const std::string size = std::to_string(3 * type.block_bytes);
    const auto header = parse(safetensors(R"({"t":{"dtype":")" + std::string(type.safetensors_name) +
                                              R"(","shape":[3],"data_offsets":[0,)" + size + "]}}",
                                          std::string(static_cast<std::size_t>(3 * type.block_bytes), 'x')));
    ASSERT_TRUE(header.has_value()) << header.error().message;
    EXPECT_EQ(header->tensors[0].view.dtype, type.dtype);
  }
}

struct WrongFile {
  const char* name;
  std::string text;
  std::string_view says;
  ErrorCode code = ErrorCode::bad_file;
};
void PrintTo(const WrongFile& wrong, std::ostream* out) { *out << wrong.name; }

/// A file of one tensor "t" described by `fields`.
std::string one(std::string_view fields, std::size_t data_bytes) {
  return safetensors("{\"t\":{" + std::string(fields) + "}}", std::string(data_bytes, 'x'));
}

class SafetensorsRefusal : public testing::TestWithParam<WrongFile> {};

TEST_P(SafetensorsRefusal, SaysWhatIsWrong) {
  const auto header = parse(GetParam().text);
  ASSERT_FALSE(header.has_value());
  const std::string& message = header.error().message;
  EXPECT_EQ(header.error().code, GetParam().code) << message;
  EXPECT_NE(message.find("dir/m.safetensors"), message.npos) << message;
  EXPECT_NE(message.find(GetParam().says), message.npos) << message;
}

const WrongFile kWrongFiles[] = {
    {"empty", "", "has 0 bytes"},
    {"seven_bytes", "1234567", "has 7 bytes"},
    {"header_u64_max", raw(~std::uint64_t{0}) + "{}", "promises a header of 18446744073709551615 bytes"},
    {"header_past_cap", raw<std::uint64_t>(100'000'001) + "{}", "promises a header of 100000001 bytes"},
    {"header_past_end", raw<std::uint64_t>(3) + "{}", "ends inside its header: 3 bytes promised, 2 there"},
    {"header_0", raw<std::uint64_t>(0), "does not start with '{'"},
    {"header_array", safetensors("[]", ""), "does not start with '{'"},
    {"header_space_first", safetensors(" {}", ""), "does not start with '{'"},
    {"header_cut", safetensors("{\"t\":", ""), "not valid JSON at byte 5"},
    {"header_utf8", safetensors("{\"\xff\":1}", ""), "ill-formed UTF-8"},
    {"header_deep", safetensors("{\"t\":" + std::string(1000, '['), ""), "inside one another"},
    {"duplicate_tensor",
     safetensors(
         R"({"t":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"t":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
         "xx"),
     "duplicate key \"t\""},
    {"duplicate_field", one(R"("dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1])", 1),
     "duplicate key \"dtype\""},
    {"metadata_array", safetensors(R"({"__metadata__":[]})", ""), "no JSON object of texts"},
    {"metadata_number", safetensors(R"({"__metadata__":{"k":1}})", ""), "entry \"k\" is no text"},
    {"lfs_pointer", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "run `git lfs pull`"},

    {"no_object", safetensors(R"({"t":3})", ""), "tensor \"t\" is described by no JSON object"},
    {"no_dtype", one(R"("shape":[1],"data_offsets":[0,1])", 1), "has no \"dtype\""},
    {"dtype_number", one(R"("dtype":3,"shape":[1],"data_offsets":[0,1])", 1), "has no \"dtype\""},
    {"dtype_f8", one(R"("dtype":"F8_E4M3","shape":[1],"data_offsets":[0,1])", 1), "is of dtype \"F8_E4M3\"",
     ErrorCode::unsupported},
    {"dtype_empty", one(R"("dtype":"","shape":[1],"data_offsets":[0,1])", 1), "is of dtype \"\"",
     ErrorCode::unsupported},
    {"dtype_lower", one(R"("dtype":"f32","shape":[1],"data_offsets":[0,4])", 4), "is of dtype \"f32\"",
     ErrorCode::unsupported},
    {"no_shape", one(R"("dtype":"U8","data_offsets":[0,1])", 1), "has no \"shape\""},
    {"shape_text", one(R"("dtype":"U8","shape":["1"],"data_offsets":[0,1])", 1), "no whole number"},
    {"shape_negative", one(R"("dtype":"U8","shape":[-1],"data_offsets":[0,1])", 1), "no whole number"},
    {"shape_fraction", one(R"("dtype":"U8","shape":[1.0],"data_offsets":[0,1])", 1), "no whole number"},
    {"shape_2_63", one(R"("dtype":"U8","shape":[9223372036854775808],"data_offsets":[0,1])", 1), "no whole number"},
    {"shape_2_64", one(R"("dtype":"U8","shape":[18446744073709551616],"data_offsets":[0,1])", 1), "no whole number"},
    {"rank_5", one(R"("dtype":"U8","shape":[1,1,1,1,1],"data_offsets":[0,1])", 1), "has 5 dimensions",
     ErrorCode::unsupported},
    {"product_wraps_to_0", one(R"("dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0])", 0), "overflow"},
    {"product_wraps_to_8", one(R"("dtype":"U8","shape":[2305843009213693953,8],"data_offsets":[0,8])", 8), "overflow"},
    {"bytes_wrap", one(R"("dtype":"F64","shape":[2305843009213693953],"data_offsets":[0,8])", 8), "overflow"},
    {"no_offsets", one(R"("dtype":"U8","shape":[1])", 1), "has no \"data_offsets\""},
    {"one_offset", one(R"("dtype":"U8","shape":[1],"data_offsets":[0])", 1), "has no \"data_offsets\""},
    {"three_offsets", one(R"("dtype":"U8","shape":[1],"data_offsets":[0,1,1])", 1), "has no \"data_offsets\""},
    {"offset_text", one(R"("dtype":"U8","shape":[1],"data_offsets":[0,"1"])", 1), "no begin and end"},
    {"offset_negative", one(R"("dtype":"U8","shape":[1],"data_offsets":[-1,0])", 1), "no begin and end"},
    {"offsets_backwards", one(R"("dtype":"U8","shape":[1],"data_offsets":[1,0])", 1), "no begin and end"},
    {"range_too_small", one(R"("dtype":"F32","shape":[2],"data_offsets":[0,4])", 4),
     "takes 4 bytes by its data_offsets, but 8 by its shape [2] of F32"},
    {"range_too_large", one(R"("dtype":"U8","shape":[2],"data_offsets":[0,4])", 4),
     "takes 4 bytes by its data_offsets, but 2"},
    {"past_end", one(R"("dtype":"U8","shape":[4],"data_offsets":[0,4])", 3), "ends at data byte 4; the file holds 3"},
    {"past_end_huge", one(R"("dtype":"U8","shape":[1],"data_offsets":[18446744073709551614,18446744073709551615])", 3),
     "ends at data byte 18446744073709551615"},
    {"hole_first", one(R"("dtype":"U8","shape":[1],"data_offsets":[1,2])", 2), "starts at data byte 1; expected 0"},
    {"hole",
     safetensors(
         R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"t":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}})",
         "xxx"),
     "tensor \"t\" starts at data byte 2; expected 1"},
    {"overlap",
     safetensors(
         R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"t":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})",
         "xxx"),
     "tensor \"t\" starts at data byte 1; expected 2"},
    {"same_place",
     safetensors(
         R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"t":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})",
         "xx"),
     "starts at data byte 0; expected 2"},
    {"bytes_left", one(R"("dtype":"U8","shape":[1],"data_offsets":[0,1])", 3), "has 2 bytes behind its last tensor"},
};
INSTANTIATE_TEST_SUITE_P(Files, SafetensorsRefusal, testing::ValuesIn(kWrongFiles),
                         [](const auto& each) { return std::string(each.param.name); });

TEST(Safetensors, RefusesTruncationAtEveryByte) {
  const std::string whole = safetensors(kHeader, kData);
  ASSERT_TRUE(parse(whole).has_value());
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const auto header = parse(whole.substr(0, size));
    ASSERT_FALSE(header.has_value()) << size;
    EXPECT_FALSE(header.error().message.empty());
  }
}

TEST(Safetensors, RandomDamageNeverCrashes) {
  const std::string whole = safetensors(kHeader, kData);
  std::mt19937 random(13);
  unsigned sum = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::string text = whole;
    for (unsigned flips = 1 + random() % 2; flips > 0; --flips) {
      const std::size_t at = random() % text.size();
      text[at] = random() % 2 == 0 ? static_cast<char>('0' + random() % 10) : static_cast<char>(random());
    }
    const tests::ExactBytes bytes(text);
    auto header = parse_safetensors(bytes.span(), "m", "m");
    if (!header) continue;
    std::vector<std::unique_ptr<std::byte[]>> copies;
    ASSERT_TRUE(align_tensors(header->tensors, copies, "m").has_value());
    for (const NamedTensor& tensor : header->tensors)
      for (std::int64_t i = 0; i < tensor.view.size_bytes(); ++i) sum += std::to_integer<unsigned>(tensor.view.data[i]);
  }
  EXPECT_GT(sum, 0U);  // damage in data, names and metadata goes unseen, so some files must parse
}

TEST(SafetensorsFile, OpensAFileByItself) {
  const tests::TempDir dir;
  const auto path = dir.write("m.safetensors", safetensors(kHeader, kData));
  const auto file = open_safetensors(path);
  ASSERT_TRUE(file.has_value()) << file.error().message;
  EXPECT_EQ(file->tensors().size(), 2U);
  EXPECT_EQ(file->metadata().at("format"), "pt");
  ASSERT_NE(file->find("b"), nullptr);
  EXPECT_EQ(file->find("b")->view.data[0], std::byte{'b'});
  EXPECT_EQ(file->find("c"), nullptr);

  EXPECT_EQ(open_safetensors(dir / "absent").error().code, ErrorCode::bad_file);
  EXPECT_EQ(open_safetensors(dir.path()).error().code, ErrorCode::bad_file);
  EXPECT_EQ(open_safetensors(dir.write("empty", "")).error().code, ErrorCode::bad_file);
}

// Old writers pad nothing: a header of odd length puts every tensor at an odd address.
TEST(SafetensorsFile, TensorsStandAlignedWhateverTheFileDoes) {
  const tests::TempDir dir;
  for (int spaces = 0; spaces < 8; ++spaces) {
    const auto path = dir.write("m.safetensors", safetensors(std::string(kHeader) + std::string(spaces, ' '), kData));
    const auto file = open_safetensors(path);
    ASSERT_TRUE(file.has_value()) << file.error().message;
    const tensor::TensorView& a = file->find("a")->view;
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(a.data) % 4, 0U);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(file->find("b")->view.data) % 2, 0U);
    EXPECT_EQ(std::string_view(reinterpret_cast<const char*>(a.data), 8), "aaaaaaaa");
  }
}

}  // namespace
}  // namespace carat::formats
