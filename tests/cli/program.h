// Starts the carat program as a person or a script would, and gathers what it printed and how it ended. Every start has
// a time limit, so a hang is a failure and not a stuck test run.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace carat::tests {

struct Finished {
  int code = -1;      ///< exit code; 128 + number for a signal, as shells count
  std::string out;    ///< standard output; in a terminal, everything shown
  std::string err;    ///< standard error; empty in a terminal
  bool hung = false;  ///< killed after the time limit
};

struct Start {
  std::vector<std::string> arguments;
  std::string input;             ///< piped into standard input, which then ends
  bool keep_input_open = false;  ///< standard input never ends
  std::string out_path;          ///< standard output goes to this file instead of being gathered
  std::vector<std::string> environment = {"TERM=xterm", "LC_ALL=C.UTF-8"};
  /// Ctrl-C is sent once: at the first byte of output, or shortly after the start.
  bool interrupt = false;
  bool interrupt_at_once = false;
};

/// Runs in pipes.
Finished run(const Start& start);
Finished run(std::vector<std::string> arguments, std::string input = {});

/// What a person does at a terminal: wait until the screen shows `expect` (after what was expected before), then type.
struct Typing {
  std::string expect, keys;
};
/// Runs in a terminal of 100 columns.
Finished run_in_terminal(const Start& start, const std::vector<Typing>& typing = {});

/// A folder of its own for one test, removed with the object.
class Folder {
 public:
  Folder();
  ~Folder();
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  std::string operator/(std::string_view name) const { return (path_ / name).string(); }
  /// Writes a file and returns its path.
  std::string write(std::string_view name, std::string_view content) const;

 private:
  std::filesystem::path path_;
};

std::string read_whole(const std::string& path);

/// The tiny checkpoint with a tokenizer and a chat template of kind "small".
std::string chat_model();
/// A tiny checkpoint without tokenizer and template.
std::string bare_model();

}  // namespace carat::tests
