// The time of something repeated, on a machine that others use too: what its best moment lets through.
#pragma once

#include <algorithm>
#include <chrono>
#include <limits>

namespace carat::base {

/// Shortest time of `body()` in seconds, of as many runs as fit into about `budget` seconds, at least three.
template <typename Body>
double best_time(double budget, const Body& body) {
  using Clock = std::chrono::steady_clock;
  const auto since = [](Clock::time_point from) { return std::chrono::duration<double>(Clock::now() - from).count(); };
  const auto start = Clock::now();
  double best = std::numeric_limits<double>::infinity();
  for (int run = 0; run < 3 || since(start) < budget; ++run) {
    const auto from = Clock::now();
    body();
    best = std::min(best, since(from));
  }
  return best;
}

}  // namespace carat::base
