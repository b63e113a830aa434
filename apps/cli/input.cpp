// Bytes and JSON from files, standard input and the command line, exactly as they are. Reading goes through the plain
// system calls, so nothing translates line ends or stops at a zero byte.
#include "cli/input.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace carat::cli {
namespace {

constexpr std::size_t kMaxDepth = 200;

// Reads a descriptor to its end; returns 0 or the error number.
int read_all(int descriptor, std::string& out) {
  constexpr std::size_t kStep = std::size_t{1} << 16;
  for (;;) {
    const std::size_t size = out.size();
    out.resize(size + kStep);
    const ssize_t count = ::read(descriptor, out.data() + size, kStep);
    out.resize(size + (count > 0 ? static_cast<std::size_t>(count) : 0));
    if (count == 0) return 0;
    if (count < 0 && errno != EINTR) return errno;
  }
}

// Depth of nesting, brackets inside strings not counted. The parser and its values recurse, so this is checked first.
bool too_deep(std::string_view text) {
  std::size_t depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      if (++depth > kMaxDepth) return true;
    } else if ((c == ']' || c == '}') && depth > 0) {
      --depth;
    }
  }
  return false;
}

}  // namespace

Result<std::string> read_file(const std::filesystem::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return fail(ErrorCode::bad_file, path.string() + ": cannot open: " + std::strerror(errno));
  std::string out;
  const int error = read_all(descriptor, out);
  ::close(descriptor);
  if (error != 0) return fail(ErrorCode::bad_file, path.string() + ": cannot read: " + std::strerror(error));
  return out;
}

Result<std::string> read_standard_input() {
  std::string out;
  if (const int error = read_all(STDIN_FILENO, out); error != 0) {
    return fail(ErrorCode::io, std::string("standard input: cannot read: ") + std::strerror(error));
  }
  return out;
}

bool standard_input_is_terminal() { return ::isatty(STDIN_FILENO) == 1; }

Result<Json> parse_json(std::string_view text, std::string_view origin) {
  if (too_deep(text)) {
    return fail(ErrorCode::invalid_argument,
                std::string(origin) + ": JSON is nested deeper than " + std::to_string(kMaxDepth) + " levels");
  }
  try {
    return Json::parse(text);
  } catch (const Json::exception& error) {
    // The library's text begins with "[json.exception.parse_error.101] ", which helps nobody.
    std::string_view what = error.what();
    if (const auto end = what.find("] "); what.starts_with('[') && end != std::string_view::npos)
      what.remove_prefix(end + 2);
    return fail(ErrorCode::invalid_argument, std::string(origin) + ": not valid JSON: " + std::string(what));
  }
}

std::string dump_json(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

Result<void> check_utf8(std::string_view text, std::string_view what) {
  std::size_t i = 0;
  const auto byte = [&](std::size_t at) { return at < text.size() ? static_cast<unsigned char>(text[at]) : 0u; };
  const auto continuation = [&](std::size_t at) { return (byte(at) & 0xc0u) == 0x80u; };
  while (i < text.size()) {
    const unsigned first = byte(i);
    std::size_t length = 0;
    if (first < 0x80) {
      length = 1;
    } else if (first >= 0xc2 && first <= 0xdf) {
      length = continuation(i + 1) ? 2 : 0;
    } else if (first >= 0xe0 && first <= 0xef) {
      const bool overlong = first == 0xe0 && byte(i + 1) < 0xa0;
      const bool surrogate = first == 0xed && byte(i + 1) > 0x9f;
      length = continuation(i + 1) && continuation(i + 2) && !overlong && !surrogate ? 3 : 0;
    } else if (first >= 0xf0 && first <= 0xf4) {
      const bool overlong = first == 0xf0 && byte(i + 1) < 0x90;
      const bool too_large = first == 0xf4 && byte(i + 1) > 0x8f;
      length = continuation(i + 1) && continuation(i + 2) && continuation(i + 3) && !overlong && !too_large ? 4 : 0;
    }
    if (length == 0) {
      return fail(ErrorCode::invalid_argument, std::string(what) + " is not UTF-8: invalid byte at offset " +
                                                   std::to_string(i) + "; convert it first (for example with iconv)");
    }
    i += length;
  }
  return {};
}

}  // namespace carat::cli
