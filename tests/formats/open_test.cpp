// What open_checkpoint says to paths that are no model: absent, empty, of another kind, unreadable.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "file_builders.h"
#include "formats/checkpoint.h"
#include "temp_dir.h"

namespace carat::formats {
namespace {

using namespace std::string_literals;

void expect_refused(const std::filesystem::path& path, std::string_view says, ErrorCode code = ErrorCode::bad_file) {
  const auto checkpoint = open_checkpoint(path);
  ASSERT_FALSE(checkpoint.has_value()) << says;
  EXPECT_EQ(checkpoint.error().code, code) << checkpoint.error().message;
  EXPECT_NE(checkpoint.error().message.find(says), std::string::npos) << checkpoint.error().message;
}

TEST(Open, RefusesPathsThatLeadNowhere) {
  const tests::TempDir dir;
  expect_refused("", "the path of the model is empty", ErrorCode::invalid_argument);
  expect_refused(dir / "absent", "No such file or directory");
  expect_refused(dir / "absent" / "model.gguf", "No such file or directory");
  expect_refused(dir.write("file", "text") / "below", "Not a directory");
  expect_refused(dir / std::string(300, 'x'), "name too long");
  std::filesystem::create_symlink("gone.gguf", dir / "link.gguf");
  expect_refused(dir / "link.gguf", "link.gguf\" is a symbolic link to \"gone.gguf\", which does not exist");
  std::filesystem::create_symlink("loop", dir / "loop");
  expect_refused(dir / "loop", "loop");
}

TEST(Open, RefusesThingsThatAreNoFiles) {
  const tests::TempDir dir;
  ASSERT_EQ(::mkfifo((dir / "pipe").c_str(), 0600), 0);
  expect_refused(dir / "pipe", "is no regular file");  // and does not wait for a writer
  expect_refused("/dev/null", "is no regular file");
}

TEST(Open, RefusesOtherKindsOfFiles) {
  const tests::TempDir dir;
  const auto file = [&](std::string_view content) { return dir.write("model.gguf", content); };
  expect_refused(file(""), "the file is empty");
  expect_refused(file("x"), "it starts with \"x\"");
  expect_refused(file("GGU"), "it starts with \"GGU\"");
  expect_refused(file("\x7f"
                      "ELF\0\0\0\0 a program"s),
                 R"(it starts with "\x7fELF\x00\x00\x00\x00")");
  expect_refused(file("version https://git-lfs.github.com/spec/v1\noid sha256:00\n"), "is a Git-LFS pointer");
  expect_refused(file("PK\x03\x04 archive"), "ZIP archive, as PyTorch writes", ErrorCode::unsupported);
  expect_refused(file("tjgg\x03\0\0\0"s), "from before GGUF", ErrorCode::unsupported);
  expect_refused(file("FUGG\0\0\0\x03"s), "byte-swapped", ErrorCode::unsupported);
  expect_refused(file("GGUF\0\0\0\x03 and more"s), "big-endian", ErrorCode::unsupported);
}

TEST(Open, ASafetensorsFileNamesItsDirectory) {
  const tests::TempDir dir;
  dir.write("config.json", "{}");
  const auto path = dir.write("model.safetensors",
                              tests::safetensors(R"({"t":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", "x"));
  expect_refused(
      path, "is one safetensors file of a model; name the directory that holds it together with its config.json: \"" +
                dir.path().string() + "\"");
}

TEST(Open, AConfigFileNamesItsDirectory) {
  const tests::TempDir dir;
  expect_refused(
      dir.write("config.json", "{}"),
      "config.json\" is a JSON file; name the directory of the model that holds it: \"" + dir.path().string() + "\"");
}

}  // namespace
}  // namespace carat::formats
