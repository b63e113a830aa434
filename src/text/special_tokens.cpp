// Finds the literals of special tokens in text.
#include "text/special_tokens.h"

#include <algorithm>
#include <tuple>

#include "text/unicode.h"

namespace carat::text {

void SpecialTokens::add(std::string_view literal, TokenId id) {
  std::string stored;
  if (spaces_match_)
    append_with_spaces(literal, stored);
  else
    stored = literal;
  if (stored.empty()) return;
  starts_[static_cast<unsigned char>(stored[0])] = true;
  if (spaces_match_ && stored[0] == ' ') starts_[static_cast<unsigned char>(kMetaSpaceUtf8[0])] = true;
  literals_.emplace_back(std::move(stored), id);
}

void SpecialTokens::seal() { std::sort(literals_.begin(), literals_.end()); }

std::optional<SpecialTokens::Match> SpecialTokens::find(std::string_view text, std::size_t from) const {
  if (literals_.empty()) return std::nullopt;
  for (std::size_t at = from; at < text.size(); ++at) {
    if (!starts_[static_cast<unsigned char>(text[at])]) continue;
    if (auto match = match_at(text, at)) return match;
  }
  return std::nullopt;
}

/// Narrows the sorted literals byte by byte, like walking down a tree of prefixes.
std::optional<SpecialTokens::Match> SpecialTokens::match_at(std::string_view text, std::size_t at) const {
  std::optional<Match> longest;
  auto first = literals_.begin(), last = literals_.end();
  std::size_t end = at;
  for (std::size_t depth = 0; end < text.size(); ++depth) {
    char byte = text[end];
    std::size_t step = 1;
    if (spaces_match_ && text.substr(end).starts_with(kMetaSpaceUtf8)) {
      byte = ' ';
      step = kMetaSpaceUtf8.size();
    }
    // All of [first, last) agree in their first `depth` bytes; those that end there sort first.
    struct ByByte {
      std::size_t depth;
      static int order(char c) { return static_cast<unsigned char>(c); }
      int of(const std::string& literal) const { return literal.size() <= depth ? -1 : order(literal[depth]); }
      bool operator()(const std::pair<std::string, TokenId>& literal, char c) const {
        return of(literal.first) < order(c);
      }
      bool operator()(char c, const std::pair<std::string, TokenId>& literal) const {
        return order(c) < of(literal.first);
      }
    };
    std::tie(first, last) = std::equal_range(first, last, byte, ByByte{depth});
    if (first == last) break;
    end += step;
    if (first->first.size() == depth + 1) longest = {at, end, first->second};
  }
  return longest;
}

}  // namespace carat::text
