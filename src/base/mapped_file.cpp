// Opens, checks and maps files for reading. POSIX only: open, fstat, mmap, madvise.
#include "base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <system_error>
#include <utility>

#include "base/concat.h"

namespace carat::base {
namespace {

/// Closes the descriptor at the end of the scope; the mapping outlives it.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

std::string reason(int error_number) { return std::system_category().message(error_number); }

std::unexpected<Error> open_failure(const std::filesystem::path& path, int error_number) {
  if (error_number != ENOENT && error_number != ENOTDIR && error_number != ENAMETOOLONG && error_number != ELOOP)
    return fail(ErrorCode::io, concat("\"", path, "\": cannot be opened for reading: ", reason(error_number)));
  std::error_code ignored;
  if (std::filesystem::is_symlink(path, ignored)) {
    return fail(ErrorCode::bad_file, concat("\"", path, "\" is a symbolic link to \"",
                                            std::filesystem::read_symlink(path, ignored), "\", which does not exist"));
  }
  return fail(ErrorCode::bad_file, concat("\"", path, "\": ", reason(error_number)));
}

}  // namespace

Result<MappedFile> MappedFile::open(const std::filesystem::path& path) {
  // O_NONBLOCK: opening a pipe without a writer would otherwise wait for ever. It means nothing for regular files.
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.get() < 0) return open_failure(path, errno);

  struct stat status{};
  if (::fstat(file.get(), &status) != 0)
    return fail(ErrorCode::io, concat("\"", path, "\": its size cannot be read: ", reason(errno)));
  if (!S_ISREG(status.st_mode)) {
    return fail(
        ErrorCode::bad_file,
        concat("\"", path, "\" is ", S_ISDIR(status.st_mode) ? "a directory" : "no regular file", "; expected a file"));
  }
  if (static_cast<std::uintmax_t>(status.st_size) > std::numeric_limits<std::size_t>::max())
    return fail(ErrorCode::io, concat("\"", path, "\": too large to map, ", status.st_size, " bytes"));

  MappedFile mapped;
  mapped.name_ = path.string();
  mapped.size_ = static_cast<std::size_t>(status.st_size);
  if (mapped.size_ == 0) return mapped;  // mmap refuses an empty range
  // Private, though nothing is written: qemu 7.2 refuses shared mappings above 32 GB.
  void* address = ::mmap(nullptr, mapped.size_, PROT_READ, MAP_PRIVATE, file.get(), 0);
  if (address == MAP_FAILED) {
    const int error_number = errno;
    mapped.size_ = 0;
    return fail(ErrorCode::io,
                concat("\"", path, "\": ", status.st_size, " bytes cannot be mapped: ", reason(error_number)));
  }
  mapped.data_ = static_cast<const std::byte*>(address);
  return mapped;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)), name_(std::move(other.name_)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(name_, other.name_);
  return *this;
}

void MappedFile::advise(Access access, std::size_t offset, std::size_t length) const {
  if (offset >= size_) return;
  length = std::min(length, size_ - offset);
  // madvise wants a page boundary: move the start down to one.
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const std::size_t begin = offset - offset % page;
  int advice = MADV_NORMAL;
  switch (access) {
    case Access::normal:
      advice = MADV_NORMAL;
      break;
    case Access::sequential:
      advice = MADV_SEQUENTIAL;
      break;
    case Access::random:
      advice = MADV_RANDOM;
      break;
    case Access::will_need:
      advice = MADV_WILLNEED;
      break;
    case Access::done:
      advice = MADV_DONTNEED;
      break;
  }
  ::madvise(const_cast<std::byte*>(data_) + begin, length + (offset - begin), advice);
}

}  // namespace carat::base
