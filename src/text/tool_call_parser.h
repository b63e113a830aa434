// Reads what stands between the markers of a tool call: call:NAME{key:value,…}, strictly first, then with repairs for
// what models get wrong.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "carat/result.h"
#include "formats/json.h"

namespace carat::text {

/// Stands for the string delimiter token <|"|> in a call's text. No UTF-8 text holds this byte, so user text that
/// merely spells the delimiter cannot be taken for it.
inline constexpr char kQuoteMark = '\xFF';

struct ParsedCall {
  std::string name;
  formats::Json arguments;  ///< an object
  bool repaired = false;    ///< the strict grammar failed
};

/// `tools` (OpenAI-style declarations, or null) gates the repairs that need a schema: raw text is taken for a string
/// only where the parameter is declared as one. The error says what was found where; nothing is dropped silently.
Result<ParsedCall> parse_tool_call(std::string_view text, const formats::Json& tools);

}  // namespace carat::text
