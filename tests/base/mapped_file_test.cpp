// Mapped files: their bytes, their life time, and what is said about paths that cannot be mapped.
#include "base/mapped_file.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <string>

#include "formats/temp_dir.h"

namespace carat::base {
namespace {

using tests::TempDir;

TEST(MappedFile, ShowsTheBytes) {
  const TempDir dir;
  const auto path = dir.write("f", std::string("one\0two", 7));
  const auto file = MappedFile::open(path);
  ASSERT_TRUE(file.has_value()) << file.error().message;
  EXPECT_EQ(file->size(), 7U);
  EXPECT_EQ(file->text(), std::string_view("one\0two", 7));
  EXPECT_EQ(file->bytes()[4], std::byte{'t'});
  EXPECT_EQ(file->name(), path.string());
}

TEST(MappedFile, AnEmptyFileHasNoBytes) {
  const TempDir dir;
  const auto file = MappedFile::open(dir.write("f", ""));
  ASSERT_TRUE(file.has_value()) << file.error().message;
  EXPECT_TRUE(file->bytes().empty());
  EXPECT_TRUE(file->text().empty());
  file->advise(Access::random, 0, 1);
}

TEST(MappedFile, BytesStayInPlaceWhenMoved) {
  const TempDir dir;
  MappedFile first = MappedFile::open(dir.write("f", "first")).value();
  const std::byte* const at = first.bytes().data();
  MappedFile moved = std::move(first);
  EXPECT_EQ(moved.bytes().data(), at);
  MappedFile other = MappedFile::open(dir.write("g", "other")).value();
  other = std::move(moved);
  EXPECT_EQ(other.bytes().data(), at);
  EXPECT_EQ(other.text(), "first");
}

TEST(MappedFile, OutlivesTheNameOfTheFile) {
  const TempDir dir;
  const auto path = dir.write("f", "kept");
  const MappedFile file = MappedFile::open(path).value();
  std::filesystem::remove(path);
  EXPECT_EQ(file.text(), "kept");
}

TEST(MappedFile, AcceptsAnyHint) {
  const TempDir dir;
  const MappedFile file = MappedFile::open(dir.write("f", std::string(100'000, 'x'))).value();
  for (const Access access : {Access::sequential, Access::random, Access::will_need, Access::normal}) {
    file.advise(access, 0, file.size());
    file.advise(access, 5000, 1);
    file.advise(access, 99'999, ~std::size_t{0});
    file.advise(access, ~std::size_t{0}, 1);
  }
  EXPECT_EQ(file.text().back(), 'x');
}

void expect_refused(const std::filesystem::path& path, ErrorCode code, std::string_view says) {
  const auto file = MappedFile::open(path);
  ASSERT_FALSE(file.has_value());
  EXPECT_EQ(file.error().code, code);
  EXPECT_NE(file.error().message.find(path.string()), std::string::npos) << file.error().message;
  EXPECT_NE(file.error().message.find(says), std::string::npos) << file.error().message;
}

TEST(MappedFile, SaysWhyAPathCannotBeMapped) {
  const TempDir dir;
  expect_refused(dir / "absent", ErrorCode::bad_file, "No such file");
  expect_refused(dir.path(), ErrorCode::bad_file, "is a directory; expected a file");
  ASSERT_EQ(::mkfifo((dir / "pipe").c_str(), 0600), 0);
  expect_refused(dir / "pipe", ErrorCode::bad_file, "is no regular file");
  std::filesystem::create_symlink("gone", dir / "link");
  expect_refused(dir / "link", ErrorCode::bad_file, "symbolic link to \"gone\"");
}

TEST(MappedFile, SaysWhyTheSystemRefuses) {
  const TempDir dir;
  const auto path = dir / "socket";
  const int socket = ::socket(AF_UNIX, SOCK_STREAM, 0);
  ASSERT_GE(socket, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  ASSERT_LT(path.string().size(), sizeof address.sun_path);
  path.string().copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(::bind(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  expect_refused(path, ErrorCode::io, "cannot be opened for reading: ");
  ::close(socket);
}

}  // namespace
}  // namespace carat::base
