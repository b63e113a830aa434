// Nucleus filter.
#include "engine/samplers/filters.h"

namespace carat::engine {

void filter_top_p(Candidates& candidates, float top_p) {
  const std::vector<double> p = probabilities(candidates);
  double tail = 0;  // mass of the least likely so far, this one included
  std::size_t keep = candidates.size();
  while (keep > 1) {
    tail += p[keep - 1];
    if (tail > 1.0 - static_cast<double>(top_p)) break;
    --keep;
  }
  candidates.resize(keep);
}

}  // namespace carat::engine
