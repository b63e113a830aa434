// GGUF checkpoints of one file and of several, opened from disk.
#include <gtest/gtest.h>

#include "file_builders.h"
#include "formats/checkpoint.h"
#include "temp_dir.h"

namespace carat::formats {
namespace {

void expect_refused(const std::filesystem::path& path, std::string_view says, ErrorCode code = ErrorCode::bad_file) {
  const auto checkpoint = open_checkpoint(path);
  ASSERT_FALSE(checkpoint.has_value());
  EXPECT_EQ(checkpoint.error().code, code) << checkpoint.error().message;
  EXPECT_NE(checkpoint.error().message.find(says), std::string::npos) << checkpoint.error().message;
}

TEST(GgufCheckpoint, OpensByMagicNotByName) {
  const tests::TempDir dir;
  const auto path =
      dir.write("model.bin", tests::small_gguf().string("tokenizer.chat_template", "{{ messages }}").build());
  auto opened = open_checkpoint(path);
  ASSERT_TRUE(opened.has_value()) << opened.error().message;
  const Checkpoint checkpoint = std::move(*opened);  // views must survive a move
  EXPECT_EQ(checkpoint.format(), Format::gguf);
  EXPECT_EQ(checkpoint.path(), path);
  ASSERT_EQ(checkpoint.tensors().size(), 3U);
  EXPECT_EQ(checkpoint.tensors()[0].name, "blk.0.attn_q.weight");  // sorted
  EXPECT_EQ(checkpoint.tensors()[0].file, "model.bin");
  ASSERT_NE(checkpoint.find("token_embd.weight"), nullptr);
  EXPECT_EQ(checkpoint.find("token_embd.weight")->view.data[63], std::byte{3});
  EXPECT_EQ(checkpoint.find("token_embd"), nullptr);
  EXPECT_EQ(checkpoint.find("zzz"), nullptr);
  EXPECT_EQ(checkpoint.metadata().text("general.architecture").value(), "gemma4");
  EXPECT_EQ(checkpoint.chat_template(), "{{ messages }}");
  EXPECT_TRUE(checkpoint.config().is_null());
  EXPECT_TRUE(checkpoint.generation_config().is_null());
  EXPECT_TRUE(checkpoint.tokenizer_config().is_null());
  EXPECT_TRUE(checkpoint.tokenizer_json().empty());
}

TEST(GgufCheckpoint, NoTemplateIsNothingAndAWrongOneAnError) {
  const tests::TempDir dir;
  EXPECT_EQ(open_checkpoint(dir.write("a.gguf", tests::small_gguf().build())).value().chat_template(), std::nullopt);
  expect_refused(dir.write("b.gguf", tests::small_gguf().u32("tokenizer.chat_template", 1).build()),
                 "\"tokenizer.chat_template\" is an unsigned integer; expected a string");
}

TEST(GgufCheckpoint, RefusesTruncationAtEveryByte) {
  const tests::TempDir dir;
  const std::string whole = tests::small_gguf().build();
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const auto checkpoint = open_checkpoint(dir.write("m.gguf", std::string_view(whole).substr(0, size)));
    ASSERT_FALSE(checkpoint.has_value()) << size;
    EXPECT_NE(checkpoint.error().message.find("m.gguf"), std::string::npos) << checkpoint.error().message;
  }
}

/// Three parts as gguf-split writes them: metadata in the first, tensors in all.
struct SplitSet {
  tests::GgufBuilder parts[3];

  SplitSet() {
    for (std::uint16_t no = 0; no < 3; ++no) {
      if (no == 0) parts[no].string("general.architecture", "gemma4");
      parts[no].u16("split.no", no).u16("split.count", 3).i32("split.tensors.count", 4);
      parts[no].tensor("t" + std::to_string(no), {8}, 0, std::string(32, static_cast<char>('0' + no)));
    }
    parts[2].tensor("another", {8}, 0, std::string(32, 'x'));
  }

  static std::string name(int no) { return "m-0000" + std::to_string(no + 1) + "-of-00003.gguf"; }

  /// Writes all parts but the one left out; returns the path of the first.
  std::filesystem::path write(const tests::TempDir& dir, int left_out = -1) const {
    for (int no = 0; no < 3; ++no)
      if (no != left_out) dir.write(name(no), parts[no].build());
    return dir / name(0);
  }

