// What a person sees: facts about the terminals behind standard output and error, progress bars, and text made safe to
// show. Nothing of it appears in a pipe or file.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace carat::cli {

struct Terminal {
  bool interactive = false;  ///< a terminal that can move its cursor (TERM is not "dumb")
  bool present = false;      ///< a terminal of any kind
  bool color = false;        ///< interactive and NO_COLOR is not set
  bool utf8 = false;         ///< its locale is UTF-8
  int descriptor = -1;

  static Terminal standard_output();
  static Terminal standard_error();
  /// Columns now, 80 when unknown.
  int width() const;
};

/// Text as it may be shown on a terminal: control characters other than line feed and tab lose their effect, so that
/// generated text cannot move the cursor or reprogram the terminal.
std::string displayable(std::string_view text);

/// One line on standard error that shows how far a long operation is; erased when done. Appears only after 0.3 s, so
/// that quick operations do not flicker, and never when standard error is no terminal.
class ProgressBar {
 public:
  /// `label` says what happens ("Loading"), `unit` what is counted ("tokens"), empty for counts that mean nothing to a person.
  ProgressBar(std::string label, std::string unit, Terminal terminal = Terminal::standard_error());
  ~ProgressBar() { finish(); }
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  /// Shows `done` of `total` (total 0 = unknown), and `detail` behind the rate. Redraws at most ten times a second.
  void update(std::int64_t done, std::int64_t total, std::string_view detail = {});
  /// Erases the line. Called again, or without an update, it does nothing.
  void finish();

  /// The line for a state, for a terminal of `width` columns; separate from drawing so that it can be tested.
  std::string line(std::int64_t done, std::int64_t total, double seconds, std::string_view detail, int width) const;

 private:
  using Clock = std::chrono::steady_clock;
  std::string label_, unit_;
  Terminal terminal_;
  Clock::time_point start_ = Clock::now();
  Clock::time_point drawn_at_ = start_;
  bool visible_ = false;
};

}  // namespace carat::cli
