// An opened checkpoint: what it is, its tokenizer, its prompt format. No weights are read.
//
//   auto checkpoint = carat::Checkpoint::open("gemma-4-E2B-it");
//   if (!checkpoint) {
//     std::cerr << checkpoint.error().message << '\n';
//     return 1;
//   }
//   auto ids = checkpoint->tokenize("Hello world");
//   if (auto summary = checkpoint->inspect()) std::cout << summary->total_parameters << " parameters\n";
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

/// One tensor of the files, whether Carat uses it or not.
struct TensorSummary {
  std::string name, dtype, file;    ///< as in the file; "bf16", "q4_k", …; the file's path
  std::vector<std::int64_t> shape;  ///< slowest first
  std::int64_t bytes = 0;
};

/// Parameters and bytes of one part of the model ("embedding", "attention", "experts", …).
struct PartSummary {
  std::string part;
  std::int64_t parameters = 0, bytes = 0;
};

/// What turns one kind of media into soft tokens, for people.
struct EncoderSummary {
  std::string medium;  ///< "image" (video too) or "sound"
  std::string kind;    ///< "vision tower", "audio tower", or "embedder" (one layer, of the encoder-free sizes)
  std::int64_t num_hidden_layers = 0, hidden_size = 0, num_attention_heads = 0;  ///< 0 for an embedder
  std::int64_t token_pixels = 0;  ///< images: a soft token is a square of so many pixels a side
  std::int64_t image_budget = 0;  ///< images: soft tokens where nobody asks for another number
  std::int64_t mel_bins = 0;      ///< sound: bands of a mel frame, 10 ms; 0 where raw samples are taken
  double token_ms = 0;            ///< sound: milliseconds a soft token stands for
  std::string file;               ///< the checkpoint, or the projector file
};

/// Memory a session of one context length takes, in bytes.
struct MemorySummary {
  std::int64_t context_length = 0;  ///< tokens
  std::int64_t kv_cache_f16 = 0;    ///< keys and values at 16 bit, the whole context filled
  std::int64_t weights = 0;         ///< resident weights: all text tensors less the per-layer table, read by row
  std::int64_t total = 0;           ///< both together
};

/// What inspect() finds. Widths are in elements, lengths in tokens; 0 where a model lacks the feature.
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
  std::vector<EncoderSummary> encoders;
  std::string encoder_error;  ///< why the encoders cannot be told, where they cannot
  std::vector<TensorSummary> tensors;
  std::vector<PartSummary> parts;
  std::int64_t total_parameters = 0, total_bytes = 0;  ///< parameters of the model; bytes of all tensors
  std::vector<MemorySummary> memory;                   ///< for some context lengths, the model's maximum last
};

struct PromptMedia;  // what the encoders take, for the library itself

/// A prompt as text and as ids (BOS included in both). In the text a medium is its placeholder ("<|image|>"), among the
/// ids it is as many soft tokens as the model sees, between their markers.
struct RenderedPrompt {
  std::string text;
  std::vector<TokenId> ids;
  bool starts_in_thought = false;    ///< for GenerateOptions: the answer goes on inside an open thought
  std::vector<MediumSummary> media;  ///< in the order of the prompt
  std::shared_ptr<const PromptMedia> soft_tokens;
};

/// Shared, immutable, thread-safe: any number of threads may call any of its functions at once. Copies are cheap and
/// refer to the same opened files, which must not change while one of them lives. The tokenizer is built at its first
/// use, which takes part of a second.
class Checkpoint {
 public:
  /// Opens a Hugging Face directory or a GGUF file (of a split one, its first part). A GGUF model's media encoders lie
  /// in a projector file: `projector`, or the one *mmproj*.gguf beside the model. Blocking; reads headers only. Errors:
  /// bad_file (missing, damaged, or no model), unsupported (a kind of file Carat does not read), io, invalid_argument
  /// (an empty path), out_of_memory.
  static Result<Checkpoint> open(const std::filesystem::path& path, const std::filesystem::path& projector = {});

  /// Describes the model. Blocking, milliseconds. Errors: bad_file or unsupported when the configuration or tensors do
  /// not make a text model.
  Result<CheckpointSummary> inspect() const;

  /// Ids of a text in UTF-8, in its order; `bos` puts the beginning-of-text token first. Never fails on the text
  /// itself: ill-formed bytes count as U+FFFD. `special` turns literals of control tokens ("<|turn>") into their ids;
  /// without it no text becomes one. Errors: unsupported or bad_file when the checkpoint has no tokenizer or not one
  /// Carat can use.
  Result<std::vector<TokenId>> tokenize(std::string_view text, bool special = false, bool bos = false) const;
  /// Text of ids in UTF-8, control tokens printed as literals when `special`, else left out. Bytes that do not join to
  /// a character become U+FFFD. Errors: invalid_argument for an id outside the vocabulary, those of tokenize().
  Result<std::string> detokenize(std::span<const TokenId> ids, bool special = true) const;

  /// Renders OpenAI-style messages (a JSON array) and tools (a JSON array, or empty) as a prompt. Media in content
  /// parts (image_url, input_audio, video_url; or image, audio, video with a path or url) are read and prepared here;
  /// what was read lately is kept, 256 MiB at most. Errors: bad_file when a text is not JSON; invalid_argument naming
  /// the message and field; unsupported naming `--template` when the checkpoint's own template is missing or unknown
  /// and none is given, or for what the prompt format lacks; those of tokenize(); those of reading media, each naming
  /// the file.
  Result<RenderedPrompt> render(std::string_view messages_json, std::string_view tools_json,
                                const PromptOptions& options = {}) const;

  /// Whether a session of these options can fit this machine beside the weights, all positions filled. Allocates
  /// nothing; counts on the memory this process may use at most, not on what is free just now. Errors: out_of_memory
  /// saying what would be taken, what there is, and the longest context that fits; invalid_argument (options); those of
  /// inspect().
  Result<void> fits(const SessionOptions& options) const;
  /// Whether a session of these options can fit and take this prompt: what Session::create and Session::generate would
  /// refuse, known before the weights are loaded. Errors: those of fits(); context_full naming both lengths;
  /// invalid_argument for no tokens, or an id outside the vocabulary.
  Result<void> accepts(const RenderedPrompt& prompt, const SessionOptions& options) const;

  struct State;
  const std::shared_ptr<const State>& state() const { return state_; }  ///< for the library itself

 private:
  std::shared_ptr<const State> state_;
};

}  // namespace carat
