// MappedFile: a whole file as read-only bytes, mapped and not read. The kernel brings pages in when they are touched.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "carat/result.h"

namespace carat::base {

/// How a range of the mapping is about to be used; see MappedFile::advise.
enum class Access {
  normal,      ///< the kernel's own read-ahead
  sequential,  ///< read ahead far, drop behind
  random,      ///< no read-ahead: single rows of a large table
  will_need,   ///< start reading the range in now
  done,        ///< not again soon: its pages no longer count as memory of this process
};

/// Owns one read-only mapping. Movable: the bytes stay where they are. Any number of threads may read them.
/// A file that another program shortens while it is mapped ends the process when a lost page is touched, as with every
/// mapping; replacing a file by rename is safe.
class MappedFile {
 public:
  /// Maps the regular file at `path`, symbolic links followed. An empty file gives an empty span. Errors: bad_file when
  /// the path does not exist or is no regular file, io when the system refuses. Never blocks on pipes or devices.
  static Result<MappedFile> open(const std::filesystem::path& path);

  MappedFile() = default;
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  std::size_t size() const { return size_; }
  /// The bytes as text; no encoding is checked.
  std::string_view text() const { return {reinterpret_cast<const char*>(data_), size_}; }
  /// The path as the caller named it, for messages.
  const std::string& name() const { return name_; }

  /// Tells the kernel how the bytes [offset, offset + length) will be used. Only a hint: out-of-range parts are clipped
  /// and a refusal is ignored.
  void advise(Access access, std::size_t offset, std::size_t length) const;

 private:
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  std::string name_;
};

}  // namespace carat::base
