// How tools, calls and results are written in Gemma 4 prompts (macros of the official template).
#pragma once

#include "formats/json.h"
#include "text/prompt_writer.h"

namespace carat::text {

/// `declaration:NAME{description:…,parameters:{…}}` of an OpenAI-style function object.
void write_declaration(PromptWriter& out, const formats::Json& function);
/// A value: null, text between <|"|>, true/false, numbers as Python prints them, lists, objects with keys sorted and
/// between <|"|> when `quote_keys`.
void write_value(PromptWriter& out, const formats::Json& value, bool quote_keys);
/// `key:value,…` of an object, keys bare.
void write_pairs(PromptWriter& out, const formats::Json& object);
/// `<|tool_response>response:NAME{…}<tool_response|>`; what is no object becomes {value:…}.
void write_tool_response(PromptWriter& out, std::string_view name, const formats::Json& response);

}  // namespace carat::text
