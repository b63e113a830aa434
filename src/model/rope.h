// Cosine and sine tables of rotary position embeddings.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/config.h"

namespace carat::model {

/// Frequencies of the pairs that turn, f32 as the reference keeps them: theta^(-2i / head_dim) / factor.
std::vector<float> rope_frequencies(const RopeSpec& spec);

/// cos and sin [T, rotated_pairs] of the angles position * frequency, the product rounded to f32 as in the reference.
void rope_table(std::span<const float> frequencies, std::span<const std::int64_t> positions, std::vector<float>& cos,
                std::vector<float>& sin);

}  // namespace carat::model
