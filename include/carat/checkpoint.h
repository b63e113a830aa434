// An opened checkpoint: what it is, its tokenizer, its prompt format. No weights are read.
//
//   auto checkpoint = carat::Checkpoint::open("gemma-4-E2B-it");
//   if (!checkpoint) { std::cerr << checkpoint.error().message << '\n'; return 1; }
//   auto ids = checkpoint->tokenize("Hello world");
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "carat/options.h"
#include "carat/result.h"

namespace carat {

/// One decoder layer, for people.
struct LayerSummary {
  std::int64_t index = 0;
  std::string layer_type;  ///< "sliding_attention" or "full_attention"
  std::int64_t num_attention_heads = 0, num_key_value_heads = 0, head_dim = 0;
  std::int64_t intermediate_size = 0;
  std::int64_t num_experts = 0, top_k_experts = 0, moe_intermediate_size = 0;  ///< 0 without experts
  std::int64_t kv_source = 0;  ///< the layer whose keys and values it reads; its own index when it owns them
  bool attention_k_eq_v = false;
  double rope_theta = 0;
};

struct TensorSummary {
  std::string name, dtype, file;
  std::vector<std::int64_t> shape;  ///< slowest first
  std::int64_t bytes = 0;
};

/// Parameters and bytes of one part of the model ("embedding", "attention", "experts", …).
struct PartSummary {
  std::string part;
  std::int64_t parameters = 0, bytes = 0;
};

/// Memory a session of one context length takes, in bytes.
struct MemorySummary {
  std::int64_t context_length = 0;
  std::int64_t kv_cache_f16 = 0;  ///< keys and values at 16 bit, the whole context filled
  std::int64_t weights = 0;       ///< resident weights: all text tensors less the per-layer table, read by row
  std::int64_t total = 0;
};

struct CheckpointSummary {
  std::string family;  ///< "gemma4" or "gemma3"
  std::string name;    ///< what the file calls itself, may be empty
  std::string format;  ///< "huggingface" or "gguf"
  /// The release whose configuration this is ("Gemma 4 E2B"): all layers and widths are the same. Fine-tuned models
  /// have it too; nothing when one number differs.
  std::optional<std::string> released_size;
  std::int64_t vocab_size = 0, hidden_size = 0, max_position_embeddings = 0, sliding_window = 0;
  std::int64_t hidden_size_per_layer_input = 0, num_kv_shared_layers = 0;
  double final_logit_softcapping = 0;
  std::optional<std::string> prompt_template;  ///< "small", "large", "gemma3"; nothing when unknown or absent
  std::vector<LayerSummary> layers;
  std::vector<TensorSummary> tensors;
  std::vector<PartSummary> parts;
  std::int64_t total_parameters = 0, total_bytes = 0;
  std::vector<MemorySummary> memory;
};

/// A prompt as text and as ids (BOS included in both).
struct RenderedPrompt {
  std::string text;
  std::vector<TokenId> ids;
  bool starts_in_thought = false;
};

/// Shared, immutable, thread-safe; copies are cheap and refer to the same opened files.
class Checkpoint {
 public:
  /// Opens a Hugging Face directory or a GGUF file. Errors: bad_file, unsupported. Blocking; reads headers only.
  static Result<Checkpoint> open(const std::filesystem::path& path);

  /// Describes the model. Errors: bad_file or unsupported when the configuration or tensors do not make a text model.
  Result<CheckpointSummary> inspect() const;

  /// Ids of text; never fails on the text itself. `special` turns literals of control tokens into their ids. Errors:
  /// unsupported when the checkpoint has no tokenizer.
  Result<std::vector<TokenId>> tokenize(std::string_view text, bool special = false, bool bos = false) const;
  /// Text of ids, control tokens printed as literals when `special`. Errors: invalid_argument for an unknown id.
  Result<std::string> detokenize(std::span<const TokenId> ids, bool special = true) const;

  /// Renders OpenAI-style messages (a JSON array) and tools (a JSON array, or empty) as a prompt. Errors:
  /// invalid_argument naming the message and field; unsupported naming `--template` when the checkpoint's own template
  /// is missing or unknown and none is given.
  Result<RenderedPrompt> render(std::string_view messages_json, std::string_view tools_json,
                                const PromptOptions& options = {}) const;

  /// Whether a session of these options can fit this machine beside the weights, all positions filled. Errors:
  /// out_of_memory saying what would be taken, what there is, and the longest context that fits; invalid_argument.
  Result<void> fits(const SessionOptions& options) const;

  struct State;
  const std::shared_ptr<const State>& state() const { return state_; }  ///< for the library itself

 private:
  std::shared_ptr<const State> state_;
};

}  // namespace carat
