// Byte-pair merging of one run of symbols.
#include "text/bpe_merger.h"

#include <algorithm>
#include <array>
#include <functional>

namespace carat::text {
namespace {

// Up to here looking through all pairs beats keeping a heap (bench/tokenizer_speed).
constexpr std::size_t kShort = 40;
constexpr std::uint32_t kNowhere = 0xFFFFFFFF;

}  // namespace

std::size_t BpeMerger::merge(std::span<SymbolId> symbols, std::span<std::uint32_t> ends) {
  if (symbols.size() < 2) return symbols.size();
  return symbols.size() <= kShort ? merge_short(symbols, ends) : merge_long(symbols, ends);
}

std::size_t BpeMerger::merge_short(std::span<SymbolId> symbols, std::span<std::uint32_t> ends) {
  std::array<std::uint32_t, kShort> ranks;
  std::array<SymbolId, kShort> results;
  std::size_t count = symbols.size();
  const auto look_up = [&](std::size_t i) {
    const Merge merge = merges_->find(symbols[i], symbols[i + 1]);
    ranks[i] = merge.rank;
    results[i] = merge.result;
  };
  for (std::size_t i = 0; i + 1 < count; ++i) merges_->prefetch(symbols[i], symbols[i + 1]);
  for (std::size_t i = 0; i + 1 < count; ++i) look_up(i);
  while (count > 1) {
    std::size_t best = 0;
    for (std::size_t i = 1; i + 1 < count; ++i)
      if (ranks[i] < ranks[best]) best = i;
    if (ranks[best] == kNoRank) break;
    symbols[best] = results[best];
    for (std::size_t i = best + 1; i + 1 < count; ++i) {
      symbols[i] = symbols[i + 1];
      ranks[i] = ranks[i + 1];
      results[i] = results[i + 1];
    }
    if (!ends.empty())
      for (std::size_t i = best; i + 1 < count; ++i) ends[i] = ends[i + 1];
    --count;
    if (best > 0) look_up(best - 1);
    if (best + 1 < count) look_up(best);
  }
  return count;
}

std::size_t BpeMerger::merge_long(std::span<SymbolId> symbols, std::span<std::uint32_t> ends) {
  const auto count = static_cast<std::uint32_t>(symbols.size());
  pairs_.resize(count);
  next_.resize(count);
  previous_.resize(count);
  heap_.clear();
  const auto key = [](std::uint32_t rank, std::uint32_t position) { return std::uint64_t{rank} << 32 | position; };
  for (std::uint32_t i = 0; i < count; ++i) {
    previous_[i] = i == 0 ? kNowhere : i - 1;
    next_[i] = i + 1 == count ? kNowhere : i + 1;
    pairs_[i] = i + 1 == count ? Merge{} : merges_->find(symbols[i], symbols[i + 1]);
    if (pairs_[i].rank != kNoRank) heap_.push_back(key(pairs_[i].rank, i));
  }
  std::make_heap(heap_.begin(), heap_.end(), std::greater<>());

  const auto look_up = [&](std::uint32_t left, std::uint32_t right) {
    pairs_[left] = merges_->find(symbols[left], symbols[right]);
    if (pairs_[left].rank == kNoRank) return;
    heap_.push_back(key(pairs_[left].rank, left));
    std::push_heap(heap_.begin(), heap_.end(), std::greater<>());
  };
  while (!heap_.empty()) {
    std::pop_heap(heap_.begin(), heap_.end(), std::greater<>());
    const auto rank = static_cast<std::uint32_t>(heap_.back() >> 32);
    const auto at = static_cast<std::uint32_t>(heap_.back() & 0xFFFFFFFF);
    heap_.pop_back();
    // An entry whose pair has changed since is no longer the pair's rank; the pair has its own newer entry.
    if (pairs_[at].rank != rank) continue;
    const std::uint32_t gone = next_[at];
    symbols[at] = pairs_[at].result;
    pairs_[gone].rank = kNoRank;
    next_[at] = next_[gone];
    if (next_[at] != kNowhere) {
      previous_[next_[at]] = at;
      look_up(at, next_[at]);
    } else {
      pairs_[at].rank = kNoRank;
    }
    if (previous_[at] != kNowhere) look_up(previous_[at], at);
  }

  std::size_t kept = 0;
  for (std::uint32_t i = 0; i != kNowhere; i = next_[i], ++kept) {
    symbols[kept] = symbols[i];
    if (!ends.empty()) ends[kept] = ends[(next_[i] == kNowhere ? count : next_[i]) - 1];
  }
  return kept;
}

}  // namespace carat::text
