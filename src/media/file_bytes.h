// The bytes of a media file.
#pragma once

#include <cstddef>
#include <filesystem>
#include <vector>

#include "carat/result.h"

namespace carat::media {

/// Reads a whole file. Errors: bad_file (none there, a folder, empty, unreadable), invalid_argument when it is larger
/// than max_bytes.
Result<std::vector<std::byte>> read_media_file(const std::filesystem::path& path, std::size_t max_bytes);

}  // namespace carat::media
