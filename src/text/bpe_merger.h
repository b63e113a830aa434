// Byte-pair merging of one run of symbols: a scan for short runs, a heap for long ones. The results are the same.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "text/bpe_tables.h"

namespace carat::text {

/// Reusable working memory of merging. One per thread.
class BpeMerger {
 public:
  explicit BpeMerger(const MergeTable& merges) : merges_(&merges) {}

  /// Merges the pair of the lowest rank, the leftmost on ties, until no pair merges. `symbols` is overwritten with what
  /// is left; `ends`, when not empty, holds for each symbol the position behind it and is thinned out alike. Returns
  /// how many symbols are left. O(n log n); fewer than 2^32 - 1 symbols.
  std::size_t merge(std::span<SymbolId> symbols, std::span<std::uint32_t> ends);

 private:
  std::size_t merge_short(std::span<SymbolId> symbols, std::span<std::uint32_t> ends);
  std::size_t merge_long(std::span<SymbolId> symbols, std::span<std::uint32_t> ends);

  const MergeTable* merges_;
  std::vector<Merge> pairs_;  // of a symbol with its right neighbour
  std::vector<std::uint32_t> next_, previous_;
  std::vector<std::uint64_t> heap_;  // rank << 32 | position: the smallest is the next merge
};

}  // namespace carat::text
