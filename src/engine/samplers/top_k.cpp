// Top-k selection over the whole vocabulary: one scan against a small heap, no sort of the rest.
#include <algorithm>
#include <cmath>

#include "engine/samplers/filters.h"

namespace carat::engine {

std::vector<double> probabilities(const Candidates& candidates) {
  std::vector<double> out(candidates.size());
  double sum = 0;
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i] = std::exp(static_cast<double>(candidates[i].logit) - static_cast<double>(candidates[0].logit));
    sum += out[i];
  }
  for (double& p : out) p /= sum;
  return out;
}

void select_top_k(std::span<const float> logits, float temperature, int k, Candidates& out) {
  out.clear();
  float threshold = -INFINITY;
  if (k > 0 && static_cast<std::size_t>(k) < logits.size()) {
    std::vector<float> heap;
    heap.reserve(static_cast<std::size_t>(k));
    for (const float value : logits) {
      if (heap.size() < static_cast<std::size_t>(k)) {
        heap.push_back(value);
        std::push_heap(heap.begin(), heap.end(), std::greater<>());
      } else if (value > heap.front()) {
        std::pop_heap(heap.begin(), heap.end(), std::greater<>());
        heap.back() = value;
        std::push_heap(heap.begin(), heap.end(), std::greater<>());
      }
    }
    threshold = heap.front();
  }
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (logits[i] >= threshold && logits[i] > -INFINITY) {
      out.push_back({static_cast<TokenId>(i), logits[i] / temperature});
    }
  }
  std::sort(out.begin(), out.end(), [](const Candidate& a, const Candidate& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
  });
}

}  // namespace carat::engine
