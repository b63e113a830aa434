// A name for content: equal bytes, equal hash.
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace carat::media {

/// SHA-256 of the bytes in hexadecimal.
std::string content_hash(std::span<const std::byte> bytes);

}  // namespace carat::media
