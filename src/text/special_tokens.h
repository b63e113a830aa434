// Finds the literals of special tokens in text: the leftmost, and of those that start there the longest.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/tokenizer.h"

namespace carat::text {

/// A set of literals. Immutable once sealed.
class SpecialTokens {
 public:
  struct Match {
    std::size_t begin = 0, end = 0;
    TokenId id = 0;
  };

  /// With `spaces_match`, "▁" in a literal is the same as a space, and both match both in text.
  explicit SpecialTokens(bool spaces_match = false) : spaces_match_(spaces_match) {}

  /// Empty literals are left out: they would match everywhere.
  void add(std::string_view literal, TokenId id);
  /// Sorts the set; call once after the last add().
  void seal();
  bool empty() const { return literals_.empty(); }

  /// The first match at or after `from`.
  std::optional<Match> find(std::string_view text, std::size_t from) const;

 private:
  std::optional<Match> match_at(std::string_view text, std::size_t at) const;

  bool spaces_match_;
  std::vector<std::pair<std::string, TokenId>> literals_;  // sorted, "▁" stored as a space with spaces_match_
  std::array<bool, 256> starts_{};                         // bytes of text that some literal may start with
};

}  // namespace carat::text
