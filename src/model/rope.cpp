#include "model/rope.h"

#include <cmath>

namespace carat::model {

std::vector<float> rope_frequencies(const RopeSpec& spec) {
  std::vector<float> out(static_cast<std::size_t>(spec.rotated_pairs));
  for (std::size_t i = 0; i < out.size(); ++i) {
    // f32 step by step, as torch computes 1.0 / base ** (arange(0, dim, 2) / dim).
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(spec.head_dim);
    const auto power = static_cast<float>(std::pow(spec.theta, static_cast<double>(exponent)));
    out[i] = 1.0F / power / static_cast<float>(spec.factor);
  }
  return out;
}

void rope_table(std::span<const float> frequencies, std::span<const std::int64_t> positions, std::vector<float>& cos,
                std::vector<float>& sin) {
  cos.resize(positions.size() * frequencies.size());
  sin.resize(cos.size());
  for (std::size_t t = 0; t < positions.size(); ++t) {
    for (std::size_t i = 0; i < frequencies.size(); ++i) {
      const float angle = static_cast<float>(positions[t]) * frequencies[i];
      cos[t * frequencies.size() + i] = std::cos(angle);
      sin[t * frequencies.size() + i] = std::sin(angle);
    }
  }
}

}  // namespace carat::model
