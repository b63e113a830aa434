// The GGUF parser on right files and on every kind of wrong one: each gives an error that says what is wrong.
#include "formats/gguf.h"

#include <gtest/gtest.h>

#include <functional>
#include <random>

#include "file_builders.h"

namespace carat::formats {
namespace {

using tests::gguf_string;
using tests::GgufBuilder;
using tests::raw;

/// The views of the result point into `text`.
Result<GgufFile> parse(std::string_view text) { return parse_gguf(tests::as_bytes(text), "dir/m.gguf", "m.gguf"); }

TEST(Gguf, LocatesTensors) {
  const std::string text = tests::small_gguf().build();
  const auto file = parse(text);
  ASSERT_TRUE(file.has_value()) << file.error().message;
  EXPECT_EQ(file->version, 3U);
  ASSERT_EQ(file->tensors.size(), 3U);

  const NamedTensor& matrix = file->tensors[1];
  EXPECT_EQ(matrix.name, "blk.0.attn_q.weight");
  EXPECT_EQ(matrix.file, "m.gguf");
  EXPECT_EQ(matrix.view.dtype, tensor::DType::q4_0);
  EXPECT_EQ(matrix.view.shape, (tensor::Shape{2, 32}));  // the file says 32 x 2, fastest first
  EXPECT_EQ(matrix.view.size_bytes(), 36);
  EXPECT_EQ(matrix.view.data[0], std::byte{2});
  EXPECT_EQ(matrix.view.data[35], std::byte{2});

  EXPECT_EQ(file->tensors[0].view.data[31], std::byte{1});
  const auto start = [&](std::size_t i) { return file->tensors[i].view.data - tests::as_bytes(text).data(); };
  EXPECT_EQ(start(0) % 32, 0);
  EXPECT_EQ(start(1), start(0) + 32);
  EXPECT_EQ(start(2), start(0) + 96);  // 36 bytes padded to 64
  EXPECT_EQ(start(2) + 64, static_cast<std::ptrdiff_t>(text.size()));
}

TEST(Gguf, ReadsVersion2AndOtherAlignments) {
  GgufBuilder file = tests::small_gguf();
  file.version = 2;
  EXPECT_EQ(parse(file.build()).value().version, 2U);
  for (const std::uint32_t alignment : {8U, 64U, 4096U}) {
    GgufBuilder aligned = tests::small_gguf();
    aligned.alignment = alignment;
    aligned.u32("general.alignment", alignment);
    const std::string text = aligned.build();
    const auto parsed = parse(text);
    ASSERT_TRUE(parsed.has_value()) << parsed.error().message;
    EXPECT_EQ(parsed->tensors[2].view.data[0], std::byte{3});
  }
}

TEST(Gguf, AVocabularyAloneHasNoTensors) {
  GgufBuilder file;
  file.strings("tokenizer.ggml.tokens", {"a", "b"});
  const auto parsed = parse(file.build());
  ASSERT_TRUE(parsed.has_value()) << parsed.error().message;
  EXPECT_TRUE(parsed->tensors.empty());
  EXPECT_TRUE(parse(GgufBuilder().build()).has_value());
}

TEST(Gguf, GapsAndDataInAnotherOrderAreFine) {
  GgufBuilder file;
  file.tensor("b", {8}, 0, std::string(32, 'b')).tensor("a", {8}, 0, std::string(32, 'a'));
  file.tensors[0].offset = 96;
  file.tensors[1].offset = 0;
  file.data = std::string(32, 'a') + std::string(64, '-') + std::string(32, 'b') + "trailing";
  const std::string text = file.build();
  const auto parsed = parse(text);
  ASSERT_TRUE(parsed.has_value()) << parsed.error().message;
  EXPECT_EQ(parsed->tensors[0].view.data[0], std::byte{'b'});
  EXPECT_EQ(parsed->tensors[1].view.data[0], std::byte{'a'});
}

struct WrongFile {
  const char* name;
  std::function<void(GgufBuilder&)> damage;  ///< done to small_gguf()
  std::string_view says;
  ErrorCode code = ErrorCode::bad_file;
};
void PrintTo(const WrongFile& wrong, std::ostream* out) { *out << wrong.name; }

class GgufRefusal : public testing::TestWithParam<WrongFile> {};

TEST_P(GgufRefusal, SaysWhatIsWrong) {
  GgufBuilder file = tests::small_gguf();
  GetParam().damage(file);
  const tests::ExactBytes bytes(file.build());
  const auto parsed = parse_gguf(bytes.span(), "dir/m.gguf", "m.gguf");
  ASSERT_FALSE(parsed.has_value());
  const std::string& message = parsed.error().message;
  EXPECT_EQ(parsed.error().code, GetParam().code) << message;
  EXPECT_TRUE(message.starts_with("gguf \"dir/m.gguf\": ")) << message;
  EXPECT_NE(message.find(GetParam().says), message.npos) << message;
}

constexpr std::uint64_t kHuge = std::uint64_t{1} << 60;

const WrongFile kWrongFiles[] = {
    // The header.
    {"other_magic", [](GgufBuilder& f) { f.magic = "GGML"; }, "starts with \"GGML\"; expected \"GGUF\""},
    {"swapped_magic", [](GgufBuilder& f) { f.magic = "FUGG"; }, "byte-swapped", ErrorCode::unsupported},
    {"big_endian", [](GgufBuilder& f) { f.version = 0x03000000; }, "big-endian", ErrorCode::unsupported},
    {"version_0", [](GgufBuilder& f) { f.version = 0; }, "version 0; versions 2 and 3", ErrorCode::unsupported},
    {"version_1", [](GgufBuilder& f) { f.version = 1; }, "version 1; versions 2 and 3", ErrorCode::unsupported},
    {"version_4", [](GgufBuilder& f) { f.version = 4; }, "version 4; versions 2 and 3", ErrorCode::unsupported},
    {"tensors_2_60", [](GgufBuilder& f) { f.tensor_count = kHuge; }, "promises 1152921504606846976 tensors"},
    {"tensors_max", [](GgufBuilder& f) { f.tensor_count = ~std::uint64_t{0}; }, "tensors; the "},
    {"entries_2_60", [](GgufBuilder& f) { f.entry_count = kHuge; }, "promises 1152921504606846976 metadata entries"},
    {"entries_max", [](GgufBuilder& f) { f.entry_count = ~std::uint64_t{0}; }, "metadata entries; the "},
    {"one_entry_more", [](GgufBuilder& f) { f.entry_count = f.entries.size() + 1; }, ""},
    {"one_entry_less", [](GgufBuilder& f) { f.entry_count = f.entries.size() - 1; }, ""},
    {"one_tensor_more", [](GgufBuilder& f) { f.tensor_count = 4; }, ""},

    // Metadata.
    {"key_length", [](GgufBuilder& f) { f.entries.insert(f.entries.begin(), raw(kHuge) + "k"); },
     "inside the key of metadata entry 0"},
    {"key_length_max", [](GgufBuilder& f) { f.entries.insert(f.entries.begin(), raw(~std::uint64_t{0}) + "k"); },
     "inside the key of metadata entry 0"},
    {"empty_key", [](GgufBuilder& f) { f.u32("", 1); }, "has 0 bytes; expected 1 to 65535"},
    {"long_key", [](GgufBuilder& f) { f.u32(std::string(65536, 'k'), 1); }, "has 65536 bytes; expected 1 to 65535"},
    {"duplicate_key", [](GgufBuilder& f) { f.u32("a.u8", 1); }, "metadata key \"a.u8\" stands twice"},
    {"unknown_type", [](GgufBuilder& f) { f.entry("k", 13, raw(0)); },
     "metadata \"k\" has value type 13, which does not exist"},
    {"unknown_type_max", [](GgufBuilder& f) { f.entry("k", ~0U, raw(0)); }, "has value type 4294967295"},
    {"bool_2", [](GgufBuilder& f) { f.entry("k", 7, "\x02"); }, "metadata \"k\" is a bool of value 2"},
    {"bools_2", [](GgufBuilder& f) { f.array("k", 7, 2, "\x01\x02"); },
     "metadata \"k\" is an array of bools with a value other"},
    {"string_length", [](GgufBuilder& f) { f.entry("k", 8, raw(kHuge) + "text"); }, "inside metadata \"k\""},
    {"array_of_unknown", [](GgufBuilder& f) { f.array("k", 77, 4, raw(0)); }, "element type 77, which does not exist"},
    {"array_of_arrays", [](GgufBuilder& f) { f.array("k", 9, 1, raw(4) + raw<std::uint64_t>(0)); }, "array of arrays",
     ErrorCode::unsupported},
    {"array_count_2_60", [](GgufBuilder& f) { f.array("k", 4, kHuge, raw(0)); },
     "promises 1152921504606846976 elements of type u32"},
    {"array_count_wraps", [](GgufBuilder& f) { f.array("k", 4, (std::uint64_t{1} << 62) + 1, raw(0)); },
     "elements of type u32"},
    {"strings_count_2_60", [](GgufBuilder& f) { f.array("k", 8, kHuge, gguf_string("a")); }, "elements of type string"},
    {"string_in_array", [](GgufBuilder& f) { f.array("k", 8, 2, gguf_string("a") + raw(kHuge)); },
     "inside string 1 of metadata \"k\""},

    // Alignment.
    {"alignment_0", [](GgufBuilder& f) { f.u32("general.alignment", 0); },
     "\"general.alignment\" is 0; expected a power of two"},
    {"alignment_1", [](GgufBuilder& f) { f.u32("general.alignment", 1); }, "is 1; expected a power of two from 8"},
    {"alignment_48", [](GgufBuilder& f) { f.u32("general.alignment", 48); }, "is 48; expected a power of two"},
    {"alignment_2_31", [](GgufBuilder& f) { f.u32("general.alignment", 1U << 31); },
     "is 2147483648; expected a power of two"},
    {"alignment_max", [](GgufBuilder& f) { f.u32("general.alignment", ~0U); },
     "is 4294967295; expected a power of two"},
    {"alignment_u64", [](GgufBuilder& f) { f.entry("general.alignment", 10, raw<std::uint64_t>(32)); },
     "is of type u64; expected u32"},
    {"alignment_text", [](GgufBuilder& f) { f.string("general.alignment", "32"); }, "is of type string; expected u32"},
    {"alignment_array", [](GgufBuilder& f) { f.array("general.alignment", 4, 1, raw(32)); },
     "is of type array; expected u32"},

    // Tensors.
    {"empty_name", [](GgufBuilder& f) { f.tensors[1].name = ""; }, "the name of tensor 1 has 0 bytes"},
    {"duplicate_name", [](GgufBuilder& f) { f.tensors[2].name = "output_norm.weight"; },
     "tensor \"output_norm.weight\" stands twice"},
    {"rank_5", [](GgufBuilder& f) { f.tensors[0].dims = {8, 1, 1, 1, 1}; }, "has 5 dimensions; at most 4"},
    {"rank_max", [](GgufBuilder& f) { f.tensors[0].rank = ~0U; }, "has 4294967295 dimensions; at most 4"},
    {"zero_dimension", [](GgufBuilder& f) { f.tensors[0].dims = {8, 0}; }, "has a dimension of size 0"},
    {"dimension_2_63", [](GgufBuilder& f) { f.tensors[0].dims = {std::uint64_t{1} << 63}; },
     "has a dimension of size 9223372036854775808"},
    {"dimension_max", [](GgufBuilder& f) { f.tensors[0].dims = {~std::uint64_t{0}}; },
     "has a dimension of size 18446744073709551615"},
    {"product_wraps_to_8", [](GgufBuilder& f) { f.tensors[0].dims = {(std::uint64_t{1} << 61) + 1, 8}; }, "overflow"},
    {"product_wraps_to_0", [](GgufBuilder& f) { f.tensors[0].dims = {std::uint64_t{1} << 32, std::uint64_t{1} << 32}; },
     "overflow"},
    {"product_2_42_plus_1",
     [](GgufBuilder& f) { f.tensors[0].dims = {(std::uint64_t{1} << 42) + 1, std::uint64_t{1} << 21, 2}; }, "overflow"},
    {"bytes_wrap", [](GgufBuilder& f) { f.tensors[0].dims = {std::uint64_t{1} << 62}; }, "a size that fits a file"},
    {"row_of_half_a_block", [](GgufBuilder& f) { f.tensors[1].dims = {16, 4}; },
     "of type q4_0 has shape [4, 16]; expected rows of a multiple of 32"},
    {"blocks_without_dimension", [](GgufBuilder& f) { f.tensors[1].dims = {}; }, "expected rows of a multiple of 32"},
    {"type_iq2_xxs", [](GgufBuilder& f) { f.tensors[1].type = 16; }, "is of ggml type 16 (iq2_xxs)",
     ErrorCode::unsupported},
    {"type_q8_k", [](GgufBuilder& f) { f.tensors[1].type = 15; }, "is of ggml type 15 (q8_k)", ErrorCode::unsupported},
    {"type_removed", [](GgufBuilder& f) { f.tensors[1].type = 4; }, "is of ggml type 4 (q4_2)", ErrorCode::unsupported},
    {"type_unknown", [](GgufBuilder& f) { f.tensors[1].type = 9999; }, "is of ggml type 9999 (unknown)",
     ErrorCode::unsupported},
    {"size_past_end", [](GgufBuilder& f) { f.tensors[2].dims = {16, 3}; },
     "tensor \"token_embd.weight\" takes 96 bytes at data offset 96; the data section has 160"},
    {"offset_past_end", [](GgufBuilder& f) { f.tensors[2].offset = 1024; }, "takes 64 bytes at data offset 1024"},
    {"offset_plus_size_wraps", [](GgufBuilder& f) { f.tensors[2].offset = ~std::uint64_t{31}; },
     "takes 64 bytes at data offset 18446744073709551584"},
    {"offset_unaligned", [](GgufBuilder& f) { f.tensors[1].offset = 33; },
     "starts at data offset 33, no multiple of the alignment 32"},
    {"same_place", [](GgufBuilder& f) { f.tensors[1].offset = 0; }, "overlap at data offset 0"},
    {"overlap", [](GgufBuilder& f) { f.tensors[2].offset = 64; },
     "tensors \"blk.0.attn_q.weight\" and \"token_embd.weight\" overlap at data offset 64"},
    {"no_data", [](GgufBuilder& f) { f.data = ""; }, "the data section has 0 bytes"},
};
INSTANTIATE_TEST_SUITE_P(Files, GgufRefusal, testing::ValuesIn(kWrongFiles),
                         [](const auto& each) { return std::string(each.param.name); });

TEST(Gguf, RefusesTruncationAtEveryByte) {
  const std::string whole = tests::small_gguf().build();
  ASSERT_TRUE(parse(whole).has_value());
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const tests::ExactBytes bytes(std::string_view(whole).substr(0, size));
    const auto parsed = parse_gguf(bytes.span(), "m.gguf", "m.gguf");
    ASSERT_FALSE(parsed.has_value()) << size;
    EXPECT_FALSE(parsed.error().message.empty());
  }
}

/// Touches every byte and every value a parsed file offers, so that a bad pointer is found.
unsigned checksum(const GgufFile& file) {
  unsigned sum = 0;
  for (const NamedTensor& tensor : file.tensors)
    for (std::int64_t i = 0; i < tensor.view.size_bytes(); ++i) sum += std::to_integer<unsigned>(tensor.view.data[i]);
  for (const auto& [key, value] : file.metadata.values()) {
    sum += file.metadata.integer(key).has_value() + file.metadata.number(key).has_value();
    sum += file.metadata.boolean(key).has_value() + file.metadata.text(key).has_value();
    sum += file.metadata.integers(key).has_value() + file.metadata.numbers(key).has_value();
    if (const auto texts = file.metadata.texts(key); texts && *texts)
      for (const auto text : **texts) sum += text.empty() ? 0U : static_cast<unsigned char>(text.back());
  }
  return sum;
}

TEST(Gguf, RandomDamageNeverCrashes) {
  const std::string whole = tests::small_gguf().build();
  std::mt19937_64 random(11);
  int accepted = 0;
  unsigned checksums = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::string text = whole;
    for (unsigned flips = 1 + random() % 3; flips > 0; --flips) {
      const std::size_t at = random() % text.size();
      if (random() % 2 == 0)
        text[at] = static_cast<char>(text[at] ^ (1 << random() % 8));
      else
        text[at] = static_cast<char>(random() % 3 == 0 ? 0xFF : random());
    }
    const tests::ExactBytes bytes(text);
    if (const auto parsed = parse_gguf(bytes.span(), "m.gguf", "m.gguf")) {
      checksums += checksum(*parsed);
      ++accepted;
    }
  }
  EXPECT_GT(accepted, 0);  // damage in data and text values goes unseen, so some files must parse
  EXPECT_GT(checksums, 0U);
}

}  // namespace
}  // namespace carat::formats
