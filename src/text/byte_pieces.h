// The pieces "<0x00>" to "<0xFF>", which stand for single bytes of characters outside the vocabulary.
#pragma once

#include <optional>
#include <string_view>

namespace carat::text {

/// "<0x0A>" -> 10; nothing for any other text. Hexadecimal digits are upper case, as the reference writes them.
inline std::optional<unsigned> byte_of_piece(std::string_view piece) {
  if (piece.size() != 6 || !piece.starts_with("<0x") || piece[5] != '>') return std::nullopt;
  unsigned value = 0;
  for (const char c : piece.substr(3, 2)) {
    if (c >= '0' && c <= '9')
      value = value * 16 + static_cast<unsigned>(c - '0');
    else if (c >= 'A' && c <= 'F')
      value = value * 16 + static_cast<unsigned>(c - 'A' + 10);
    else
      return std::nullopt;
  }
  return value;
}

}  // namespace carat::text
