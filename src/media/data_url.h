// Media given inside JSON: base64 text and data URLs (RFC 2397).
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "carat/result.h"

namespace carat::media {

bool is_data_url(std::string_view text);

/// The bytes of "data:[type][;base64],…". Errors: invalid_argument (no such URL, a character that does not belong
/// there, more than max_bytes).
Result<std::vector<std::byte>> decode_data_url(std::string_view url, std::size_t max_bytes);

/// The bytes of base64 text, with or without its padding, in the usual or the URL alphabet; white space is skipped.
Result<std::vector<std::byte>> decode_base64(std::string_view text, std::size_t max_bytes);

}  // namespace carat::media
