// Renders a conversation as the prompt the model was trained on, equal to the official chat templates.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "carat/result.h"
#include "formats/checkpoint.h"
#include "formats/json.h"
#include "text/tokenizer.h"

namespace carat::text {

/// The prompt formats of the family: Gemma 4 small (E2B, E4B), Gemma 4 large (12B, 26B, 31B; an empty thought block
/// when thinking is off), Gemma 3.
enum class PromptKind { small, large, gemma3 };
std::string_view name(PromptKind kind);
std::optional<PromptKind> find_prompt_kind(std::string_view name);

/// The kind of a checkpoint's own template. Unsupported, naming `--template small|large|gemma3`, when there is no
/// template or none we know; recognised are the official templates of every published generation.
Result<PromptKind> detect_prompt_kind(const formats::Checkpoint& checkpoint);
Result<PromptKind> detect_prompt_kind(std::string_view chat_template);

struct RenderOptions {
  PromptKind kind = PromptKind::small;
  bool think = false;                   ///< enable_thinking
  bool preserve_thinking = false;       ///< keep thoughts of earlier tool-calling turns
  bool add_generation_prompt = true;    ///< open a model turn at the end
  bool continue_final_message = false;  ///< the last message is a partial assistant answer to go on with
};

/// A stretch of the prompt. Markup was written by the template and may hold control tokens; user text never becomes
/// one. A medium's placeholder is a segment of its own.
struct PromptSegment {
  std::string text;
  bool markup = false;
  /// The content part a placeholder stands for, which lies in the messages that were rendered.
  const formats::Json* medium = nullptr;
  /// How many tokens of an encoder stand here, each as the control token `text`; 0 for text itself.
  std::int64_t soft_tokens = 0;
};

/// Where soft tokens stand in a prompt's ids.
struct SoftTokenRun {
  std::int64_t begin = 0, count = 0;
};

/// A rendered prompt, as segments and as one text (BOS included).
struct Prompt {
  std::vector<PromptSegment> segments;
  bool starts_in_thought = false;  ///< the prompt ends inside an open thought channel: output parsing starts there
  std::string text() const;
};

/// Renders OpenAI-style messages: an array of {role: system|developer|user|assistant|tool, content: text or parts,
/// reasoning/reasoning_content, tool_calls, tool_call_id, name, tool_responses}, and an array of tool declarations
/// (null Json for none). Errors name the message index and field.
Result<Prompt> render_prompt(const formats::Json& messages, const formats::Json& tools, const RenderOptions& options);

/// The ids of a prompt: markup with special literals, everything else without, merges not crossing a segment's border
/// only where the reference does not cross it either (special tokens split the text there).
/// `runs` receives one entry for each segment of soft tokens, in order.
std::vector<TokenId> encode_prompt(const Tokenizer& tokenizer, const Prompt& prompt,
                                   std::vector<SoftTokenRun>* runs = nullptr);

/// What a content part of this type stands for in the prompt: "<|image|>", "<|audio|>" or "<|video|>"; nothing for
/// types that are no medium.
std::string_view placeholder(std::string_view type);

}  // namespace carat::text
