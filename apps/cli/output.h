// Standard output with every write checked, and the one-line messages of standard error. A full disk or a closed
// descriptor is noticed and becomes exit code 1 instead of a silently cut result.
#pragma once

#include <string>
#include <string_view>

#include "carat/result.h"

namespace carat::cli {

/// Buffered standard output. After the first failed write it swallows the rest; `finish` then says why.
class Output {
 public:
  void write(std::string_view bytes);
  /// Hands what is buffered to the system, for text that streams.
  void flush();
  bool failed() const { return error_number_ != 0; }
  /// Flushes and reports the first failure. Errors: io.
  Result<void> finish();

 private:
  int error_number_ = 0;
};

/// One line without control characters: line breaks and other control bytes of hostile names become escapes.
std::string one_line(std::string_view text);

/// "carat: error: …" on standard error.
void print_error(std::string_view message);
/// "carat: warning: …" on standard error.
void print_warning(std::string_view message);
/// "carat: …" on standard error.
void print_note(std::string_view message);

}  // namespace carat::cli
