// Top-k selection over the whole vocabulary: scans against a small heap, no sort of the rest.
#include <algorithm>
#include <cmath>
#include <limits>

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

namespace {

// Calls visit(i) for the values at or above a threshold that visit may raise, in order; `above` says whether a value
// is. Hardly any is: values are compared a block at a time, which is done in vectors, before they are looked at one by
// one.
template <typename Above, typename Visit>
void visit_above(std::span<const float> values, const Above& above, const Visit& visit) {
  constexpr std::size_t kBlock = 64;
  std::size_t i = 0;
  for (; i + kBlock <= values.size(); i += kBlock) {
    unsigned any = 0;
    for (std::size_t j = 0; j < kBlock; ++j) any |= static_cast<unsigned>(above(values[i + j]));
    if (any == 0) continue;
    for (std::size_t j = i; j < i + kBlock; ++j) {
      if (above(values[j])) visit(j);
    }
  }
  for (; i < values.size(); ++i) {
    if (above(values[i])) visit(i);
  }
}

// The k-th highest value, 0 < k < values.size().
float kth_highest(std::span<const float> values, std::size_t k) {
  std::vector<float> heap(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(k));
  std::make_heap(heap.begin(), heap.end(), std::greater<>());
  const std::span<const float> rest = values.subspan(k);
  float lowest = heap.front();
  visit_above(
      rest, [&](float value) { return value > lowest; },
      [&](std::size_t i) {
        std::pop_heap(heap.begin(), heap.end(), std::greater<>());
        heap.back() = rest[i];
        std::push_heap(heap.begin(), heap.end(), std::greater<>());
        lowest = heap.front();
      });
  return lowest;
}

}  // namespace

void select_top_k(std::span<const float> logits, float temperature, int k, Candidates& out) {
  out.clear();
  const bool some = k > 0 && static_cast<std::size_t>(k) < logits.size();
  const float lowest = std::numeric_limits<float>::lowest();  // -infinity is never taken
  const float threshold = some ? std::max(lowest, kth_highest(logits, static_cast<std::size_t>(k))) : lowest;
  visit_above(
      logits, [&](float value) { return value >= threshold; },
      [&](std::size_t i) { out.push_back({static_cast<TokenId>(i), logits[i] / temperature}); });
  std::sort(out.begin(), out.end(), [](const Candidate& a, const Candidate& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
  });
}

}  // namespace carat::engine
