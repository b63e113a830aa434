// Filter relative to the most likely candidate.
#include "engine/samplers/filters.h"

namespace carat::engine {

void filter_min_p(Candidates& candidates, float min_p) {
  const std::vector<double> p = probabilities(candidates);
  std::size_t keep = candidates.size();
  while (keep > 1 && p[keep - 1] < static_cast<double>(min_p) * p[0]) --keep;
  candidates.resize(keep);
}

}  // namespace carat::engine
