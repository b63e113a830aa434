// Hugging Face directories, complete and with something missing, damaged or hostile.
#include <gtest/gtest.h>

#include <random>

#include "file_builders.h"
#include "formats/checkpoint.h"
#include "temp_dir.h"

namespace carat::formats {
namespace {

constexpr std::string_view kPointer = "version https://git-lfs.github.com/spec/v1\noid sha256:1234\nsize 17000000\n";

/// A file of one f32 vector of two elements per name, each filled with the name's first letter.
std::string weights(std::initializer_list<std::string> names) {
  std::string header = "{", data;
  for (const std::string& name : names) {
    header += (data.empty() ? "\"" : ",\"") + name + R"(":{"dtype":"F32","shape":[2],"data_offsets":[)" +
              std::to_string(data.size()) + "," + std::to_string(data.size() + 8) + "]}";
    data += std::string(8, name[0]);
  }
  header += "}";
  header.append((8 - header.size() % 8) % 8, ' ');
  return tests::safetensors(header, data);
}

/// A directory with everything a published model has, one weight file.
struct ModelDir : tests::TempDir {
  ModelDir() {
    write("config.json", R"({"model_type":"gemma4","hidden_size":8})");
    write("generation_config.json", R"({"temperature":1.0})");
    write("tokenizer_config.json", R"({"chat_template":"from tokenizer_config"})");
    write("tokenizer.json", R"({"model":{}})");
    write("model.safetensors", weights({"b", "a"}));
  }
};

/// The same with two shards and an index.
struct ShardedDir : ModelDir {
  ShardedDir() {
    std::filesystem::remove(*this / "model.safetensors");
    write("model-00001-of-00002.safetensors", weights({"a", "c"}));
    write("model-00002-of-00002.safetensors", weights({"b"}));
    index(
        R"("a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors","c":"model-00001-of-00002.safetensors")");
  }
  void index(const std::string& weight_map) const {
    write("model.safetensors.index.json", R"({"metadata":{"total_size":24},"weight_map":{)" + weight_map + "}}");
  }
};

void expect_refused(const std::filesystem::path& path, std::string_view says, ErrorCode code = ErrorCode::bad_file) {
  const auto checkpoint = open_checkpoint(path);
  ASSERT_FALSE(checkpoint.has_value()) << says;
  EXPECT_EQ(checkpoint.error().code, code) << checkpoint.error().message;
  EXPECT_NE(checkpoint.error().message.find(says), std::string::npos) << checkpoint.error().message;
}

TEST(HuggingFace, OpensADirectory) {
  const ModelDir dir;
  auto opened = open_checkpoint(dir.path());
  ASSERT_TRUE(opened.has_value()) << opened.error().message;
  const Checkpoint checkpoint = std::move(*opened);
  EXPECT_EQ(checkpoint.format(), Format::huggingface);
  EXPECT_EQ(checkpoint.path(), dir.path());
  EXPECT_EQ(checkpoint.config()["model_type"], "gemma4");
  EXPECT_EQ(checkpoint.generation_config()["temperature"], 1.0);
  EXPECT_EQ(checkpoint.tokenizer_config().size(), 1U);
  EXPECT_EQ(checkpoint.tokenizer_json(), R"({"model":{}})");
  EXPECT_EQ(checkpoint.chat_template(), "from tokenizer_config");
  EXPECT_TRUE(checkpoint.metadata().values().empty());
  ASSERT_EQ(checkpoint.tensors().size(), 2U);
  EXPECT_EQ(checkpoint.tensors()[0].name, "a");
  EXPECT_EQ(checkpoint.find("b")->view.data[7], std::byte{'b'});
  EXPECT_EQ(checkpoint.find("b")->file, "model.safetensors");
}

TEST(HuggingFace, OpensWithOnlyConfigAndWeights) {
  const tests::TempDir dir;
  dir.write("config.json", "{}");
  dir.write("model.safetensors", weights({"a"}));
  const auto checkpoint = open_checkpoint(dir.path());
  ASSERT_TRUE(checkpoint.has_value()) << checkpoint.error().message;
  EXPECT_TRUE(checkpoint->generation_config().is_null());
  EXPECT_TRUE(checkpoint->tokenizer_config().is_null());
  EXPECT_TRUE(checkpoint->tokenizer_json().empty());
  EXPECT_EQ(checkpoint->chat_template(), std::nullopt);
}

TEST(HuggingFace, FollowsSymbolicLinks) {
  const ShardedDir blobs;
  const tests::TempDir snapshot;
  int number = 0;
  for (const auto& entry : std::filesystem::directory_iterator(blobs.path())) {
    const auto blob = blobs / ("blob" + std::to_string(number++));
    std::filesystem::create_symlink(blob, snapshot.path() / entry.path().filename());
    std::filesystem::rename(entry.path(), blob);
    if (number == 6) break;  // the renamed files appear in the listing too
  }
  ASSERT_EQ(std::distance(std::filesystem::directory_iterator(snapshot.path()), {}), 6);
  std::filesystem::create_directory_symlink(snapshot.path(), blobs / "model");
  const auto checkpoint = open_checkpoint(blobs / "model");
  ASSERT_TRUE(checkpoint.has_value()) << checkpoint.error().message;
  EXPECT_EQ(checkpoint->tensors().size(), 3U);
}

TEST(HuggingFace, ChatTemplateComesFromTheMostSpecificFile) {
  const ModelDir dir;
  const auto chat_template = [&] { return open_checkpoint(dir.path()).value().chat_template(); };
  dir.write("chat_template.json", R"({"chat_template":"from json"})");
  EXPECT_EQ(chat_template(), "from json");
  dir.write("chat_template.jinja", "from jinja");
  EXPECT_EQ(chat_template(), "from jinja");
}

TEST(HuggingFace, ReadsAListOfChatTemplates) {
  const ModelDir dir;
  dir.write("tokenizer_config.json",
            R"({"chat_template":[{"name":"rag","template":"other"},{"name":"default","template":"the one"}]})");
  EXPECT_EQ(open_checkpoint(dir.path()).value().chat_template(), "the one");
  dir.write("tokenizer_config.json", R"({"chat_template":null})");
  EXPECT_EQ(open_checkpoint(dir.path()).value().chat_template(), std::nullopt);
  for (const std::string_view wrong : {"3", "[]", "[3]", R"([{"name":"default"}])", R"([{"name":3,"template":"x"}])"}) {
    dir.write("tokenizer_config.json", "{\"chat_template\":" + std::string(wrong) + "}");
    expect_refused(dir.path(), "\"chat_template\" is neither a text nor a list");
  }
  dir.write("chat_template.json", R"({"chat_template":3})");
  expect_refused(dir.path(), "chat_template.json\": has no text under \"chat_template\"");
}

TEST(HuggingFace, JoinsShards) {
  const ShardedDir dir;
  const auto checkpoint = open_checkpoint(dir.path());
  ASSERT_TRUE(checkpoint.has_value()) << checkpoint.error().message;
  ASSERT_EQ(checkpoint->tensors().size(), 3U);
  EXPECT_EQ(checkpoint->find("b")->file, "model-00002-of-00002.safetensors");
  EXPECT_EQ(checkpoint->find("c")->view.data[0], std::byte{'c'});
}

TEST(HuggingFace, ATensorTheIndexPutsElsewhereIsPassedOver) {
  const ShardedDir dir;
  dir.write("model-00002-of-00002.safetensors", weights({"b", "a"}));
  const auto checkpoint = open_checkpoint(dir.path());
  ASSERT_TRUE(checkpoint.has_value()) << checkpoint.error().message;
  EXPECT_EQ(checkpoint->find("a")->file, "model-00001-of-00002.safetensors");
}

TEST(HuggingFace, RefusesShardsThatDoNotFitTheIndex) {
  const ShardedDir dir;
  dir.index(R"("a":"x-1.safetensors","b":"x-2.safetensors","c":"model-00001-of-00002.safetensors")");
  expect_refused(dir.path(), "names 3 shards, of which 2 are absent: \"x-1.safetensors\", \"x-2.safetensors\"");
  dir.index(R"("z":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors")");
  expect_refused(dir.path(), "tensor \"z\" is missing in its shard \"model-00001-of-00002.safetensors\"");
  dir.index(R"("b":"model-00001-of-00002.safetensors")");
  expect_refused(dir.path(), "tensor \"b\" is missing in its shard");
  dir.index("");
  expect_refused(dir.path(), "has no \"weight_map\"");
  dir.index(R"("a":3)");
  expect_refused(dir.path(), "the shard of tensor \"a\" is no file name");
  dir.index(R"("a":"s1","a":"s2")");
  expect_refused(dir.path(), "duplicate key \"a\"");
  for (const std::string_view wrong :
       {"", ".", "..", "../secret", "/etc/passwd", "sub/x.safetensors", "a\\\\b", "a\\u0000b"}) {
    dir.index("\"a\":\"" + std::string(wrong) + "\"");
    expect_refused(dir.path(), "expected a file name in the same directory");
  }
  for (const std::string_view wrong : {"[]", "3", R"({"weight_map":[]})", R"({"weight_map":{"a":)", ""}) {
    dir.write("model.safetensors.index.json", wrong);
    expect_refused(dir.path(), "model.safetensors.index.json");
  }
  // Both shards hold a tensor the index does not mention: which one is meant?
  dir.write("model-00001-of-00002.safetensors", weights({"a", "both"}));
  dir.write("model-00002-of-00002.safetensors", weights({"b", "both"}));
  dir.index(R"("a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors")");
  expect_refused(
      dir.path(),
      "tensor \"both\" stands in \"model-00001-of-00002.safetensors\" and in \"model-00002-of-00002.safetensors\"");
}

TEST(HuggingFace, ADirectoryWithoutConfigOrWeightsSaysSo) {
  const tests::TempDir dir;
  expect_refused(dir.path(), "the directory has no config.json; expected a Hugging Face model directory");
  dir.write("m-q4.gguf", "GGUF");
  dir.write("m-q8.gguf", "GGUF");
  expect_refused(dir.path(), "it holds GGUF files, name one of them: \"m-q4.gguf\", \"m-q8.gguf\"");
  dir.write("config.json", "{}");
  expect_refused(dir.path(), "a directory without weights: expected model.safetensors or model.safetensors.index.json");
  dir.write("pytorch_model.bin", "PK");
  expect_refused(dir.path(), "\"pytorch_model.bin\"");
}

TEST(HuggingFace, RefusesPointersEverywhere) {
  for (const std::string_view name :
       {"config.json", "generation_config.json", "tokenizer_config.json", "tokenizer.json", "chat_template.jinja",
        "chat_template.json", "model.safetensors"}) {
    const ModelDir dir;
    dir.write(name, kPointer);
    expect_refused(dir.path(), std::string(name) + "\" is a Git-LFS pointer, not the file itself; run `git lfs pull`");
  }
  for (const std::string_view name : {"model.safetensors.index.json", "model-00002-of-00002.safetensors"}) {
    const ShardedDir dir;
    dir.write(name, kPointer);
    expect_refused(dir.path(), std::string(name) + "\" is a Git-LFS pointer");
  }
}

TEST(HuggingFace, RefusesDamagedFilesByName) {
  for (const std::string_view name :
       {"config.json", "generation_config.json", "tokenizer_config.json", "chat_template.json"}) {
    for (const std::string_view damaged :
         {"", "{", "[]", "3", "{\"a\":1,\"a\":2}", "{\"a\":1e999}", "{\"a\":\"\\ud800\"}"}) {
      const ModelDir dir;
      dir.write(name, damaged);
      expect_refused(dir.path(), name);
    }
  }
  const ModelDir dir;
  dir.write("tokenizer.json", "");
  expect_refused(dir.path(), "tokenizer.json\": the file is empty");
}

TEST(HuggingFace, RefusesOddThingsInPlaceOfFiles) {
  {
    const ModelDir dir;
    std::filesystem::remove(dir / "config.json");
    std::filesystem::create_directory(dir / "config.json");
    expect_refused(dir.path(), "config.json\" is a directory");
  }
  {
    const ModelDir dir;
    std::filesystem::remove(dir / "model.safetensors");
    std::filesystem::create_symlink("../nowhere", dir / "model.safetensors");
    expect_refused(dir.path(), "is a symbolic link to \"../nowhere\", which does not exist");
  }
}

TEST(HuggingFace, RefusesTruncationAtEveryByteOfEveryFile) {
  const ShardedDir dir;
  ASSERT_TRUE(open_checkpoint(dir.path()).has_value());
  for (const std::string_view name :
       {"config.json", "generation_config.json", "tokenizer_config.json", "model.safetensors.index.json",
        "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"}) {
    const auto path = dir / name;
    const auto whole_size = std::filesystem::file_size(path);
    const tests::TempDir aside;
    std::filesystem::copy_file(path, aside / name);
    for (auto size = whole_size; size-- > 0;) {
      std::filesystem::resize_file(path, size);
      expect_refused(dir.path(), name);
    }
    std::filesystem::copy_file(aside / name, path, std::filesystem::copy_options::overwrite_existing);
  }
  ASSERT_TRUE(open_checkpoint(dir.path()).has_value());
}

TEST(HuggingFace, OpeningTouchesNoWeights) {
  const tests::TempDir dir;
  dir.write("config.json", "{}");
  // 64 GiB of weights that take no space on the disk: reading them would take minutes.
  const auto path = dir.write(
      "model.safetensors",
      tests::safetensors(R"({"t":{"dtype":"U8","shape":[68719476736],"data_offsets":[0,68719476736]}} )", ""));
  std::filesystem::resize_file(path, std::filesystem::file_size(path) + (std::uintmax_t{1} << 36));
  const auto checkpoint = open_checkpoint(dir.path());
  ASSERT_TRUE(checkpoint.has_value()) << checkpoint.error().message;
  EXPECT_EQ(checkpoint->tensors()[0].view.size_bytes(), std::int64_t{1} << 36);
}

}  // namespace
}  // namespace carat::formats
