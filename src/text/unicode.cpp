// UTF-8 checks and conversions over whole strings.
#include "text/unicode.h"

namespace carat::text {

std::size_t find_invalid_utf8(std::string_view text) {
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at < end) {
    const CodePoint next = next_code_point(at, end);
    if (!next.valid) return static_cast<std::size_t>(at - text.data());
    at += next.bytes;
  }
  return std::string_view::npos;
}

void append_utf8(char32_t value, std::string& out) {
  const auto put = [&](char32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (value < 0x80) {
    put(value);
  } else if (value < 0x800) {
    put(0xC0 | value >> 6);
    put(0x80 | (value & 0x3F));
  } else if (value < 0x10000) {
    put(0xE0 | value >> 12);
    put(0x80 | (value >> 6 & 0x3F));
    put(0x80 | (value & 0x3F));
  } else {
    put(0xF0 | value >> 18);
    put(0x80 | (value >> 12 & 0x3F));
    put(0x80 | (value >> 6 & 0x3F));
    put(0x80 | (value & 0x3F));
  }
}

void append_with_spaces(std::string_view text, std::string& out) {
  for (auto at = text.find(kMetaSpaceUtf8); at != text.npos; at = text.find(kMetaSpaceUtf8)) {
    out.append(text.substr(0, at));
    out.push_back(' ');
    text.remove_prefix(at + kMetaSpaceUtf8.size());
  }
  out.append(text);
}

std::size_t append_valid_utf8(std::string_view bytes, bool hold_back, std::string& out) {
  const char* at = bytes.data();
  const char* const end = at + bytes.size();
  while (at < end) {
    const CodePoint next = next_code_point(at, end);
    if (next.valid) {
      out.append(at, next.bytes);
      at += next.bytes;
      continue;
    }
    // Ill-formed only because it ends too early: the stretch reaches the end and starts like a longer sequence.
    const unsigned lead = static_cast<unsigned char>(*at);
    const bool unfinished = at + next.bytes == end && lead >= 0xC2 && lead <= 0xF4;
    if (hold_back && unfinished) break;
    append_utf8(kReplacement, out);
    ++at;
  }
  return static_cast<std::size_t>(at - bytes.data());
}

}  // namespace carat::text
