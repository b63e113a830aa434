// Starts the carat program as a person or a script would, and gathers what it printed and how it ended.
#include "cli/program.h"

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <stdexcept>

namespace carat::tests {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kTimeLimit = std::chrono::seconds(120);  // sanitizer builds on a busy machine are slow
constexpr auto kShortly = std::chrono::milliseconds(700);

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> out;
  for (std::string& text : texts) out.push_back(text.data());
  out.push_back(nullptr);
  return out;
}

// Replaces the child with the program; only async-signal-safe calls.
[[noreturn]] void become_carat(char* const* arguments, char* const* environment) {
  // Whoever runs the tests may ignore interrupts (a shell does for its background jobs); the program must not inherit
  // it.
  ::signal(SIGINT, SIG_DFL);
  ::execve(CARAT_PROGRAM, arguments, environment);
  ::_exit(125);
}

struct Prepared {
  std::vector<std::string> arguments, environment;
  std::vector<char*> argument_pointers, environment_pointers;
  explicit Prepared(const Start& start) : arguments(start.arguments), environment(start.environment) {
    arguments.insert(arguments.begin(), "carat");
    argument_pointers = pointers(arguments);
    environment_pointers = pointers(environment);
  }
};

int finish(pid_t child) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// Appends what can be read now; false at the end of the stream.
bool read_some(int descriptor, std::string& out) {
  std::array<char, 65536> buffer;
  const ssize_t count = ::read(descriptor, buffer.data(), buffer.size());
  if (count > 0) out.append(buffer.data(), static_cast<std::size_t>(count));
  return count > 0 || (count < 0 && errno == EINTR);
}

}  // namespace

Finished run(const Start& start) {
  ::signal(SIGPIPE, SIG_IGN);  // the program may end before it read its input
  Prepared prepared(start);
  std::array<int, 2> in{}, out{}, err{};
  if (::pipe2(in.data(), O_CLOEXEC) != 0 || ::pipe2(out.data(), O_CLOEXEC) != 0 ||
      ::pipe2(err.data(), O_CLOEXEC) != 0) {
    throw std::runtime_error("cannot make pipes");
  }
  const pid_t child = ::fork();
  if (child == 0) {
    ::signal(SIGPIPE, SIG_DFL);
    ::dup2(in[0], 0);
    ::dup2(start.out_path.empty() ? out[1] : ::open(start.out_path.c_str(), O_WRONLY), 1);
    ::dup2(err[1], 2);
    become_carat(prepared.argument_pointers.data(), prepared.environment_pointers.data());
  }
  ::close(in[0]);
  ::close(out[1]);
  ::close(err[1]);

  Finished finished;
  std::size_t written = 0;
  bool interrupted = !start.interrupt, in_open = true, out_open = true, err_open = true;
  const auto begin = Clock::now(), end = begin + kTimeLimit;
  while (out_open || err_open) {
    if (in_open && written == start.input.size() && !start.keep_input_open) {
      ::close(in[1]);
      in_open = false;
    }
    const bool write_more = in_open && written < start.input.size();
    std::array<pollfd, 3> waits = {{{out_open ? out[0] : -1, POLLIN, 0},
                                    {err_open ? err[0] : -1, POLLIN, 0},
                                    {write_more ? in[1] : -1, POLLOUT, 0}}};
    ::poll(waits.data(), waits.size(), 100);
    if (waits[0].revents != 0) out_open = read_some(out[0], finished.out);
    if (waits[1].revents != 0) err_open = read_some(err[0], finished.err);
    if (waits[2].revents != 0) {
      const std::size_t step = std::min<std::size_t>(start.input.size() - written, 4096);
      const ssize_t count = ::write(in[1], start.input.data() + written, step);
      if (count > 0)
        written += static_cast<std::size_t>(count);
      else if (errno != EINTR)
        written = start.input.size();
    }
    const bool due = start.interrupt_at_once ? Clock::now() > begin + kShortly : !finished.out.empty();
    if (!interrupted && due) {
      ::kill(child, SIGINT);
      interrupted = true;
    }
    if (Clock::now() > end) {
      ::kill(child, SIGKILL);
      finished.hung = true;
    }
  }
  if (in_open) ::close(in[1]);
  ::close(out[0]);
  ::close(err[0]);
  finished.code = finish(child);
  return finished;
}

Finished run(std::vector<std::string> arguments, std::string input) {
  Start start;
  start.arguments = std::move(arguments);
  start.input = std::move(input);
  return run(start);
}

Finished run_in_terminal(const Start& start, const std::vector<Typing>& typing) {
  Prepared prepared(start);
  winsize size{};
  size.ws_col = 100;
  size.ws_row = 40;
  int terminal = -1;
  const pid_t child = ::forkpty(&terminal, nullptr, nullptr, &size);
  if (child == 0) become_carat(prepared.argument_pointers.data(), prepared.environment_pointers.data());

  Finished finished;
  std::size_t next = 0, shown = 0;
  const auto end = Clock::now() + kTimeLimit;
  for (bool open = true; open;) {
    pollfd wait{terminal, POLLIN, 0};
    if (::poll(&wait, 1, 100) > 0) open = read_some(terminal, finished.out);
    if (next < typing.size()) {
      const std::size_t at = finished.out.find(typing[next].expect, shown);
      if (at != std::string::npos) {
        shown = at + typing[next].expect.size();
        const std::string& keys = typing[next++].keys;
        if (::write(terminal, keys.data(), keys.size()) != static_cast<ssize_t>(keys.size())) break;
      }
    }
    if (Clock::now() > end) {
      ::kill(child, SIGKILL);
      finished.hung = true;
    }
  }
  ::close(terminal);
  finished.code = finish(child);
  return finished;
}

Folder::Folder() {
  std::string name = (std::filesystem::temp_directory_path() / "carat-test-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("cannot make a temporary folder");
  path_ = name;
}

Folder::~Folder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string Folder::write(std::string_view name, std::string_view content) const {
  std::string path = *this / name;
  std::ofstream(path, std::ios::binary) << content;
  return path;
}

std::string read_whole(const std::string& path) {
  std::ostringstream out;
  out << std::ifstream(path, std::ios::binary).rdbuf();
  return out.str();
}

std::string chat_model() { return CARAT_TEST_DATA "/golden/e2b_like"; }
std::string bare_model() { return CARAT_TEST_DATA "/golden/dense_31b_like"; }

}  // namespace carat::tests
