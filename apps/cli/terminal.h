// What a person sees: facts about the terminals behind standard output and error, progress bars, and text made safe to
// show. Nothing of it appears in a pipe or file.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>

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
/// that quick operations do not flicker, and never when standard error is no terminal. A thread of its own draws it, so
/// that it also shows during a first step of many seconds.
class ProgressBar {
 public:
  /// How far the operation is.
  struct State {
    std::int64_t done = 0, total = 0;  ///< total 0 = unknown
    double seconds = 0;                ///< since the start, when `done` was reported
    std::string detail;                ///< shown behind the rate
  };

  /// `label` says what happens ("Loading"), `unit` what is counted ("tokens"), empty for counts that mean nothing to a
  /// person.
  ProgressBar(std::string label, std::string unit, Terminal terminal = Terminal::standard_error());
  ~ProgressBar() { finish(); }
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  /// Reports `done` of `total`. Cheap; any thread may call it.
  void update(std::int64_t done, std::int64_t total, std::string detail = {});
  /// Erases the line and ends the drawing. Called again it does nothing.
  void finish();

  /// The line for a state, cut to a terminal of `width` columns; `waited` are the seconds since the state was reported.
  std::string line(const State& state, double waited, int width) const;

 private:
  using Clock = std::chrono::steady_clock;
  void draw(const std::stop_token& stop);
  double elapsed() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }

  std::string label_, unit_;
  Terminal terminal_;
  Clock::time_point start_ = Clock::now();
  std::mutex mutex_;  // guards state_
  std::condition_variable_any wake_;
  State state_;
  std::jthread drawer_;  // last: it uses all of the above
};

}  // namespace carat::cli
