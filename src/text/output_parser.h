// Splits what a model generates into thought, content and tool calls: one incremental state machine over token ids,
// the same for streams and whole texts.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "formats/json.h"
#include "text/tokenizer.h"

namespace carat::text {

struct ToolCall {
  std::string name;
  formats::Json arguments;  ///< an object
  std::string raw;          ///< the text between the call markers, as generated
};

/// One piece of output in the order it was generated. Text of one channel may come in many pieces.
struct OutputEvent {
  enum class Kind { thought, content, tool_call, error } kind = Kind::content;
  std::string text;  ///< thought, content: the new text; error: why a call could not be parsed (its raw text follows as
                     ///< content)
  ToolCall tool_call;  ///< tool_call only
};

struct OutputParserOptions {
  bool starts_in_thought = false;
  formats::Json tools;  ///< the declared tools, for schema-gated repairs; null for none
};

/// Feed ids one by one or all at once: the concatenated events are the same. Marker ids are looked up by their literals
/// in the tokenizer, so only real control tokens count; text that merely looks like a marker is text. A tokenizer
/// without the markers yields everything as content. Not thread-safe.
class OutputParser {
 public:
  OutputParser(const Tokenizer& tokenizer, OutputParserOptions options);
  ~OutputParser();
  OutputParser(OutputParser&&) noexcept;

  std::vector<OutputEvent> push(std::span<const TokenId> ids);
  /// Ends the stream: flushes held-back text and closes an open call or thought.
  std::vector<OutputEvent> finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace carat::text
