#include "model/encoder_loader.h"

namespace carat::model {

void clipped_matmul(const kernels::Context& context, float* x, std::int64_t rows,
                    std::span<const ClippedTarget> targets, base::RawVector<float>& scratch) {
  for (std::size_t first = 0; first < targets.size();) {
    // Neighbours with the same input bounds share one clamped input and one product.
    const ClippedLinear& linear = *targets[first].linear;
    std::vector<kernels::MatmulTarget> products;
    for (; first < targets.size() && targets[first].linear->input == linear.input; ++first) {
      products.push_back({&targets[first].linear->weight, targets[first].out, 0, targets[first].linear->output});
    }
    const std::int64_t count = rows * linear.weight.in_features();
    float* input = x;
    if (linear.input != kernels::Bounds{}) {
      if (first < targets.size()) {
        scratch.resize(static_cast<std::size_t>(count));
        input = scratch.data();
      }
      kernels::clamp(context, x, count, linear.input, input);
    }
    kernels::matmul(context, input, rows, products);
  }
}

void clipped_gelu_gated_matmul(const kernels::Context& context, float* x, std::int64_t rows, const ClippedLinear& gate,
                               const ClippedLinear& up, float* out, base::RawVector<float>& scratch) {
  if (gate.input == up.input) {
    if (gate.input != kernels::Bounds{}) kernels::clamp(context, x, rows * gate.weight.in_features(), gate.input, x);
    return kernels::gelu_gated_matmul(context, x, rows, gate.weight, up.weight, out, gate.output, up.output);
  }
  const std::int64_t width = rows * gate.weight.out_features();
  base::RawVector<float> ups(static_cast<std::size_t>(width));
  const ClippedTarget both[] = {{&gate, out}, {&up, ups.data()}};
  clipped_matmul(context, x, rows, both, scratch);
  kernels::gelu_tanh_mul(context, out, ups.data(), width, out);
}

}  // namespace carat::model
