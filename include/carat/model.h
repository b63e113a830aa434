// A loaded model: weights mapped and prepared for this machine's kernels, shared by any number of sessions. With a
// checkpoint opened as in checkpoint.h:
//
//   auto model = carat::Model::load(*checkpoint, {.threads = 2});
//   if (!model) {
//     std::cerr << model.error().message << '\n';
//     return 1;
//   }
//   auto session = carat::Session::create(*model);
//
// The proof that it computes what a reference computes:
//
//   auto ids = checkpoint->tokenize("The quick brown fox", false, true);
//   if (auto traced = model->trace(*ids, "trace.safetensors"); !traced) return 1;
//   auto comparison = carat::compare_traces("trace.safetensors", "reference.safetensors");
//   if (comparison && comparison->equal()) std::cout << "equal\n";
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "carat/checkpoint.h"
#include "carat/options.h"
#include "carat/progress.h"
#include "carat/result.h"

namespace carat {

/// Which kernels serve an operation, and why better ones do not (empty when there are none).
struct KernelChoice {
  std::string operation, chosen, refused;
};

/// How well a model predicts a text: exp of the mean negative log-likelihood (natural) of a token, and its standard
/// error.
struct Perplexity {
  double perplexity = 0, standard_error = 0;
  std::int64_t tokens = 0;   ///< scored tokens
  std::int64_t windows = 0;  ///< windows done
};

struct PerplexityOptions {
  /// Tokens per window, 4 to the model's maximum; the second half of each is scored, BOS replaces its first token.
  std::int64_t window = 512;
  std::int64_t max_windows = 0;     ///< 0 = all
  std::string cache_type = "auto";  ///< keys and values, as in SessionOptions
};

/// The tensors two traces share, each with its largest difference.
struct TraceComparison {
  struct Row {
    std::string name;
    std::int64_t position = 0;  ///< row of the largest difference
    double absolute_error = 0;  ///< max |a - b|
    double relative_error = 0;  ///< max |a - b| / max |b|
    bool within = true;         ///< relative_error is at most the tolerance
  };
  std::vector<Row> rows;  ///< shared tensors in the order of the forward pass
  /// The first row beyond the tolerance, nullptr when there is none. Points into `rows`.
  const Row* first_divergence() const;
  /// Whether every row is within the tolerance.
  bool equal() const { return first_divergence() == nullptr; }
};

/// Shared, immutable, thread-safe; copies are cheap and refer to the same weights. Computations of all its sessions
/// share one thread pool and take turns: prompts and tokens of different sessions interleave, each waits for the one
/// before.
class Model {
 public:
  /// Prepares the weights. Blocking; mapped weights are read when they are first used. `progress` counts layers.
  /// Errors: bad_file (missing tensor, wrong shape), unsupported, invalid_argument (isa unknown or not of this
  /// processor, threads, weights), out_of_memory, cancelled.
  static Result<Model> load(const Checkpoint& checkpoint, const ModelOptions& options = {},
                            const Progress& progress = {});

  // These never fail, and any thread may call them.
  const Checkpoint& checkpoint() const;         ///< what it was loaded from
  std::int64_t max_context_length() const;      ///< tokens the model was made for, the most a session can hold
  std::int64_t vocab_size() const;              ///< ids are 0 to vocab_size() - 1
  int threads() const;                          ///< compute threads, the caller counted
  const std::string& isa() const;               ///< name of the best kernel table in use, one of isa_names()
  bool packed() const;                          ///< whether weights were rearranged in memory: ModelOptions::weights
  std::vector<KernelChoice> kernels() const;    ///< one row for each operation
  static std::vector<std::string> isa_names();  ///< what ModelOptions::isa may be: "auto", then the best first

  /// Writes every named intermediate of one forward pass over `ids` [T] to a safetensors file: `ids` [T] i32, and in
  /// f32 `embedding` [T, D], `per_layer_inputs` [T, layers, width] where the model has them, `layer.N` [T, D], `norm`
  /// [T, D], `logits` [T, V]. The cache is f32. Blocking; `progress` counts tensors. Values that are not finite are no
  /// error here: the file shows where they begin. Errors: invalid_argument (no ids, too many, one outside the
  /// vocabulary), io, out_of_memory, cancelled.
  Result<void> trace(std::span<const TokenId> ids, const std::filesystem::path& out,
                     const Progress& progress = {}) const;

  /// The same for a rendered prompt with its media, whose tensors come first, K counting each kind from 0:
  /// `image.K.patches` [P, values], `.positions` [P, 2] i32, `.tower` and `.projected` [tokens, width]; `audio.K.mel`
  /// [frames, bins] (runs of samples for a model without an audio tower), `.tower`, `.projected`; `video.K.frame.J.…`
  /// as images.
  Result<void> trace(const RenderedPrompt& prompt, const std::filesystem::path& out,
                     const Progress& progress = {}) const;

  /// Perplexity of a text in UTF-8 with the windows and scoring rule of llama-perplexity; what is left behind the last
  /// whole window is not scored. Blocking; `progress`, if there is one, is called after each window as Progress is.
  /// Errors: invalid_argument (the window; a text of less than two windows), unsupported (no tokenizer), not_finite,
  /// cancelled.
  Result<Perplexity> perplexity(
      std::string_view text, const PerplexityOptions& options,
      const std::function<bool(const Perplexity& so_far, std::int64_t total_windows)>& progress) const;

  struct State;
  const std::shared_ptr<const State>& state() const { return state_; }  ///< for the library itself

 private:
  std::shared_ptr<const State> state_;
};

/// Compares the tensors two safetensors files share by name: a row is within when max |a - b| <= tolerance * max |b|, b
/// being the reference. Values that are not finite are never within. Blocking; any thread. Errors: bad_file for an
/// unreadable file, no shared name, or shapes that differ; unsupported for a type that holds no numbers; io.
Result<TraceComparison> compare_traces(const std::filesystem::path& trace, const std::filesystem::path& reference,
                                       double tolerance = 1e-4);

}  // namespace carat
