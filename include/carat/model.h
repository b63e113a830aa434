// A loaded model: weights mapped and prepared for this machine's kernels, shared by any number of sessions.
//
//   auto model = carat::Model::load(*checkpoint);
//   auto session = carat::Session::create(*model);
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "carat/checkpoint.h"
#include "carat/options.h"
#include "carat/result.h"

namespace carat {

/// Told how far a long operation is; returning false cancels it (the operation then fails with `cancelled`).
using Progress = std::function<bool(std::int64_t done, std::int64_t total)>;

/// Which kernels serve an operation, and why better ones do not.
struct KernelChoice {
  std::string operation, chosen, refused;
};

struct Perplexity {
  double perplexity = 0, standard_error = 0;
  std::int64_t tokens = 0;  ///< scored tokens
  std::int64_t windows = 0;
};

struct PerplexityOptions {
  std::int64_t window = 512;     ///< tokens per window; the second half of each is scored, BOS replaces its first token
  std::int64_t max_windows = 0;  ///< 0 = all
};

/// The first tensor two traces disagree on, and the worst error of all of them.
struct TraceComparison {
  struct Row {
    std::string name;
    std::int64_t position = 0;  ///< row of the largest difference
    double absolute_error = 0;  ///< max |a - b|
    double relative_error = 0;  ///< max |a - b| / max |b|
    bool within = true;
  };
  std::vector<Row> rows;  ///< shared tensors in the order of the forward pass
  const Row* first_divergence() const;
  bool equal() const { return first_divergence() == nullptr; }
};

/// Shared, immutable, thread-safe; copies refer to the same weights. Its thread pool serves one computation at a time.
class Model {
 public:
  /// Prepares the weights. Errors: bad_file (missing tensor, wrong shape), unsupported, invalid_argument (isa,
  /// threads).
  static Result<Model> load(const Checkpoint& checkpoint, const ModelOptions& options = {},
                            const Progress& progress = {});

  const Checkpoint& checkpoint() const;
  std::int64_t max_context_length() const;
  std::int64_t vocab_size() const;
  int threads() const;
  const std::string& isa() const;  ///< name of the best kernel table in use
  std::vector<KernelChoice> kernels() const;
  static std::vector<std::string> isa_names();

  /// Writes every named intermediate of one forward pass over `ids` to a safetensors file: `ids` (i32), `embedding`,
  /// `per_layer_inputs`, `layer.N`, `norm`, `logits`, all f32 [tokens, …]. Errors: invalid_argument for an id outside
  /// the vocabulary or too many ids, io, not_finite is not an error here (the values show where).
  Result<void> trace(std::span<const TokenId> ids, const std::filesystem::path& out,
                     const Progress& progress = {}) const;

  /// Perplexity of a text with the windows and scoring rule of llama-perplexity. Errors: invalid_argument when the text
  /// has fewer than two windows' worth of tokens, cancelled.
  Result<Perplexity> perplexity(
      std::string_view text, const PerplexityOptions& options,
      const std::function<bool(const Perplexity& so_far, std::int64_t total_windows)>& progress) const;

  struct State;
  const std::shared_ptr<const State>& state() const { return state_; }  ///< for the library itself

 private:
  std::shared_ptr<const State> state_;
};

/// Compares the tensors two traces share. Errors: bad_file for an unreadable file or no shared name, or shapes that
/// differ.
Result<TraceComparison> compare_traces(const std::filesystem::path& trace, const std::filesystem::path& reference,
                                       double tolerance = 1e-4);

}  // namespace carat
