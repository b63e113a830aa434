// Products with float weights that read rows as they lie in the file, over plain compiler vectors: what the portable
// table has, and what a new one may begin with.
#pragma once

#include "kernels/vector_rows.h"

namespace carat::kernels {
namespace {

constexpr std::int64_t kPrefetchBytes = 6144;
// Decoding streams each weight once. The hardware's prefetchers stop at page borders; asking for what comes some pages
// later keeps the stream going. Past the end of a mapping the request is ignored.
inline void prefetch(const void* p) { __builtin_prefetch(static_cast<const std::uint8_t*>(p) + kPrefetchBytes, 0, 2); }

// Rows x tokens register tile over the whole width; two accumulators per result, added at the end.
template <typename Element, int Rows, int Tokens>
inline void float_block(const MatmulTile& tile, std::int64_t row, std::int64_t token) {
  using Stored = typename Element::Stored;
  const Stored* w[Rows];
  const float* x[Tokens];
  for (int r = 0; r < Rows; ++r) {
    w[r] = reinterpret_cast<const Stored*>(tile.weights + (row + r) * tile.weight_row_bytes);
  }
  for (int t = 0; t < Tokens; ++t) x[t] = tile.x + (token + t) * tile.in;
  Floats even[Rows][Tokens] = {}, odd[Rows][Tokens] = {};
  std::int64_t i = 0;
  for (; i + 2 * kLanes <= tile.in; i += 2 * kLanes) {
    Floats a[Rows], b[Rows];
    for (int r = 0; r < Rows; ++r) {
      if constexpr (Tokens == 1) prefetch(w[r] + i);
      a[r] = Element::read(w[r] + i);
      b[r] = Element::read(w[r] + i + kLanes);
    }
    for (int t = 0; t < Tokens; ++t) {
      const Floats u = load<Floats>(x[t] + i), v = load<Floats>(x[t] + i + kLanes);
      for (int r = 0; r < Rows; ++r) {
        even[r][t] += a[r] * u;
        odd[r][t] += b[r] * v;
      }
    }
  }
  for (; i < tile.in; i += kLanes) {
    const std::int64_t n = tile.in - i < kLanes ? tile.in - i : kLanes;
    for (int r = 0; r < Rows; ++r) {
      Stored part[kLanes];
      load_tail(w[r] + i, n, part);
      const Floats a = Element::read(part);
      for (int t = 0; t < Tokens; ++t) {
        float tail[kLanes];
        load_tail(x[t] + i, n, tail);
        even[r][t] += a * load<Floats>(tail);
      }
    }
  }
  for (int t = 0; t < Tokens; ++t) {
    for (int r = 0; r < Rows; ++r) {
      tile.out[(token + t) * tile.out_stride + row + r] = sum_lanes(even[r][t] + odd[r][t]);
    }
  }
}

template <typename Element>
void float_tile(const MatmulTile& tile) {
  std::int64_t t = 0;
  for (; t + 4 <= tile.tokens; t += 4) {
    std::int64_t r = 0;
    for (; r + 2 <= tile.rows; r += 2) float_block<Element, 2, 4>(tile, r, t);
    for (; r < tile.rows; ++r) float_block<Element, 1, 4>(tile, r, t);
  }
  for (; t < tile.tokens; ++t) {
    std::int64_t r = 0;
    for (; r + 4 <= tile.rows; r += 4) float_block<Element, 4, 1>(tile, r, t);
    for (; r < tile.rows; ++r) float_block<Element, 1, 1>(tile, r, t);
  }
}

}  // namespace
}  // namespace carat::kernels
