// Reads lines a person types, by libedit on a terminal and by getline from a pipe. Ctrl-C is read as a character while
// a line is edited, so that it drops the line instead of ending the program.
#include "cli/line_editor.h"

#include <histedit.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <iostream>
#include <string>
#include <string_view>

namespace carat::cli {

namespace {

// What libedit's callbacks reach through its client pointer.
struct EditState {
  std::string prompt;
  bool interrupted = false;
};

EditState& state_of(EditLine* editor) {
  void* data = nullptr;
  ::el_get(editor, EL_CLIENTDATA, &data);
  return *static_cast<EditState*>(data);
}

char* show_prompt(EditLine* editor) { return state_of(editor).prompt.data(); }

unsigned char drop_line(EditLine* editor, wint_t) {
  state_of(editor).interrupted = true;
  ::el_push(editor, "\n");  // ends the line as Enter does, with the cursor below a text of several lines
  return CC_NORM;
}

// Without signals from the terminal Ctrl-Z is a character too, and suspending is ours to do.
unsigned char suspend(EditLine* editor, wint_t) {
  ::el_set(editor, EL_PREP_TERM, 0);
  ::raise(SIGTSTP);
  ::el_set(editor, EL_PREP_TERM, 1);
  return CC_REDISPLAY;
}

// Terminals in bracketed-paste mode enclose what is pasted in ESC[200~ and ESC[201~: line breaks in between are text,
// not the end of the line.
constexpr const char* kPasteOn = "\x1b[?2004h";
constexpr const char* kPasteOff = "\x1b[?2004l";

unsigned char take_paste(EditLine* editor, wint_t) {
  constexpr std::wstring_view kEnd = L"\x1b[201~";
  std::wstring pasted;
  for (wchar_t c = 0; ::el_wgetc(editor, &c) == 1;) {
    pasted += c == L'\r' ? L'\n' : c;
    if (pasted.ends_with(kEnd)) {
      pasted.resize(pasted.size() - kEnd.size());
      break;
    }
  }
  while (pasted.ends_with(L'\n')) pasted.pop_back();  // a copied line should not send itself
  if (!pasted.empty()) ::el_winsertstr(editor, pasted.c_str());
  return CC_REFRESH;
}

}  // namespace

struct LineEditor::Impl {
  EditLine* editor = nullptr;
  FILE* screen = nullptr;
  History* history = nullptr;
  EditState state;
};

LineEditor::LineEditor() : impl_(std::make_unique<Impl>()) {
  if (::isatty(STDIN_FILENO) != 1) return;
  // With the answers going to a file, prompts belong on the other stream.
  impl_->screen = ::isatty(STDOUT_FILENO) == 1 ? stdout : stderr;
  impl_->editor = ::el_init("carat", stdin, impl_->screen, stderr);
  if (impl_->editor == nullptr) return;
  impl_->history = ::history_init();
  HistEvent event{};
  ::history(impl_->history, &event, H_SETSIZE, 1000);
  ::history(impl_->history, &event, H_SETUNIQUE, 1);
  ::el_set(impl_->editor, EL_CLIENTDATA, &impl_->state);
  ::el_set(impl_->editor, EL_PROMPT, show_prompt);
  ::el_set(impl_->editor, EL_HIST, ::history, impl_->history);
  ::el_set(impl_->editor, EL_EDITOR, "emacs");
  // By wide strings, which libedit keeps as they are; of narrow ones it makes copies that it never frees.
  ::el_wset(impl_->editor, EL_ADDFN, L"carat-drop-line", L"Drop the line", drop_line);
  ::el_set(impl_->editor, EL_BIND, "^C", "carat-drop-line", nullptr);
  ::el_wset(impl_->editor, EL_ADDFN, L"carat-paste", L"Take a paste as it is", take_paste);
  ::el_set(impl_->editor, EL_BIND, "\\e[200~", "carat-paste", nullptr);
  ::el_set(impl_->editor, EL_BIND, "^R", "em-inc-search-prev", nullptr);
  ::el_wset(impl_->editor, EL_ADDFN, L"carat-suspend", L"Suspend the program", suspend);
  ::el_set(impl_->editor, EL_BIND, "^Z", "carat-suspend", nullptr);
  ::el_set(impl_->editor, EL_SETTY, "-d", "-isig", nullptr);
}

LineEditor::~LineEditor() {
  if (impl_->history != nullptr) ::history_end(impl_->history);
  if (impl_->editor != nullptr) ::el_end(impl_->editor);
}

bool LineEditor::interactive() const { return impl_->editor != nullptr; }

LineEditor::Input LineEditor::read(const std::string& prompt) {
  Input input;
  if (!interactive()) {
    if (std::getline(std::cin, input.text)) input.status = Status::line;
    return input;
  }
  impl_->state.prompt = prompt;
  impl_->state.interrupted = false;
  int length = 0;
  // libedit shows its prompt first and changes the terminal's mode with the first read: a quick Ctrl-C in between would
  // be a signal. So the mode changes before anything is shown.
  ::el_set(impl_->editor, EL_PREP_TERM, 1);
  std::fputs(kPasteOn, impl_->screen);
  const char* line = ::el_gets(impl_->editor, &length);
  std::fputs(kPasteOff, impl_->screen);
  std::fflush(impl_->screen);
  if (impl_->state.interrupted) {
    input.status = Status::interrupted;
  } else if (line != nullptr && length > 0) {
    input.text.assign(line, static_cast<std::size_t>(length));
    if (input.text.ends_with('\n')) input.text.pop_back();
    input.status = Status::line;
  }
  return input;
}

void LineEditor::remember(const std::string& text) {
  if (impl_->history == nullptr || text.empty()) return;
  HistEvent event{};
  ::history(impl_->history, &event, H_ENTER, text.c_str());
}

}  // namespace carat::cli
