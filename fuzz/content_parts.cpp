// Fuzzes the way from content parts to soft tokens: any messages give a prompt whose media stand where their
// placeholders were, with as many soft tokens as the encoders will give rows, or one error. Input: one byte of options
// (bits 0 and 1: what the model takes; 2: encoder-free; 3: the sound of videos; 4: long sound is cut; 5: budget by
// resolution), then a JSON array of messages, whose media come as data URLs. (No file can be named: the folder they lie
// in does not exist.)
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/prompt_media.h"
#include "prompt_tokenizer.h"
#include "text/chat_template.h"

namespace {

using carat::engine::MediumInput;
using carat::formats::Json;
using carat::fuzz::prompt_tokenizer;
using carat::fuzz::require;

carat::model::EncoderConfig encoders_of(std::uint8_t flags) {
  carat::model::EncoderConfig out;
  out.image_budget = 70;
  const bool sees = (flags & 1) == 0, hears = (flags & 2) == 0;
  if ((flags & 4) == 0) {
    if (sees) out.vision_tower.emplace();
    if (hears) out.audio_tower.emplace();
  } else {
    if (sees) out.vision_embedder.emplace();
    if (hears) out.audio_embedder.emplace();
  }
  return out;
}

// Absolute paths would reach files of this machine.
bool names_files(const Json& json) {
  if (json.is_string()) {
    const auto& text = json.get_ref<const std::string&>();
    return text.starts_with('/') || text.starts_with("file:") || text.find("..") != std::string::npos;
  }
  return json.is_structured() && std::any_of(json.begin(), json.end(), names_files);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const std::uint8_t flags = data[0];
  const auto messages = carat::formats::parse_json({reinterpret_cast<const char*>(data) + 1, size - 1}, "messages",
                                                   {.max_bytes = 1 << 20});
  if (!messages || names_files(*messages)) return 0;
  auto prompt = carat::text::render_prompt(*messages, {}, {});
  if (!prompt) return 0;
  const auto placeholders = static_cast<std::size_t>(std::count_if(prompt->segments.begin(), prompt->segments.end(),
                                                                   [](const auto& s) { return s.medium != nullptr; }));
  const auto stands = carat::engine::check_placeholders(*messages, *prompt);
  if (!stands) {
    require(!stands.error().message.empty());
    return 0;
  }
  carat::MediaOptions options;
  options.folder = "no such folder";
  options.video_sound = (flags & 8) != 0;
  options.split_sound = (flags & 16) != 0;
  if ((flags & 32) != 0) options.image_budget = 0;
  options.video_frames = 4;
  options.max_pixels = 1 << 18;
  options.max_seconds = 70;
  options.max_frames = 8;
  const carat::engine::MediaReader reader(encoders_of(flags), "fuzz");
  const auto placed = reader.expand(*prompt, prompt_tokenizer(), options);
  if (!placed) {
    require(!placed.error().message.empty());
    return 0;
  }
  require(placed->size() >= placeholders);
  std::vector<carat::text::SoftTokenRun> runs;
  const auto ids = carat::text::encode_prompt(prompt_tokenizer(), *prompt, &runs);
  require(runs.size() == placed->size());
  std::int64_t end = 0;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const MediumInput& input = *(*placed)[i].input;
    require(input.tokens > 0 && runs[i].begin >= end);
    end = runs[i].begin + input.tokens;
    require(end <= static_cast<std::int64_t>(ids.size()));
    const auto begin = ids.begin() + runs[i].begin;
    require(std::all_of(begin, begin + input.tokens, [&](auto id) { return id == *begin; }));
    require(input.feature_width > 0 && static_cast<std::int64_t>(input.features.size()) % input.feature_width == 0);
  }
  return 0;
}
