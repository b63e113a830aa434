// quote(...): text from a file, made safe and short for an error message or a terminal.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace carat::formats {

/// `text` between double quotes: control characters, quotes, backslashes and bytes that are no valid UTF-8 stand as
/// escapes (a hostile name cannot drive the terminal), and what exceeds `max_bytes` becomes "…".
std::string quote(std::string_view text, std::size_t max_bytes = 120);

}  // namespace carat::formats
