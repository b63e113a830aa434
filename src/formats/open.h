// Which file is what, told by its first bytes and never by its name.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include "carat/result.h"

namespace carat::formats {

/// An error when `bytes` are a Git-LFS pointer, the small text file a clone without git-lfs leaves in place of the real
/// one: it says so and how to fetch the file.
Result<void> refuse_lfs_pointer(std::span<const std::byte> bytes, std::string_view origin);

}  // namespace carat::formats