  /// The same entries with one key changed.
  static tests::GgufBuilder part(std::uint16_t no, std::uint16_t count, std::int32_t tensors) {
    tests::GgufBuilder file;
    file.u16("split.no", no).u16("split.count", count).i32("split.tensors.count", tensors);
    return file.tensor("t" + std::to_string(no), {8}, 0, std::string(32, 'z'));
  }
};

TEST(GgufSplit, TheFirstPartBringsInTheOthers) {
  const tests::TempDir dir;
  const auto checkpoint = open_checkpoint(SplitSet().write(dir));
  ASSERT_TRUE(checkpoint.has_value()) << checkpoint.error().message;
  ASSERT_EQ(checkpoint->tensors().size(), 4U);
  EXPECT_EQ(checkpoint->find("t0")->view.data[0], std::byte{'0'});
  EXPECT_EQ(checkpoint->find("t1")->view.data[31], std::byte{'1'});
  EXPECT_EQ(checkpoint->find("t1")->file, SplitSet::name(1));
  EXPECT_EQ(checkpoint->find("another")->view.data[0], std::byte{'x'});
  EXPECT_EQ(checkpoint->metadata().text("general.architecture").value(), "gemma4");
}

TEST(GgufSplit, WorksThroughSymbolicLinks) {
  const tests::TempDir dir, links;
  SplitSet().write(dir);
  for (int no = 0; no < 3; ++no) {
    // As a cache keeps them: the content under another name elsewhere, a link under the published name.
    std::filesystem::rename(dir / SplitSet::name(no), dir / ("blob" + std::to_string(no)));
    std::filesystem::create_symlink(dir / ("blob" + std::to_string(no)), links / SplitSet::name(no));
  }
  const auto checkpoint = open_checkpoint(links / SplitSet::name(0));
  ASSERT_TRUE(checkpoint.has_value()) << checkpoint.error().message;
  EXPECT_EQ(checkpoint->tensors().size(), 4U);
}

TEST(GgufSplit, NamesTheFirstPartWhenAnotherIsNamed) {
  const tests::TempDir dir;
  SplitSet().write(dir);
  expect_refused(dir / SplitSet::name(1),
                 "is part 2 of 3 of a split model; name the first part, \"" + (dir / SplitSet::name(0)).string());
}

TEST(GgufSplit, NamesAnAbsentPart) {
  for (const int absent : {1, 2}) {
    const tests::TempDir dir;
    expect_refused(SplitSet().write(dir, absent), SplitSet::name(absent));
  }
}

TEST(GgufSplit, RefusesARenamedPart) {
  const tests::TempDir dir;
  std::filesystem::rename(SplitSet().write(dir), dir / "model.gguf");
  expect_refused(dir / "model.gguf", "its name does not end in \"-00001-of-00003.gguf\"");
}

TEST(GgufSplit, RefusesPartsThatDoNotBelongTogether) {
  struct Case {
    tests::GgufBuilder second;
    std::string_view says;
  };
  tests::GgufBuilder whole;
  whole.tensor("t1", {8}, 0, std::string(32, 'z'));
  tests::GgufBuilder repeated = SplitSet::part(1, 3, 4);
  repeated.tensors[0].name = "t0";
  tests::GgufBuilder more = SplitSet::part(1, 3, 4);
  more.tensor("one more", {8}, 0, std::string(32, 'z'));
  const Case cases[] = {
      {SplitSet::part(2, 3, 4), "says it is part 3 of 3; expected part 2 of 3"},
      {SplitSet::part(1, 4, 4), "says it is part 2 of 4; expected part 2 of 3"},
      {whole, "says it is part 1 of 1; expected part 2 of 3"},
      {SplitSet::part(3, 3, 4), "\"split.no\" is 3; expected 0 to 2"},
      {repeated, "tensor \"t0\" also stands in an earlier part"},
      {more, "\"split.tensors.count\" is 4, but the 3 parts hold 5 tensors"},
  };
  for (const Case& each : cases) {
    const tests::TempDir dir;
    const auto first = SplitSet().write(dir, 1);
    dir.write(SplitSet::name(1), each.second.build());
    expect_refused(first, each.says);
  }
}

TEST(GgufSplit, RefusesDamagedParts) {
  const tests::TempDir dir;
  const auto first = SplitSet().write(dir);
  const std::string second = SplitSet().parts[1].build();
  for (std::size_t size = 0; size < second.size(); ++size) {
    dir.write(SplitSet::name(1), std::string_view(second).substr(0, size));
    expect_refused(first, SplitSet::name(1));
  }
  dir.write(SplitSet::name(1), "version https://git-lfs.github.com/spec/v1\n");
  expect_refused(first, "git lfs pull");
}

TEST(GgufSplit, RefusesWrongSplitKeys) {
  const tests::TempDir dir;
  const auto refuses = [&](tests::GgufBuilder& file, std::string_view says) {
    expect_refused(dir.write("m-00001-of-00003.gguf", file.build()), says);
  };
  refuses(tests::GgufBuilder().u16("split.count", 3), "\"split.no\" is missing");
  refuses(tests::GgufBuilder().string("split.count", "3"), "\"split.count\" is a string; expected an integer");
  refuses(tests::GgufBuilder().i32("split.count", -3).u16("split.no", 0), "\"split.count\" is -3");
  refuses(tests::GgufBuilder().i32("split.count", 1'000'000'000).u16("split.no", 0), "\"split.count\" is 1000000000");
  refuses(tests::GgufBuilder().u16("split.count", 3).i32("split.no", -1), "\"split.no\" is -1; expected 0 to 2");
  // One part, or none said, is a whole file.
  for (const std::uint16_t count : {0, 1})
    EXPECT_TRUE(
        open_checkpoint(dir.write("m.gguf", tests::GgufBuilder().u16("split.count", count).build())).has_value());
}

}  // namespace
}  // namespace carat::formats
