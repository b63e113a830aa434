// The decoder's weights, found by name, checked against the configuration and packed for the kernels.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/arena.h"
#include "carat/result.h"
#include "formats/checkpoint.h"
#include "kernels/ops.h"
#include "model/config.h"

namespace carat::model {

/// One expert: the halves of gate_up_proj apart, [moe_intermediate_size, hidden_size] each, and down_proj.
struct ExpertWeights {
  kernels::PackedMatrix gate_proj, up_proj, down_proj;
};

/// Names are those of the reference modules (Gemma4TextDecoderLayer); matrices are [out, in]; norm vectors hold the
/// factor itself (Gemma 3's 1 + w already added). Empty where a layer has no such part.
struct LayerWeights {
  std::vector<float> input_layernorm, post_attention_layernorm, pre_feedforward_layernorm, post_feedforward_layernorm;
  std::vector<float> q_norm, k_norm;  ///< [head_dim]; k_norm only where the layer owns keys
  kernels::PackedMatrix q_proj, k_proj, v_proj, o_proj;
  kernels::PackedMatrix gate_proj, up_proj, down_proj;
  float layer_scalar = 1;

  // Per-layer embeddings.
  kernels::PackedMatrix per_layer_input_gate, per_layer_projection;
  std::vector<float> post_per_layer_input_norm;

  // Mixture of experts.
  std::vector<float> router_scale;   ///< router.scale * hidden_size^-0.5, the weight of the router's own norm
  std::vector<float> router_values;  ///< [num_experts, hidden_size] as f32, where the file has another type
  kernels::PackedMatrix router_proj;
  std::vector<float> per_expert_scale;
  std::vector<float> pre_feedforward_layernorm_2, post_feedforward_layernorm_1, post_feedforward_layernorm_2;
  std::vector<ExpertWeights> experts;
};

/// A table of which a pass reads single rows. A row of a few kilobytes brings in 64 KB of mapped file, so that a long
/// text would make most of a table count as memory of this process; done() gives the pages back after each pass.
struct RowTable {
  tensor::TensorView view;
  /// Where its pages are given back; null where something else reads the same bytes whole.
  const formats::Checkpoint* file = nullptr;

  void read(std::int64_t row, std::span<float> out) const { tensor::decode_row(view, row, out); }
  void done() const {
    if (file != nullptr) file->release(view);
  }
};

/// Where the bytes of weights lie.
struct WeightMemory {
  std::int64_t mapped_bytes = 0;  ///< bytes read in the file: all weights less packed ones and tables read by row
  std::int64_t owned_bytes = 0;   ///< memory of packed copies
  base::Arena packed;             ///< that memory
};

struct Weights : WeightMemory {
  RowTable embed_tokens;          ///< [vocab_size, hidden_size]
  float embedding_scale = 1;      ///< sqrt(hidden_size), rounded to the table's type when that is 16 bit
  kernels::PackedMatrix lm_head;  ///< [vocab_size, hidden_size]; usually embed_tokens again
  std::vector<float> norm;
  RowTable embed_tokens_per_layer;  ///< [vocab_size_per_layer_input, layers * width]
  /// per_layer_model_projection cut in two: rows of the layers up to last_kv_owner, and of those after it.
  kernels::PackedMatrix per_layer_model_projection_head, per_layer_model_projection_tail;
  std::vector<float> per_layer_projection_norm;
  std::vector<LayerWeights> layers;
};

/// Loads; with a pool to pack with, packs what the table's kernels read faster that way. The checkpoint must outlive
/// the result. `progress(done, total)` counts layers; returning false cancels. Errors: bad_file naming tensor, found
/// and expected shape; unsupported for a tensor type without kernels.
Result<Weights> load_weights(const formats::Checkpoint& checkpoint, const Config& config,
                             const kernels::KernelTable& table, base::ThreadPool* pack_with = nullptr,
                             const std::function<bool(std::int64_t, std::int64_t)>& progress = {});

/// Names of parts other code asks for.
inline constexpr std::string_view kPerLayerTablePart = "per-layer embedding table", kBuffersPart = "buffers",
                                  kUnusedPart = "unused (keys and values of sharing layers)";
/// Whether a part is read for text: everything but the towers, their projectors, and dead weights.
bool belongs_to_text(std::string_view part);
/// Whether a part counts in the number of parameters: everything but buffers and dead weights.
bool counts_as_parameters(std::string_view part);

/// The part of the model a tensor belongs to ("embedding", "attention", "vision tower", …), for summaries.
std::string_view part_of_tensor(const formats::Checkpoint& checkpoint, const Config& config, std::string_view name);

}  // namespace carat::model
