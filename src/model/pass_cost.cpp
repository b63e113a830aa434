#include "model/pass_cost.h"

#include <algorithm>

namespace carat::model {
namespace {

struct Counter {
  PassCost cost;

  /// A matrix times `rows` rows of activations, if there is such a matrix.
  void matrix(const kernels::PackedMatrix& weight, std::int64_t rows) {
    if (rows > 0) experts(weight, rows, 1);
  }
  /// `used` matrices alike, `rows` products altogether.
  void experts(const kernels::PackedMatrix& weight, std::int64_t rows, std::int64_t used) {
    if (weight.empty()) return;
    const tensor::DTypeInfo& type = tensor::info(weight.dtype());
    const std::int64_t values = weight.out_features() * weight.in_features();
    cost.weight_bytes += used * values / type.block_elements * type.block_bytes;
    cost.weight_macs += rows * values;
    if (type.block_elements > 1) cost.quantised_macs += rows * values;
    if (weight.dtype() == tensor::DType::bf16) cost.bf16_macs += rows * values;
  }
  void table_rows(const tensor::TensorView& table, std::int64_t rows) { cost.weight_bytes += rows * table.row_bytes(); }
};

}  // namespace

PassCost pass_cost(const Config& config, const Weights& weights, tensor::DType cache_type, const PassShape& shape) {
  Counter count;
  const std::int64_t all = shape.sequences * shape.tokens,
                     wanted = shape.sequences * std::min(shape.tokens, shape.logit_rows);
  const std::int64_t last_owner = config.last_kv_owner();
  count.table_rows(weights.embed_tokens.view, all);
  if (config.hidden_size_per_layer_input > 0) count.table_rows(weights.embed_tokens_per_layer.view, all);
  count.matrix(weights.per_layer_model_projection_head, all);
  count.matrix(weights.per_layer_model_projection_tail, wanted);
  for (std::size_t i = 0; i < config.layers.size(); ++i) {
    const LayerSpec& spec = config.layers[i];
    const LayerWeights& layer = weights.layers[i];
    const auto index = static_cast<std::int64_t>(i);
    // Rows nobody wants logits of leave once they have filled the last cache.
    const std::int64_t keys = index <= last_owner ? all : wanted, rows = index < last_owner ? all : wanted;
    count.matrix(layer.k_proj, keys);
    if (!spec.attention_k_eq_v) count.matrix(layer.v_proj, keys);
    for (const kernels::PackedMatrix* weight :
         {&layer.q_proj, &layer.o_proj, &layer.gate_proj, &layer.up_proj, &layer.down_proj, &layer.per_layer_input_gate,
          &layer.per_layer_projection, &layer.router_proj}) {
      count.matrix(*weight, rows);
    }
    if (!layer.experts.empty()) {
      const std::int64_t products = rows * spec.top_k_experts, used = std::min(spec.num_experts, products);
      const ExpertWeights& expert = layer.experts.front();
      for (const kernels::PackedMatrix* weight : {&expert.gate_proj, &expert.up_proj, &expert.down_proj}) {
        count.experts(*weight, products, used);
      }
    }
    if (rows == 0) continue;
    // Attention: row t of a sequence sees what its window holds of depth + t + 1 positions.
    const std::int64_t first = shape.tokens - rows / shape.sequences, window = spec.sliding_window;
    std::int64_t seen = 0;
    for (std::int64_t t = first; t < shape.tokens; ++t) {
      const std::int64_t positions = shape.depth + t + 1;
      seen += window > 0 ? std::min(window, positions) : positions;
    }
    const std::int64_t positions = shape.depth + shape.tokens;
    const std::int64_t read = window > 0 ? std::min(window + shape.tokens - first - 1, positions) : positions;
    count.cost.cache_bytes += shape.sequences * read * 2 * spec.num_key_value_heads *
                              (kernels::kv_block_bytes(cache_type, spec.head_dim) / kernels::kKvBlock);
    count.cost.attention_macs += shape.sequences * seen * 2 * spec.num_attention_heads * spec.head_dim;
  }
  count.matrix(weights.lm_head, wanted);
  return count.cost;
}

}  // namespace carat::model
