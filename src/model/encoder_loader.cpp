#include "model/encoder_loader.h"

namespace carat::model {
namespace {

// x clamped, in `scratch`; x itself where there are no bounds.
const float* clamped(const kernels::Context& context, const float* x, std::int64_t count, const kernels::Bounds& bounds,
                     std::vector<float>& scratch) {
  if (bounds == kernels::Bounds{}) return x;
  scratch.resize(static_cast<std::size_t>(count));
  kernels::clamp(context, x, count, bounds, scratch.data());
  return scratch.data();
}

}  // namespace

void clipped_matmul(const kernels::Context& context, const float* x, std::int64_t rows,
                    std::span<const ClippedTarget> targets, std::vector<float>& scratch) {
  for (std::size_t first = 0; first < targets.size();) {
    // Neighbours with the same input bounds share one clamped copy and one product.
    const ClippedLinear& linear = *targets[first].linear;
    std::vector<kernels::MatmulTarget> products;
    for (; first < targets.size() && targets[first].linear->input == linear.input; ++first) {
      products.push_back({&targets[first].linear->weight, targets[first].out, 0, targets[first].linear->output});
    }
    const float* input = clamped(context, x, rows * linear.weight.in_features(), linear.input, scratch);
    kernels::matmul(context, input, rows, products);
  }
}

void clipped_gelu_gated_matmul(const kernels::Context& context, const float* x, std::int64_t rows,
                               const ClippedLinear& gate, const ClippedLinear& up, float* out,
                               std::vector<float>& scratch) {
  const std::int64_t width = rows * gate.weight.out_features();
  if (gate.input == up.input) {
    const float* input = clamped(context, x, rows * gate.weight.in_features(), gate.input, scratch);
    return kernels::gelu_gated_matmul(context, input, rows, gate.weight, up.weight, out, gate.output, up.output);
  }
  std::vector<float> ups(static_cast<std::size_t>(width));
  const ClippedTarget both[] = {{&gate, out}, {&up, ups.data()}};
  clipped_matmul(context, x, rows, both, scratch);
  kernels::gelu_tanh_mul(context, out, ups.data(), width, out);
}

}  // namespace carat::model
