// The gated MLP of a layer, W_down(gelu_tanh(W_gate h) * W_up h), and how the experts' branch joins it
// (reference: Gemma4TextMLP and the MoE part of Gemma4TextDecoderLayer.forward).
#include "model/decoder_layer.h"

namespace carat::model {
namespace {

void resize(std::vector<float>& buffer, std::int64_t count) { buffer.resize(static_cast<std::size_t>(count)); }

// workspace.branch = mlp(norm(x, pre_feedforward_layernorm)).
void dense_mlp(LayerPass& pass) {
  Workspace& w = pass.w;
  const std::int64_t rows = pass.rows(), width = pass.spec.intermediate_size;
  resize(w.h, rows * pass.hidden());
  resize(w.gate, rows * width);
  resize(w.branch, rows * pass.hidden());
  kernels::rms_norm(pass.context, w.x.data(), rows, pass.hidden(), pass.weights.pre_feedforward_layernorm.data(),
                    pass.config.rms_norm_eps, w.h.data());
  kernels::gelu_gated_matmul(pass.context, w.h.data(), rows, pass.weights.gate_proj, pass.weights.up_proj,
                             w.gate.data());
  const kernels::MatmulTarget out{&pass.weights.down_proj, w.branch.data(), 0};
  kernels::matmul(pass.context, w.gate.data(), rows, {&out, 1});
}

}  // namespace

void feedforward_block(LayerPass& pass) {
  Workspace& w = pass.w;
  const std::int64_t rows = pass.rows(), hidden = pass.hidden();
  const float eps = pass.config.rms_norm_eps;
  dense_mlp(pass);
  if (pass.spec.num_experts > 0) {
    // x += norm(norm_1(dense) + norm_2(experts)); both branches read the same residual.
    mixture_of_experts(pass, w.expert_out);
    kernels::rms_norm(pass.context, w.branch.data(), rows, hidden, pass.weights.post_feedforward_layernorm_1.data(),
                      eps, w.branch.data());
    kernels::add_rms_norm(pass.context, w.branch.data(), w.expert_out.data(), rows, hidden,
                          pass.weights.post_feedforward_layernorm_2.data(), eps);
  }
  kernels::add_rms_norm(pass.context, w.x.data(), w.branch.data(), rows, hidden,
                        pass.weights.post_feedforward_layernorm.data(), eps);
}

}  // namespace carat::model
