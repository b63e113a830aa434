// Prints an answer while it is generated: on a terminal with its thought dimmed and its calls readable, in a pipe as
// the bare content with one JSON line per call.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "carat/session.h"
#include "cli/input.h"
#include "cli/output.h"
#include "cli/terminal.h"

namespace carat::cli {

/// {"id":"call_1","type":"function","function":{"name":…,"arguments":"{…}"}}: the arguments are a JSON text in a
/// string, as in OpenAI's interface. `number` counts from 1.
Json tool_call_json(const GeneratedToolCall& call, std::size_t number);

class AnswerPrinter {
 public:
  /// `exact`: add nothing to the content, not even a line break at the end in a pipe (for `--raw`).
  AnswerPrinter(Output& output, const Terminal& terminal, bool exact)
      : output_(&output), terminal_(terminal), exact_(exact) {}

  /// Prints thought, content and calls; errors of calls become warnings on standard error; prompt events are ignored.
  void print(const GenerationEvent& event);
  /// Ends the dimming and the last line.
  void finish();

 private:
  enum class Channel { none, thought, content };
  void enter(Channel channel);
  void put(std::string_view text);
  void end_line();

  Output* output_;
  Terminal terminal_;
  bool exact_;
  Channel channel_ = Channel::none;
  bool at_line_start_ = true;
  std::size_t calls_ = 0;
};

}  // namespace carat::cli
