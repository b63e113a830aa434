#include "model/encoder_loader.h"

namespace carat::model {

void clipped_matmul(const kernels::Context& context, const float* x, std::int64_t rows,
                    std::span<const ClippedTarget> targets, std::vector<float>& scratch) {
  for (std::size_t first = 0; first < targets.size();) {
    // Neighbours with the same input bounds share one clamped copy and one product.
    const ClippedLinear& linear = *targets[first].linear;
    std::vector<kernels::MatmulTarget> products;
    std::size_t next = first;
    for (; next < targets.size() && targets[next].linear->input_min == linear.input_min &&
           targets[next].linear->input_max == linear.input_max;
         ++next) {
      products.push_back({&targets[next].linear->weight, targets[next].out, 0});
    }
    const float* input = x;
    if (std::isfinite(linear.input_min) || std::isfinite(linear.input_max)) {
      const std::int64_t count = rows * linear.weight.in_features();
      scratch.assign(x, x + count);
      kernels::clamp(context, scratch.data(), count, linear.input_min, linear.input_max);
      input = scratch.data();
    }
    kernels::matmul(context, input, rows, products);
    for (; first < next; ++first) {
      const ClippedLinear& done = *targets[first].linear;
      if (!std::isfinite(done.output_min) && !std::isfinite(done.output_max)) continue;
      kernels::clamp(context, targets[first].out, rows * done.weight.out_features(), done.output_min, done.output_max);
    }
  }
}

}  // namespace carat::model
