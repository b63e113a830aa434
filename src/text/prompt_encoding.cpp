// Turns a prompt into ids: control tokens only where the template wrote them.
#include "text/chat_template.h"

namespace carat::text {
namespace {

// Everything a template writes as one token, longest first where one begins another.
constexpr std::string_view kLiterals[] = {
    "<bos>",        "<|turn>",      "<turn|>",          "<|think|>",        "<|channel>",      "<channel|>",
    "<|tool_call>", "<tool_call|>", "<|tool_response>", "<tool_response|>", "<|tool>",         "<tool|>",
    "<|\"|>",       "<|image|>",    "<|audio|>",        "<|video|>",        "<|image>",        "<image|>",
    "<|audio>",     "<audio|>",     "<start_of_turn>",  "<end_of_turn>",    "<start_of_image>"};

}  // namespace

std::vector<TokenId> encode_prompt(const Tokenizer& tokenizer, const Prompt& prompt, std::vector<SoftTokenRun>* runs) {
  std::vector<TokenId> ids;
  // Special tokens cut the text; between two of them markup and user text are one run for the merges, as in the
  // reference.
  std::string run;
  const auto flush = [&] {
    if (!run.empty()) tokenizer.encode(run, {}, ids);
    run.clear();
  };
  for (const PromptSegment& segment : prompt.segments) {
    if (segment.soft_tokens > 0) {
      flush();
      const auto id = tokenizer.find_special(segment.text);
      if (runs != nullptr) runs->push_back({static_cast<std::int64_t>(ids.size()), segment.soft_tokens});
      ids.insert(ids.end(), static_cast<std::size_t>(segment.soft_tokens), id.value_or(0));
      continue;
    }
    if (!segment.markup) {
      run += segment.text;
      continue;
    }
    std::string_view text = segment.text;
    while (!text.empty()) {
      std::optional<TokenId> id;
      std::size_t length = 1;
      if (text.front() == '<') {
        for (const std::string_view literal : kLiterals) {
          if (!text.starts_with(literal)) continue;
          id = tokenizer.find_special(literal);
          if (id) length = literal.size();
          break;
        }
      }
      if (id) {
        flush();
        ids.push_back(*id);
      } else {
        run += text.substr(0, length);
      }
      text.remove_prefix(length);
    }
  }
  flush();
  return ids;
}

}  // namespace carat::text
