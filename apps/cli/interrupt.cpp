// Ctrl-C: the first press stops what is being computed cleanly, the second ends the program at once. A thread waits for
// the signal instead of a handler, so requesting the stop runs as ordinary code with ordinary locks.
#include "cli/interrupt.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <mutex>
#include <thread>

#include "cli/exit_code.h"
#include "cli/terminal.h"

namespace carat::cli {
namespace {

// A process has one SIGINT, so this state is the process's own.
std::mutex scope_mutex;
std::stop_source* active_scope = nullptr;

[[noreturn]] void end_at_once() {
  // The answer may have been dimmed, or a progress bar half drawn.
  if (Terminal::standard_output().color) {
    [[maybe_unused]] const auto ignored = ::write(STDOUT_FILENO, "\x1b[0m", 4);
  }
  if (Terminal::standard_error().present) {
    [[maybe_unused]] const auto ignored = ::write(STDERR_FILENO, "\n", 1);
  }
  ::_exit(static_cast<int>(ExitCode::interrupted));
}

// One step of a large model can take seconds, and the stop waits for its end: say so instead of seeming to hang.
void say_still_stopping() {
  if (!Terminal::standard_error().present) return;
  std::fputs("\r\x1b[Kcarat: stopping after this step; Ctrl-C again ends at once\n", stderr);
  std::fflush(stderr);
}

void wait_for_interrupts(sigset_t signals) {
  constexpr timespec kPatience{.tv_sec = 1, .tv_nsec = 0};
  bool told = true;
  for (;;) {
    const int signal = told ? ::sigwaitinfo(&signals, nullptr) : ::sigtimedwait(&signals, nullptr, &kPatience);
    const std::lock_guard lock(scope_mutex);
    const bool stopping = active_scope != nullptr && active_scope->stop_requested();
    if (signal == SIGINT) {
      if (active_scope == nullptr || stopping) end_at_once();
      active_scope->request_stop();
      told = false;
    } else if (!told) {
      if (stopping) say_still_stopping();
      told = true;
    }
  }
}

}  // namespace

void install_interrupt_handling() {
  struct sigaction current{};
  if (::sigaction(SIGINT, nullptr, &current) == 0 && current.sa_handler == SIG_IGN) return;
  sigset_t signals;
  ::sigemptyset(&signals);
  ::sigaddset(&signals, SIGINT);
  // Threads inherit the mask: from here on only the waiting thread receives SIGINT.
  if (::pthread_sigmask(SIG_BLOCK, &signals, nullptr) != 0) return;
  std::thread(wait_for_interrupts, signals).detach();
}

InterruptScope::InterruptScope() {
  const std::lock_guard lock(scope_mutex);
  active_scope = &source_;
}

InterruptScope::~InterruptScope() {
  const std::lock_guard lock(scope_mutex);
  active_scope = nullptr;
}

}  // namespace carat::cli
