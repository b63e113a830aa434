// Mixture of experts: the router picks top_k experts per row, rows are grouped by expert, and every expert's weights
// are read once for all its rows (reference: Gemma4TextRouter.forward, Gemma4TextExperts.forward).
#include <algorithm>
#include <cmath>
#include <cstring>

#include "model/decoder_layer.h"

namespace carat::model {
namespace {

void resize(std::vector<float>& buffer, std::int64_t count) { buffer.resize(static_cast<std::size_t>(count)); }

// For one row of router scores z [experts]: p = softmax(z); the top_k largest (ties: lower id first) get weight
// p / sum of the chosen p, times per_expert_scale. Ids come out in increasing order, as the reference accumulates.
void route(const float* z, const LayerSpec& spec, const std::vector<float>& per_expert_scale, std::int32_t* ids,
           float* weights) {
  const std::int64_t experts = spec.num_experts, k = spec.top_k_experts;
  for (std::int64_t j = 0; j < k; ++j) {
    std::int32_t best = -1;
    for (std::int32_t e = 0; e < experts; ++e) {
      if (std::find(ids, ids + j, e) == ids + j && (best < 0 || z[e] > z[best])) best = e;
    }
    ids[j] = best;
  }
  const float top = z[ids[0]];
  std::sort(ids, ids + k);
  // The softmax's full denominator cancels in the renormalisation over the chosen.
  float sum = 0;
  for (std::int64_t j = 0; j < k; ++j) sum += weights[j] = std::exp(z[ids[j]] - top);
  for (std::int64_t j = 0; j < k; ++j) {
    weights[j] = weights[j] / sum * per_expert_scale[static_cast<std::size_t>(ids[j])];
  }
}

}  // namespace

void mixture_of_experts(LayerPass& pass, std::vector<float>& out) {
  const LayerSpec& s = pass.spec;
  Workspace& w = pass.w;
  const std::int64_t rows = pass.rows(), hidden = pass.hidden(), k = s.top_k_experts, width = s.moe_intermediate_size;
  const float eps = pass.config.rms_norm_eps;

  // The router sees the residual through its own weightless norm; scale and hidden_size^-0.5 are router_scale.
  resize(w.h, rows * hidden);
  resize(w.router, rows * s.num_experts);
  kernels::rms_norm(pass.context, w.x.data(), rows, hidden, pass.weights.router_scale.data(), eps, w.h.data());
  const kernels::MatmulTarget scores{&pass.weights.router_proj, w.router.data(), 0};
  kernels::matmul(pass.context, w.h.data(), rows, {&scores, 1});
  w.expert_ids.resize(static_cast<std::size_t>(rows * k));
  resize(w.expert_weights, rows * k);
  for (std::int64_t t = 0; t < rows; ++t) {
    route(w.router.data() + t * s.num_experts, s, pass.weights.per_expert_scale, w.expert_ids.data() + t * k,
          w.expert_weights.data() + t * k);
  }

  resize(w.expert_in, rows * hidden);
  kernels::rms_norm(pass.context, w.x.data(), rows, hidden, pass.weights.pre_feedforward_layernorm_2.data(), eps,
                    w.expert_in.data());
  resize(out, rows * hidden);
  std::fill(out.begin(), out.end(), 0.0F);
  for (std::int32_t e = 0; e < s.num_experts; ++e) {
    w.expert_tokens.clear();
    for (std::int64_t i = 0; i < rows * k; ++i) {
      if (w.expert_ids[static_cast<std::size_t>(i)] == e) w.expert_tokens.push_back(i);
    }
    const auto count = static_cast<std::int64_t>(w.expert_tokens.size());
    if (count == 0) continue;
    resize(w.expert_rows, count * hidden);
    resize(w.gate, count * width);
    for (std::int64_t j = 0; j < count; ++j) {
      const std::int64_t row = w.expert_tokens[static_cast<std::size_t>(j)] / k;
      std::memcpy(w.expert_rows.data() + j * hidden, w.expert_in.data() + row * hidden,
                  static_cast<std::size_t>(hidden) * 4);
    }
    const ExpertWeights& expert = pass.weights.experts[static_cast<std::size_t>(e)];
    kernels::gelu_gated_matmul(pass.context, w.expert_rows.data(), count, expert.gate_proj, expert.up_proj,
                               w.gate.data());
    const kernels::MatmulTarget down{&expert.down_proj, w.expert_rows.data(), 0};
    kernels::matmul(pass.context, w.gate.data(), count, {&down, 1});
    for (std::int64_t j = 0; j < count; ++j) {
      const std::int64_t i = w.expert_tokens[static_cast<std::size_t>(j)];
      kernels::add_scaled(pass.context, out.data() + i / k * hidden, w.expert_rows.data() + j * hidden, hidden,
                          w.expert_weights[static_cast<std::size_t>(i)]);
    }
  }
}

}  // namespace carat::model
