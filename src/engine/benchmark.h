// Times prompts and decoding as a session would run them, on tokens that mean nothing.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "engine/sampler.h"
#include "engine/sequence.h"

namespace carat::engine {

/// One measurement: either prompt tokens or generated ones, of some sequences side by side, behind `depth` positions.
struct BenchmarkShape {
  std::int64_t prompt = 0, generate = 0, depth = 0, sequences = 1;
  std::int64_t prompt_chunk = 512;
};

/// Seconds of each repetition. Before the first, one run is not timed; filling the depth never is. A prompt's logits
/// are those of its last token. Decoding includes the head and drawing a token with `sampling`. Calls progress after
/// each repetition (the untimed one is number 0); false cancels. Errors: out_of_memory, cancelled, not_finite.
Result<std::vector<double>> benchmark(const Compute& compute, const BenchmarkShape& shape,
                                      const SamplerSettings& sampling, tensor::DType cache_type,
                                      std::int64_t repetitions, const std::function<bool(std::int64_t done)>& progress);

}  // namespace carat::engine
