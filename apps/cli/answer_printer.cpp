// Prints an answer while it is generated. A pipe receives the content byte for byte; a terminal receives text that
// cannot control it.
#include "cli/answer_printer.h"

namespace carat::cli {
namespace {

constexpr std::string_view kDim = "\x1b[2m";
constexpr std::string_view kReset = "\x1b[0m";

}  // namespace

Json tool_call_json(const GeneratedToolCall& call, std::size_t number) {
  return {{"id", "call_" + std::to_string(number)},
          {"type", "function"},
          {"function", {{"name", call.name}, {"arguments", call.arguments_json}}}};
}

void AnswerPrinter::put(std::string_view text) {
  if (text.empty()) return;
  output_->write(text);
  at_line_start_ = text.back() == '\n';
}

void AnswerPrinter::end_line() {
  if (!at_line_start_) put("\n");
}

void AnswerPrinter::enter(Channel channel) {
  if (channel == channel_) return;
  if (channel_ == Channel::thought) {
    if (terminal_.color) output_->write(kReset);
    end_line();
    put("\n");
  } else if (channel == Channel::thought) {
    end_line();
  }
  if (channel == Channel::thought) {
    if (terminal_.color)
      output_->write(kDim);
    else
      put("[thinking]\n");
  } else if (channel_ == Channel::thought && !terminal_.color && channel == Channel::content) {
    put("[answer]\n");
  }
  channel_ = channel;
}

void AnswerPrinter::print(const GenerationEvent& event) {
  switch (event.kind) {
    case GenerationEvent::Kind::prompt:
    case GenerationEvent::Kind::media:
      return;
    case GenerationEvent::Kind::thought:
      if (!terminal_.present || event.text.empty()) return;
      enter(Channel::thought);
      put(displayable(event.text));
      break;
    case GenerationEvent::Kind::content:
      if (event.text.empty()) return;
      enter(Channel::content);
      put(terminal_.present ? displayable(event.text) : event.text);
      break;
    case GenerationEvent::Kind::tool_call:
      ++calls_;
      enter(Channel::none);
      end_line();
      if (terminal_.present) {
        put((terminal_.utf8 ? "→ " : "-> ") + displayable(event.tool_call.name) + " " +
            displayable(event.tool_call.arguments_json) + "\n");
      } else {
        put(dump_json(tool_call_json(event.tool_call, calls_)) + "\n");
      }
      break;
    case GenerationEvent::Kind::error:
      output_->flush();
      print_warning("a tool call could not be read, its text follows: " + event.text);
      return;
  }
  output_->flush();
}

void AnswerPrinter::finish() {
  if (channel_ == Channel::thought && terminal_.color) output_->write(kReset);
  channel_ = Channel::none;
  if (terminal_.present || !exact_) end_line();
  output_->flush();
}

}  // namespace carat::cli
