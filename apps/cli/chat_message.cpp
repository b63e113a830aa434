// One message of a chat out of the lines a person types. Only a line that begins with """ opens a block, so that quotes
// in the middle of a sentence mean nothing.
#include "cli/chat_message.h"

#include <string_view>

namespace carat::cli {
namespace {

constexpr std::string_view kFence = "\"\"\"";

// Reads on until a line ends with the fence. `first` is what followed the opening fence on its line.
ChatInput read_block(LineEditor& editor, std::string first) {
  ChatInput input{LineEditor::Status::line, std::move(first), true};
  bool empty = input.text.empty();
  while (!input.text.ends_with(kFence)) {
    LineEditor::Input next = editor.read("... ");
    if (next.status == LineEditor::Status::interrupted) return {next.status, "", true};
    if (next.status == LineEditor::Status::end) return input;
    if (!empty) input.text += '\n';
    empty = false;
    input.text += next.text;
  }
  input.text.resize(input.text.size() - kFence.size());
  if (input.text.ends_with('\n')) input.text.pop_back();
  return input;
}

}  // namespace

ChatInput read_chat_input(LineEditor& editor) {
  LineEditor::Input line = editor.read("> ");
  if (line.status != LineEditor::Status::line) return {line.status, "", false};
  if (line.text.starts_with(kFence)) return read_block(editor, line.text.substr(kFence.size()));
  ChatInput input{LineEditor::Status::line, std::move(line.text), false};
  while (input.text.ends_with('\\')) {
    input.text.back() = '\n';
    LineEditor::Input next = editor.read("... ");
    if (next.status == LineEditor::Status::interrupted) return {next.status, "", false};
    if (next.status == LineEditor::Status::end) break;
    input.text += next.text;
  }
  return input;
}

}  // namespace carat::cli
