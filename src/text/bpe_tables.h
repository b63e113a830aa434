// The three look-up tables of byte-pair encoding: pairs that merge, code points that are symbols, and code points
// between which no merge can ever happen. Built once while loading, read by any number of threads.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <vector>

namespace carat::text {

/// A token id while merging, or one past the vocabulary for a character that only exists inside longer pieces.
using SymbolId = std::uint32_t;
inline constexpr SymbolId kNoSymbol = 0xFFFFFFFF;
inline constexpr std::uint32_t kNoRank = 0xFFFFFFFF;

/// What merging two neighbours yields, and how early: lower ranks go first, the leftmost pair on ties.
struct Merge {
  std::uint32_t rank = kNoRank;  ///< kNoRank: the pair does not merge
  SymbolId result = kNoSymbol;
};

/// Hash table from pairs of symbols to merges: open addressing, at most half full, 16 bytes a slot.
class MergeTable {
 public:
  MergeTable() : MergeTable(0) {}
  explicit MergeTable(std::size_t merges) {
    const std::size_t slots = std::bit_ceil(merges * 2 + 2);
    slots_.resize(slots);
    shift_ = 64 - std::countr_zero(slots);
  }

  /// A pair given twice keeps its last merge, as in the reference.
  void insert(SymbolId left, SymbolId right, Merge merge) {
    std::size_t at = slot_of(left, right);
    while (slots_[at].merge.rank != kNoRank && (slots_[at].left != left || slots_[at].right != right))
      at = (at + 1) & (slots_.size() - 1);
    slots_[at] = {left, right, merge};
  }

  Merge find(SymbolId left, SymbolId right) const {
    for (std::size_t at = slot_of(left, right);; at = (at + 1) & (slots_.size() - 1)) {
      const Slot& slot = slots_[at];
      if ((slot.left == left && slot.right == right) || slot.merge.rank == kNoRank) return slot.merge;
    }
  }

  void prefetch(SymbolId left, SymbolId right) const { __builtin_prefetch(&slots_[slot_of(left, right)]); }

 private:
  struct Slot {
    SymbolId left = kNoSymbol, right = kNoSymbol;
    Merge merge;
  };
  std::size_t slot_of(SymbolId left, SymbolId right) const {
    const std::uint64_t key = std::uint64_t{left} << 32 | right;
    return static_cast<std::size_t>((key ^ key >> 29) * 0x9E3779B97F4A7C15u >> shift_);
  }

  std::vector<Slot> slots_;
  int shift_ = 63;
};

/// From code points to the symbol each starts as: pages of 256, most of them shared and empty.
class SymbolTable {
 public:
  SymbolTable() : page_of_(0x110000 / 256), symbols_(256, kNoSymbol) {}

  void insert(char32_t code_point, SymbolId symbol) {
    std::uint16_t& page = page_of_[code_point >> 8];
    if (page == 0) {
      page = static_cast<std::uint16_t>(symbols_.size() / 256);
      symbols_.resize(symbols_.size() + 256, kNoSymbol);
    }
    symbols_[std::size_t{page} * 256 + (code_point & 255)] = symbol;
  }

  /// kNoSymbol when the code point is none.
  SymbolId find(char32_t code_point) const {
    return symbols_[std::size_t{page_of_[code_point >> 8]} * 256 + (code_point & 255)];
  }

 private:
  std::vector<std::uint16_t> page_of_;
  std::vector<SymbolId> symbols_;
};

/// The pairs of code points (a, b) for which some merge joins a piece ending in a with one beginning with b. Where text
/// has any other pair, no merge ever reaches across, so both sides can be encoded apart. May say yes wrongly (a hashed
/// bit set), which only makes pieces longer; never no wrongly.
class JoinTable {
 public:
  JoinTable() : JoinTable(0) {}
  explicit JoinTable(std::size_t pairs) {
    const std::size_t bits = std::bit_ceil(pairs * 24 + 64);
    bits_.resize(bits / 64);
    shift_ = 64 - std::countr_zero(bits);
  }

  void insert(char32_t left, char32_t right) {
    if (left < 128 && right < 128) ascii_[left][right >> 6] |= std::uint64_t{1} << (right & 63);
    const std::size_t bit = bit_of(left, right);
    bits_[bit >> 6] |= std::uint64_t{1} << (bit & 63);
  }

  /// Both below 128.
  bool may_join_ascii(unsigned left, unsigned right) const { return ascii_[left][right >> 6] >> (right & 63) & 1; }
  bool may_join(char32_t left, char32_t right) const {
    const std::size_t bit = bit_of(left, right);
    return bits_[bit >> 6] >> (bit & 63) & 1;
  }

 private:
  std::size_t bit_of(char32_t left, char32_t right) const {
    return static_cast<std::size_t>((std::uint64_t{left} << 21 | right) * 0x9E3779B97F4A7C15u >> shift_);
  }

  std::array<std::array<std::uint64_t, 2>, 128> ascii_{};
  std::vector<std::uint64_t> bits_;
  int shift_ = 58;
};

}  // namespace carat::text
