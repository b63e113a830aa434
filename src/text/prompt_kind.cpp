// Which prompt format a checkpoint's own chat template is, by recognising the published templates.
#include <cstdint>

#include "base/concat.h"
#include "text/chat_template.h"

namespace carat::text {
namespace {

using base::concat;

struct KindName {
  PromptKind kind;
  std::string_view name;
};
constexpr KindName kNames[] = {
    {PromptKind::small, "small"}, {PromptKind::large, "large"}, {PromptKind::gemma3, "gemma3"}};

// FNV-1a of the Gemma 4 templates without white space and without the block that makes one large.
constexpr std::uint64_t kGemma4Templates[] = {
    0xc832cf7f20d2799eU, 0xd62eaf4881d72b9dU, 0x930033d338039d32U,  // 2026-07-09, and two generations before it
};

std::uint64_t fingerprint(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325U;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  return hash;
}

bool cut_out(std::string& text, std::string_view part) {
  const std::size_t at = text.find(part);
  if (at == std::string::npos) return false;
  text.erase(at, part.size());
  return true;
}

std::unexpected<Error> unknown(const char* what) {
  return fail(ErrorCode::unsupported, concat("the checkpoint has ", what,
                                             "; name the prompt format with --template small|large|gemma3, or "
                                             "continue plain text with carat run --raw"));
}

}  // namespace

std::string_view name(PromptKind kind) {
  for (const KindName& row : kNames) {
    if (row.kind == kind) return row.name;
  }
  return {};
}

std::optional<PromptKind> find_prompt_kind(std::string_view name) {
  for (const KindName& row : kNames) {
    if (row.name == name) return row.kind;
  }
  return std::nullopt;
}

Result<PromptKind> detect_prompt_kind(std::string_view chat_template) {
  std::string text;
  for (const char c : chat_template) {
    if (c != ' ' && (c < '\t' || c > '\r')) text += c;
  }
  // Large templates open the answer with an empty thought when thinking is off; nothing else tells the two apart.
  const bool large =
      cut_out(text, R"({%-ifnotenable_thinking-%}{{-'<|channel>thought\n<channel|>'-}}{%-endif-%})") ||
      cut_out(text, R"({%-ifnotenable_thinking|default(false)-%}{{-'<|channel>thought\n<channel|>'-}}{%-endif-%})");
  for (const std::uint64_t known : kGemma4Templates) {
    if (fingerprint(text) == known) return large ? PromptKind::large : PromptKind::small;
  }
  // Gemma 3 checkpoints of all sizes carry one template, with differences in quoting and white space only.
  bool gemma3 = true;
  for (const char* part : {"<start_of_turn>", "<end_of_turn>", "first_user_prefix", "Conversationrolesmustalternate",
                           "add_generation_prompt"}) {
    gemma3 = gemma3 && text.find(part) != std::string::npos;
  }
  if (gemma3 && text.find("tool") == std::string::npos) return PromptKind::gemma3;
  return unknown("a chat template Carat does not know");
}

Result<PromptKind> detect_prompt_kind(const formats::Checkpoint& checkpoint) {
  if (!checkpoint.chat_template()) return unknown("no chat template (a base model?)");
  return detect_prompt_kind(*checkpoint.chat_template());
}

}  // namespace carat::text
