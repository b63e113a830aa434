// One message of a chat out of the lines a person types: a line ending in a backslash goes on, and lines of """ enclose
// a block whose line breaks are kept.
#pragma once

#include <string>

#include "cli/line_editor.h"

namespace carat::cli {

struct ChatInput {
  LineEditor::Status status = LineEditor::Status::end;
  std::string text;
  bool quoted = false;  ///< came from a """ block, so a leading slash is text
};

/// Reads lines until a message is complete. The end of input completes what was begun.
ChatInput read_chat_input(LineEditor& editor);

}  // namespace carat::cli
