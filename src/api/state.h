// What the public handles hold.
#pragma once

#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>

#include "base/thread_pool.h"
#include "carat/checkpoint.h"
#include "carat/model.h"
#include "carat/session.h"
#include "engine/generation_defaults.h"
#include "engine/prompt_media.h"
#include "engine/sequence.h"
#include "formats/checkpoint.h"
#include "kernels/ops.h"
#include "model/media_encoder.h"
#include "model/transformer.h"
#include "text/tokenizer.h"

namespace carat {

struct PromptMedia {
  std::vector<engine::PlacedMedium> placed;
};

/// Soft tokens of a prompt's media, in order, and the seconds it took to load the encoders, where they were not yet.
struct EncodedMedia {
  std::vector<std::shared_ptr<const model::SoftTokens>> features;
  double load_seconds = 0;
};

struct Checkpoint::State {
  formats::Checkpoint file;
  std::filesystem::path projector;  ///< as given; empty for the one beside the model

  /// Loaded on first use, then shared; thread-safe.
  const Result<text::Tokenizer>& tokenizer() const;
  const Result<model::Config>& config() const;
  /// The file that holds the media encoders: the projector of a GGUF model, else the checkpoint itself.
  Result<const formats::Checkpoint*> encoder_file() const;
  Result<const engine::MediaReader*> media_reader() const;

 private:
  mutable std::once_flag tokenizer_once_, config_once_, projector_once_, reader_once_;
  mutable std::optional<Result<text::Tokenizer>> tokenizer_;
  mutable std::optional<Result<model::Config>> config_;
  mutable std::optional<Result<formats::Checkpoint>> projector_;
  mutable Result<void> reader_status_;
  mutable std::unique_ptr<engine::MediaReader> reader_;
};

/// What a model's encoders made of media lately, within a bound of memory. Not thread-safe.
class FeatureStore {
 public:
  std::shared_ptr<const model::SoftTokens> find(const std::string& key);
  void keep(const std::string& key, std::shared_ptr<const model::SoftTokens> features);

 private:
  static constexpr std::int64_t kMaxBytes = std::int64_t{512} << 20;
  std::list<std::pair<std::string, std::shared_ptr<const model::SoftTokens>>> kept_;  ///< the latest first
};

struct Model::State {
  Checkpoint checkpoint;
  kernels::Dispatch dispatch;
  std::unique_ptr<base::ThreadPool> pool;
  std::unique_ptr<const model::Transformer> transformer;
  engine::GenerationDefaults defaults;

  /// One computation at a time: whoever holds the lock may use the context and the workspace.
  struct Turn {
    std::unique_lock<std::mutex> lock;
    engine::Compute compute;
  };
  Turn take_turn() const { return {std::unique_lock(mutex_), {*transformer, *context, workspace_}}; }

  std::optional<kernels::Context> context;

  /// Adds to `out` the features of a prompt's media, in order: those kept, and the others encoded now. `progress`
  /// counts media. Takes turns by itself. Errors, with what was done until then in `out`: those of loading the encoders
  /// and of encoding; cancelled.
  Result<void> encode(const PromptMedia& media, const Progress& progress, EncodedMedia& out) const;

 private:
  /// Loaded when it is first needed: who shows pictures does without the memory of what hears.
  Result<const model::MediaEncoder*> encoder(model::Modality modality) const;

  mutable std::mutex mutex_;
  mutable model::Workspace workspace_;
  mutable FeatureStore features_;  // guarded by mutex_, as is what follows
  mutable std::map<model::Modality, model::MediaEncoder> encoders_;
};

/// The number of compute threads: what the options name, or the cores this process may use.
Result<int> resolve_threads(int threads);

/// The cache type of a session: what the options name, or by the checkpoint's weights.
Result<tensor::DType> resolve_cache_type(const formats::Checkpoint& file, const model::Config& config,
                                         const std::string& name);
/// The context length of a session: what the options name, or the model's maximum.
Result<std::int64_t> resolve_context_length(const model::Config& config, const SessionOptions& options);

/// Whether ids and number of a prompt are what a session of so many positions can take.
Result<void> check_prompt(std::span<const TokenId> prompt, std::int64_t vocab_size, std::int64_t context_length,
                          std::int64_t model_maximum);

/// Which layers have image blocks: what the option says, or what the reference does with this model.
Result<model::VisionBlocks> resolve_vision_blocks(const Checkpoint::State& checkpoint, const model::Config& config,
                                                  const std::string& name);

/// Whether weights are packed: what the option says, or whether four fifths of the free memory hold them.
Result<bool> resolve_packing(const formats::Checkpoint& file, const model::Config& config, const std::string& name);

/// Bytes of the tensors a text session reads in full: everything of the decoder less the per-layer table.
std::int64_t resident_weight_bytes(const formats::Checkpoint& file, const model::Config& config);

}  // namespace carat
