// Locally typical filter.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/samplers/filters.h"

namespace carat::engine {

void filter_typical_p(Candidates& candidates, float typical_p) {
  const std::vector<double> p = probabilities(candidates);
  double entropy = 0;
  for (const double q : p) entropy -= q > 0 ? q * std::log(q) : 0;
  std::vector<std::size_t> order(p.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto oddity = [&](std::size_t i) { return std::abs(-std::log(p[i]) - entropy); };
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return oddity(a) < oddity(b); });
  // The reference keeps as many as come before the cumulated mass reaches the limit, and the one that reaches it.
  std::size_t keep = 0;
  double mass = 0;
  while (keep < order.size()) {
    mass += p[order[keep++]];
    if (mass >= static_cast<double>(typical_p)) break;
  }
  order.resize(keep);
  std::sort(order.begin(), order.end());
  Candidates kept;
  for (const std::size_t i : order) kept.push_back(candidates[i]);
  candidates = std::move(kept);
}

}  // namespace carat::engine
