// How a layer takes in its per-layer input: x += norm(W_proj (gelu_tanh(W_gate x) * input)), no norm before
// (reference: Gemma4TextDecoderLayer.forward, hidden_size_per_layer_input).
#include <cstring>

#include "model/decoder_layer.h"

namespace carat::model {

void per_layer_embedding_block(LayerPass& pass) {
  Workspace& w = pass.w;
  const std::int64_t rows = pass.rows(), width = pass.config.hidden_size_per_layer_input;
  w.ple_gate.resize(static_cast<std::size_t>(rows * width));
  w.ple_row.resize(static_cast<std::size_t>(rows * width));
  w.branch.resize(static_cast<std::size_t>(rows * pass.hidden()));
  const kernels::MatmulTarget gate{&pass.weights.per_layer_input_gate, w.ple_gate.data(), 0};
  kernels::matmul(pass.context, w.x.data(), rows, {&gate, 1});
  for (std::int64_t t = 0; t < rows; ++t) {
    std::memcpy(w.ple_row.data() + t * width, pass.per_layer_input + t * pass.per_layer_stride,
                static_cast<std::size_t>(width) * 4);
  }
  kernels::gelu_tanh_mul(pass.context, w.ple_gate.data(), w.ple_row.data(), rows * width, w.ple_gate.data());
  const kernels::MatmulTarget out{&pass.weights.per_layer_projection, w.branch.data(), 0};
  kernels::matmul(pass.context, w.ple_gate.data(), rows, {&out, 1});
  kernels::add_rms_norm(pass.context, w.x.data(), w.branch.data(), rows, pass.hidden(),
                        pass.weights.post_per_layer_input_norm.data(), pass.config.rms_norm_eps);
}

}  // namespace carat::model
