#include "media/file_bytes.h"

#include <fstream>
#include <system_error>

#include "base/concat.h"

namespace carat::media {

using base::concat;

Result<std::vector<std::byte>> read_media_file(const std::filesystem::path& path, std::size_t max_bytes) {
  std::error_code code;
  const auto status = std::filesystem::status(path, code);
  if (!std::filesystem::exists(status)) return fail(ErrorCode::bad_file, concat(path, ": no such file"));
  if (std::filesystem::is_directory(status)) {
    return fail(ErrorCode::bad_file, concat(path, ": is a folder; expected a media file"));
  }
  std::ifstream in(path, std::ios::binary);
  if (!in) return fail(ErrorCode::bad_file, concat(path, ": cannot be opened for reading"));
  // Pipes have no size to ask for, so the limit is held while reading.
  std::vector<std::byte> out;
  constexpr std::size_t kPiece = std::size_t{1} << 20;
  while (in) {
    const std::size_t before = out.size();
    out.resize(before + kPiece);
    in.read(reinterpret_cast<char*>(out.data() + before), kPiece);
    out.resize(before + static_cast<std::size_t>(in.gcount()));
    if (out.size() > max_bytes) {
      return fail(ErrorCode::invalid_argument,
                  concat(path, ": the file is larger than ", max_bytes,
                         " bytes, the limit for one medium (--max-media-bytes raises it)"));
    }
  }
  if (in.bad()) return fail(ErrorCode::bad_file, concat(path, ": reading failed"));
  if (out.empty()) return fail(ErrorCode::bad_file, concat(path, ": the file is empty"));
  return out;
}

}  // namespace carat::media
