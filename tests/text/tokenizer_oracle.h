// Byte-pair encoding written as plainly as possible, to check the tokenizer against: pieces are strings, and every step
// looks at every pair.
#pragma once

#include <cstdio>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/tokenizer_source.h"
#include "text/unicode.h"

namespace carat::text {

class TokenizerOracle {
 public:
  explicit TokenizerOracle(const TokenizerSource& source) : source_(source) {
    for (std::size_t id = 0; id < source.pieces.size(); ++id) {
      if (source.pieces[id].empty()) continue;
      ids_[std::string(source.pieces[id])] = static_cast<TokenId>(id);
    }
    for (std::size_t rank = 0; rank < source.merges.size(); ++rank)
      ranks_[{std::string(source.merges[rank].left), std::string(source.merges[rank].right)}] =
          static_cast<double>(rank);
  }

  /// Text mode or special mode, without BOS.
  std::vector<TokenId> encode(std::string_view text, bool special) const {
    std::vector<TokenId> out;
    std::set<TokenId> wanted;
    for (const SpecialLiteral& literal : source_.special)
      if (special || (source_.always_match_user_defined && kind(literal.id) == TokenKind::user_defined))
        wanted.insert(literal.id);
    std::string plain;
    while (!text.empty()) {
      TokenId longest = -1;
      for (const TokenId id : wanted)
        if (!piece(id).empty() && text.starts_with(piece(id)) &&
            (longest < 0 || piece(id).size() > piece(longest).size()))
          longest = id;
      if (longest < 0) {
        plain.push_back(text[0]);
        text.remove_prefix(1);
        continue;
      }
      encode_plain(plain, out);
      plain.clear();
      out.push_back(longest);
      text.remove_prefix(piece(longest).size());
    }
    encode_plain(plain, out);
    return out;
  }

 private:
  std::string_view piece(TokenId id) const { return source_.pieces[static_cast<std::size_t>(id)]; }
  TokenKind kind(TokenId id) const { return source_.kinds[static_cast<std::size_t>(id)]; }
  bool has_scores() const { return !source_.has_merges; }

  /// What text may become: with merges all but control and unknown tokens, with scores no byte tokens either.
  std::optional<TokenId> find(const std::string& text) const {
    const auto at = ids_.find(text);
    if (at == ids_.end() || kind(at->second) == TokenKind::control || kind(at->second) == TokenKind::unknown) return {};
    if (has_scores() && kind(at->second) == TokenKind::byte) return {};
    return at->second;
  }

  std::optional<std::vector<std::string>> bytes_of(const std::string& character) const {
    std::vector<std::string> out;
    if (!source_.byte_fallback) return std::nullopt;
    for (const char byte : character) {
      char name[8];
      std::snprintf(name, sizeof name, "<0x%02X>", static_cast<unsigned>(static_cast<unsigned char>(byte)));
      const auto at = ids_.find(name);
      if (at == ids_.end() || kind(at->second) == TokenKind::control || kind(at->second) == TokenKind::unknown)
        return {};
      out.push_back(name);
    }
    return out;
  }

  std::vector<std::string> characters(std::string_view text) const {
    std::vector<std::string> out;
    if (text.empty()) return out;
    if (source_.add_space_prefix) out.emplace_back(kMetaSpaceUtf8);
    const char* at = text.data();
    const char* const end = at + text.size();
    while (at < end) {
      const CodePoint next = next_code_point(at, end);
      std::string character;
      append_utf8(next.value == U' ' && source_.replace_spaces ? kMetaSpace : next.value, character);
      out.push_back(character);
      at += next.bytes;
    }
    return out;
  }

  /// The order of merging two neighbours, lower first; nothing when they do not merge.
  std::optional<double> order(const std::string& left, const std::string& right) const {
    const auto result = find(left + right);
    if (!result) return std::nullopt;
    if (has_scores()) return -static_cast<double>(source_.scores[static_cast<std::size_t>(*result)]);
    const auto at = ranks_.find({left, right});
    return at == ranks_.end() ? std::nullopt : std::optional(at->second);
  }

  void encode_plain(std::string_view text, std::vector<TokenId>& out) const {
    std::vector<std::string> symbols = has_scores() ? characters(text) : initial_symbols(text);
    while (true) {
      std::optional<double> best;
      std::size_t where = 0;
      for (std::size_t i = 0; i + 1 < symbols.size(); ++i) {
        const auto here = order(symbols[i], symbols[i + 1]);
        if (here && (!best || *here < *best)) {
          best = here;
          where = i;
        }
      }
      if (!best) break;
      symbols[where] += symbols[where + 1];
      symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(where) + 1);
    }
    bool after_unknown = false;
    for (const std::string& symbol : symbols) {
      if (const auto id = has_scores() ? find(symbol) : std::optional(ids_.at(symbol))) {
        out.push_back(*id);
      } else if (const auto bytes = bytes_of(symbol)) {
        for (const std::string& byte : *bytes) out.push_back(ids_.at(byte));
      } else if (source_.unknown) {
        if (!after_unknown || !source_.fuse_unknown) out.push_back(*source_.unknown);
        after_unknown = true;
        continue;
      }
      after_unknown = false;
    }
  }

  /// With merges, characters outside the vocabulary are settled before merging; an unknown token waits while bytes
  /// pass.
  std::vector<std::string> initial_symbols(std::string_view text) const {
    std::vector<std::string> out;
    const std::string unknown = source_.unknown ? std::string(piece(*source_.unknown)) : std::string();
    bool pending = false;
    for (const std::string& character : characters(text)) {
      if (find(character)) {
        if (pending) out.push_back(unknown);
        pending = false;
        out.push_back(character);
      } else if (const auto bytes = bytes_of(character)) {
        out.insert(out.end(), bytes->begin(), bytes->end());
      } else if (source_.unknown) {
        if (pending && !source_.fuse_unknown) out.push_back(unknown);
        pending = true;
      }
    }
    if (pending) out.push_back(unknown);
    return out;
  }

  const TokenizerSource& source_;
  std::map<std::string, TokenId> ids_;
  std::map<std::pair<std::string, std::string>, double> ranks_;
};

}  // namespace carat::text
