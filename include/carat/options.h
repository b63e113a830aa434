// Every choice a caller can make, in one place. Values left empty come from the checkpoint, then from the defaults
// named. Plain data: nothing is checked here; the function that takes options refuses what it cannot use
// (invalid_argument) and names the field.
//
//   carat::GenerateOptions options;
//   options.sampling.temperature = 0.7F;
//   options.sampling.seed = 42;  // the same seed gives the same text
//   options.max_tokens = 100;
//   options.stop = {"\n\n"};
//
//   auto model = carat::Model::load(*checkpoint, {.threads = 2, .isa = "portable"});
//   auto session = carat::Session::create(*model, {.context_length = 256});
#pragma once

#include <cstdint>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "carat/media.h"

namespace carat {

/// A token of the checkpoint's vocabulary: 0 to vocab_size - 1.
using TokenId = std::int32_t;

/// How a model is loaded.
struct ModelOptions {
  int threads = 0;  ///< compute threads, the caller counted, up to 1024; 0 = physical cores this process may use
  std::string isa = "auto";  ///< kernels: "auto", or a name `Model::isa_names()` lists; an unsupported one is an error
  /// "packed": matrices are rearranged in memory for the kernels, the fastest; "mapped": used where they lie
  /// in the file, shared with other processes and given up under memory pressure; "auto" packs where the model takes at
  /// most four fifths of the memory that is free. The results are the same bit for bit.
  std::string weights = "auto";
  /// Which layers let the soft tokens of one image see one another in both directions: "causal" (none), "sliding" (the
  /// sliding-window layers), "all", or "auto" for what the reference does: none for E2B and E4B, sliding for 26B and
  /// 31B, all for 12B (for which the reference's static-cache path and llama.cpp take sliding).
  std::string image_mask = "auto";
};

/// How a session keeps its state.
struct SessionOptions {
  /// Positions the session may hold; 0 = the model's maximum. Address space is reserved for all of them, memory is
  /// taken as the text grows; creating the session fails if that could never fit this machine.
  std::int64_t context_length = 0;
  std::string cache_type =
      "auto";  ///< keys and values: "f32", "f16", "bf16", "q8_0"; auto = f32 for f32 checkpoints, else f16
  std::int64_t prompt_chunk = 512;  ///< prompt tokens computed together, 1 to 4096
  /// Most bytes of memory for coming back to earlier turns of sliding-window layers; 0 keeps none.
  std::int64_t snapshot_bytes = std::int64_t{256} << 20;
};

/// How the next token is chosen. Empty fields take the checkpoint's generation_config, else temperature 1, top_k 64,
/// top_p 0.95 (the published defaults). Order, as in the reference: bias and suppression, penalties, temperature,
/// top-k, top-p, min-p, typical-p.
struct SamplingOptions {
  std::optional<float> temperature;         ///< 0 = greedy
  std::optional<int> top_k;                 ///< 0 = off
  std::optional<float> top_p;               ///< 1 = off
  std::optional<float> min_p;               ///< 0 = off (default)
  std::optional<float> typical_p;           ///< 1 = off (default)
  std::optional<float> repetition_penalty;  ///< > 0, 1 = off (default); divides positive and multiplies negative logits
  std::optional<float> presence_penalty;    ///< subtracted once from ids generated before
  std::optional<float> frequency_penalty;   ///< subtracted per occurrence among generated ids
  std::vector<std::pair<TokenId, float>> logit_bias;  ///< added to these ids' logits; -infinity forbids an id
  std::optional<std::uint64_t> seed;                  ///< same seed, same text; empty = drawn anew and reported
};

/// How long and until what a session generates.
struct GenerateOptions {
  SamplingOptions sampling;
  std::optional<std::int64_t> max_tokens;  ///< empty = until a stop token or a full context
  std::vector<std::string> stop;           ///< ends before the first of these texts in the content; it is not returned
  std::vector<TokenId> stop_tokens;        ///< in addition to the checkpoint's own
  bool ignore_stop_tokens = false;         ///< run on past the checkpoint's stop tokens, for measuring
  int logprobs = 0;                        ///< alternatives to report per token, 0 to 64; see report_logprobs
  bool report_logprobs = false;            ///< report log probabilities (of the model, before sampling filters)
  bool raw = false;                        ///< plain continuation: everything is content, no thought or call parsing
  bool starts_in_thought = false;          ///< the prompt ends inside an open thought; RenderedPrompt says so
  std::string tools_json;                  ///< tools the prompt offered, for repairing calls against their schema
  std::stop_token cancel;                  ///< stops between tokens and between prompt chunks
};

/// How messages become a prompt.
struct PromptOptions {
  std::string prompt_template;          ///< "" = detect from the checkpoint; "small", "large", "gemma3"
  bool think = false;                   ///< let the model think first; unsupported with "gemma3"
  bool preserve_thinking = false;       ///< keep the thoughts of earlier answers in the prompt
  bool add_generation_prompt = true;    ///< end with the opening of the model's answer
  bool continue_final_message = false;  ///< leave the last message, an assistant's, open for the model to go on with
  MediaOptions media;                   ///< how pictures, sound and video in the messages are taken
};

}  // namespace carat
