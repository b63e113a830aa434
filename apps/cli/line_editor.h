// Reads lines a person types: with editing and history on a terminal, plainly from a pipe, so that a chat can be
// scripted.
#pragma once

#include <memory>
#include <string>

namespace carat::cli {

class LineEditor {
 public:
  enum class Status {
    line,         ///< `text` holds a line, without its line break
    interrupted,  ///< Ctrl-C at the prompt: what was typed is dropped
    end,          ///< Ctrl-D or the end of the pipe
  };
  struct Input {
    Status status = Status::end;
    std::string text;
  };

  LineEditor();
  ~LineEditor();
  LineEditor(const LineEditor&) = delete;
  LineEditor& operator=(const LineEditor&) = delete;

  /// A person types at a terminal; prompts and hints make sense.
  bool interactive() const;
  /// Blocks for a line. `prompt` is shown on a terminal only.
  Input read(const std::string& prompt);
  /// Offers a text again on arrow-up.
  void remember(const std::string& text);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace carat::cli
