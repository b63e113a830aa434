// Ctrl-C: the first press stops what is being computed cleanly, the second ends the program at once.
#pragma once

#include <stop_token>

namespace carat::cli {

/// Takes SIGINT over for the whole process. Call once, before any other thread starts. Where SIGINT was ignored by the
/// parent (nohup, background jobs of scripts) it stays ignored.
void install_interrupt_handling();

/// While one lives, the first SIGINT requests a stop through `token` and the second ends the process with code 130.
/// Without one SIGINT ends the process at once. Scopes do not nest.
class InterruptScope {
 public:
  InterruptScope();
  ~InterruptScope();
  InterruptScope(const InterruptScope&) = delete;
  InterruptScope& operator=(const InterruptScope&) = delete;

  std::stop_token token() const { return source_.get_token(); }
  bool stopped() const { return source_.stop_requested(); }

 private:
  std::stop_source source_;
};

}  // namespace carat::cli
