// UTF-8 as the tokenizer reads it: one code point at a time, with the standard replacement of ill-formed sequences.
// The rule is the one of Python's errors="replace" and Rust's from_utf8_lossy, so whole files compare with the
// reference.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace carat::text {

inline constexpr char32_t kReplacement = 0xFFFD;
inline constexpr char32_t kMetaSpace = 0x2581;  ///< "▁", what SentencePiece vocabularies hold instead of a space
inline constexpr std::string_view kMetaSpaceUtf8 = "\xE2\x96\x81";

/// One step through UTF-8 text. `bytes` is how far to go on; an ill-formed stretch (a maximal subpart of a sequence, or
/// a byte that starts none: Unicode 15, section 3.9, table 3-8) has value U+FFFD and `valid` unset.
struct CodePoint {
  char32_t value = 0;
  std::uint32_t bytes = 0;
  bool valid = true;
};

/// The code point at `at`; `at` must lie before `end`.
inline CodePoint next_code_point(const char* at, const char* end) {
  const auto byte = [&](std::ptrdiff_t i) { return static_cast<unsigned char>(at[i]); };
  const unsigned lead = byte(0);
  if (lead < 0x80) return {lead, 1, true};
  if (lead < 0xC2 || lead > 0xF4) return {kReplacement, 1, false};
  // The second byte's range excludes overlong forms, surrogates and what lies past U+10FFFF.
  unsigned low = 0x80, high = 0xBF;
  if (lead == 0xE0) low = 0xA0;
  if (lead == 0xED) high = 0x9F;
  if (lead == 0xF0) low = 0x90;
  if (lead == 0xF4) high = 0x8F;
  if (end - at < 2 || byte(1) < low || byte(1) > high) return {kReplacement, 1, false};
  if (lead < 0xE0) return {(lead & 0x1Fu) << 6 | (byte(1) & 0x3Fu), 2, true};
  if (end - at < 3 || (byte(2) & 0xC0u) != 0x80) return {kReplacement, 2, false};
  if (lead < 0xF0) return {(lead & 0x0Fu) << 12 | (byte(1) & 0x3Fu) << 6 | (byte(2) & 0x3Fu), 3, true};
  if (end - at < 4 || (byte(3) & 0xC0u) != 0x80) return {kReplacement, 3, false};
  return {(lead & 0x07u) << 18 | (byte(1) & 0x3Fu) << 12 | (byte(2) & 0x3Fu) << 6 | (byte(3) & 0x3Fu), 4, true};
}

/// Where the ill-formed stretch at the start of UTF-8 text begins, or npos when all of it is well-formed.
std::size_t find_invalid_utf8(std::string_view text);

/// Appends the UTF-8 form of a code point below U+110000.
void append_utf8(char32_t value, std::string& out);

/// Appends `text` with a space for each "▁".
void append_with_spaces(std::string_view text, std::string& out);

/// Appends `bytes` as valid UTF-8: what is well-formed as it is, every other byte as U+FFFD. With `hold_back`, stops in
/// front of a last sequence that more bytes could still complete. Returns how many bytes were used up.
std::size_t append_valid_utf8(std::string_view bytes, bool hold_back, std::string& out);

}  // namespace carat::text
