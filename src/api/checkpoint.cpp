// carat::Checkpoint: opening, tokenising and rendering without weights.
#include "carat/checkpoint.h"

#include <algorithm>

#include "api/state.h"
#include "base/concat.h"
#include "formats/json.h"
#include "text/chat_template.h"

namespace carat {

using base::concat;

const Result<text::Tokenizer>& Checkpoint::State::tokenizer() const {
  std::call_once(tokenizer_once_, [&] { tokenizer_.emplace(text::Tokenizer::from_checkpoint(file)); });
  return *tokenizer_;
}

const Result<model::Config>& Checkpoint::State::config() const {
  std::call_once(config_once_, [&] { config_.emplace(model::read_config(file)); });
  return *config_;
}

Result<Checkpoint> Checkpoint::open(const std::filesystem::path& path, const std::filesystem::path& projector) {
  auto file = formats::open_checkpoint(path);
  if (!file) return forward(file);
  auto state = std::make_shared<State>();
  state->file = std::move(*file);
  state->projector = projector;
  Checkpoint out;
  out.state_ = std::move(state);
  return out;
}

Result<std::vector<TokenId>> Checkpoint::tokenize(std::string_view text, bool special, bool bos) const {
  const auto& tokenizer = state_->tokenizer();
  if (!tokenizer) return std::unexpected(tokenizer.error());
  return tokenizer->encode(text, {.special = special, .bos = bos});
}

Result<std::string> Checkpoint::detokenize(std::span<const TokenId> ids, bool special) const {
  const auto& tokenizer = state_->tokenizer();
  if (!tokenizer) return std::unexpected(tokenizer.error());
  return tokenizer->decode(ids, special);
}

Result<RenderedPrompt> Checkpoint::render(std::string_view messages_json, std::string_view tools_json,
                                          const PromptOptions& options) const {
  auto messages = formats::parse_json(messages_json, "messages");
  if (!messages) return forward(messages);
  formats::Json tools;
  if (!tools_json.empty()) {
    auto parsed = formats::parse_json(tools_json, "tools");
    if (!parsed) return forward(parsed);
    tools = std::move(*parsed);
  }
  text::RenderOptions render;
  if (options.prompt_template.empty()) {
    auto kind = text::detect_prompt_kind(state_->file);
    if (!kind) return forward(kind);
    render.kind = *kind;
  } else if (const auto kind = text::find_prompt_kind(options.prompt_template)) {
    render.kind = *kind;
  } else {
    return fail(ErrorCode::invalid_argument,
                concat("template: found \"", options.prompt_template, "\"; expected small, large or gemma3"));
  }
  render.think = options.think;
  render.preserve_thinking = options.preserve_thinking;
  render.add_generation_prompt = options.add_generation_prompt;
  render.continue_final_message = options.continue_final_message;
  auto prompt = text::render_prompt(*messages, tools, render);
  if (!prompt) return forward(prompt);
  const auto& tokenizer = state_->tokenizer();
  if (!tokenizer) return std::unexpected(tokenizer.error());
  RenderedPrompt out;
  out.text = prompt->text();
  out.starts_in_thought = prompt->starts_in_thought;
  if (auto placed = engine::check_placeholders(*messages, *prompt); !placed) return forward(placed);
  const bool media = std::any_of(prompt->segments.begin(), prompt->segments.end(),
                                 [](const text::PromptSegment& segment) { return segment.medium != nullptr; });
  if (!media) {
    out.ids = text::encode_prompt(*tokenizer, *prompt);
    return out;
  }
  auto reader = state_->media_reader();
  if (!reader) return forward(reader);
  auto placed = (*reader)->expand(*prompt, *tokenizer, options.media);
  if (!placed) return forward(placed);
  std::vector<text::SoftTokenRun> runs;
  out.ids = text::encode_prompt(*tokenizer, *prompt, &runs);
  for (std::size_t i = 0; i < placed->size(); ++i) {
    engine::PlacedMedium& medium = (*placed)[i];
    const engine::MediumInput& input = *medium.input;
    medium.begin = runs[i].begin;
    constexpr const char* kinds[] = {"image", "frame", "sound"};
    out.media.push_back({kinds[static_cast<int>(input.kind)], medium.name, medium.source, input.tokens, medium.begin,
                         input.width, input.height, input.budget, input.seconds});
  }
  out.soft_tokens = std::make_shared<const PromptMedia>(PromptMedia{std::move(*placed)});
  return out;
}

}  // namespace carat
