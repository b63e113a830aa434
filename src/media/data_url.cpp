#include "media/data_url.h"

#include <algorithm>
#include <cctype>
#include <string>

#include "base/concat.h"

namespace carat::media {

using base::concat;

namespace {

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) {
    return std::tolower(static_cast<unsigned char>(x)) == std::tolower(static_cast<unsigned char>(y));
  });
}

int digit_64(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == '+' || c == '-') return 62;
  if (c == '/' || c == '_') return 63;
  return -1;
}

int digit_16(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

auto too_long(std::size_t max_bytes) {
  return fail(ErrorCode::invalid_argument, concat("the data are longer than ", max_bytes,
                                                  " bytes, the limit for one medium (--max-media-bytes raises it)"));
}

}  // namespace

bool is_data_url(std::string_view text) { return text.size() >= 5 && equal_ignoring_case(text.substr(0, 5), "data:"); }

Result<std::vector<std::byte>> decode_base64(std::string_view text, std::size_t max_bytes) {
  if (text.size() / 4 > max_bytes) return too_long(max_bytes);
  std::vector<std::byte> out;
  out.reserve(std::min(max_bytes, text.size() / 4 * 3 + 3));
  unsigned bits = 0;
  int held = 0;
  bool ended = false;
  std::size_t digits = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == ' ' || c == '\n' || c == '\r' || c == '\t') continue;
    if (c == '=') {
      ended = true;
      continue;
    }
    const int digit = digit_64(c);
    if (digit < 0 || ended) {
      return fail(ErrorCode::invalid_argument,
                  concat("base64: character ", i, " does not belong there; expected letters, digits, + and /"));
    }
    ++digits;
    bits = bits << 6 | static_cast<unsigned>(digit);
    held += 6;
    if (held < 8) continue;
    held -= 8;
    if (out.size() == max_bytes) return too_long(max_bytes);
    out.push_back(static_cast<std::byte>(bits >> held & 0xFFU));
  }
  if (digits % 4 == 1) {
    return fail(ErrorCode::invalid_argument, concat("base64: ", digits,
                                                    " characters make no whole number of bytes; "
                                                    "the text is cut short"));
  }
  return out;
}

Result<std::vector<std::byte>> decode_data_url(std::string_view url, std::size_t max_bytes) {
  const std::size_t comma = url.find(',');
  if (!is_data_url(url) || comma == std::string_view::npos) {
    return fail(ErrorCode::invalid_argument, "data URL: expected data:TYPE;base64,DATA");
  }
  const std::string_view head = url.substr(5, comma - 5), data = url.substr(comma + 1);
  constexpr std::string_view base64 = ";base64";
  if (head.size() >= base64.size() && equal_ignoring_case(head.substr(head.size() - base64.size()), base64)) {
    auto bytes = decode_base64(data, max_bytes);
    if (!bytes) return fail(bytes.error().code, concat("data URL: ", bytes.error().message));
    return bytes;
  }
  std::vector<std::byte> out;
  for (std::size_t i = 0; i < data.size(); ++i) {
    if (out.size() == max_bytes) return too_long(max_bytes);
    if (data[i] != '%') {
      out.push_back(static_cast<std::byte>(data[i]));
      continue;
    }
    const int high = i + 2 < data.size() ? digit_16(data[i + 1]) : -1, low = high >= 0 ? digit_16(data[i + 2]) : -1;
    if (low < 0) {
      return fail(ErrorCode::invalid_argument,
                  concat("data URL: character ", comma + 1 + i, " begins no %XX; expected two hexadecimal digits"));
    }
    out.push_back(static_cast<std::byte>(high * 16 + low));
    i += 2;
  }
  return out;
}

}  // namespace carat::media
