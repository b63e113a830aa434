// Standard output with every write checked, and the one-line messages of standard error. Messages are built whole and
// written at once, so lines of several processes sharing a terminal do not mix.
#include "cli/output.h"

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace carat::cli {
namespace {

void print_line(std::string_view prefix, std::string_view message) {
  std::string line(prefix);
  line += one_line(message);
  line += '\n';
  std::fwrite(line.data(), 1, line.size(), stderr);
  std::fflush(stderr);
}

}  // namespace

void Output::write(std::string_view bytes) {
  if (failed() || bytes.empty()) return;
  errno = 0;
  if (std::fwrite(bytes.data(), 1, bytes.size(), stdout) != bytes.size()) error_number_ = errno != 0 ? errno : EIO;
}

void Output::flush() {
  if (failed()) return;
  errno = 0;
  if (std::fflush(stdout) != 0) error_number_ = errno != 0 ? errno : EIO;
}

Result<void> Output::finish() {
  flush();
  if (!failed()) return {};
  return fail(ErrorCode::io, std::string("standard output: cannot write: ") + std::strerror(error_number_));
}

std::string one_line(std::string_view text) {
  constexpr char kHex[] = "0123456789abcdef";
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    // U+0080..U+009F are control characters too; terminals may obey them (0x9b is CSI).
    const bool c1 = byte == 0xc2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) >= 0x80 &&
                    static_cast<unsigned char>(text[i + 1]) < 0xa0;
    if (byte == '\n') {
      out += "\\n";
    } else if (byte < 0x20 || byte == 0x7f || c1) {
      const auto shown = c1 ? static_cast<unsigned char>(text[++i]) : byte;
      out += "\\x";
      out += kHex[shown >> 4];
      out += kHex[shown & 15];
    } else {
      out += text[i];
    }
  }
  return out;
}

void print_error(std::string_view message) { print_line("carat: error: ", message); }
void print_warning(std::string_view message) { print_line("carat: warning: ", message); }
void print_note(std::string_view message) { print_line("carat: ", message); }

}  // namespace carat::cli
