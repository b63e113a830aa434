// Vocabularies put together by hand or at random, for tests of the tokenizer.
#pragma once

#include <algorithm>
#include <cstdio>
#include <deque>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "text/tokenizer_source.h"

namespace carat::text {

/// A source that owns its pieces. Neither copied nor moved: the source points into it.
struct RandomVocabulary {
  TokenizerSource source;
  std::vector<std::string> words;  ///< building blocks of texts that meet the vocabulary

  RandomVocabulary() { source.origin = "test"; }
  RandomVocabulary(const RandomVocabulary&) = delete;
  RandomVocabulary& operator=(const RandomVocabulary&) = delete;

  /// Everything at random: alphabet, byte tokens (all, some or none), unknown token, merges or scores, special tokens.
  RandomVocabulary(std::mt19937& rng, bool scores) : RandomVocabulary() {
    const auto chance = [&](unsigned percent) { return rng() % 100 < percent; };
    std::vector<std::string> letters{"a", "b", "c", "\u2581", "é", "中", "\xF0\x9F\x98\x80", "<", "0", "\uFFFD", "\n"};
    std::shuffle(letters.begin(), letters.end(), rng);
    letters.resize(3 + rng() % (letters.size() - 3));
    source.has_merges = !scores;
    source.replace_spaces = chance(80);
    source.add_space_prefix = chance(20);
    source.byte_fallback = chance(90);
    source.fuse_unknown = chance(60);
    source.always_match_user_defined = scores && chance(70);
    const unsigned present = chance(60) ? 100 : chance(50) ? 70 : 0;
    for (int byte = 0; byte < 256; ++byte)
      if (chance(present)) add_byte(byte);
    if (chance(60)) source.unknown = add("<unk>", TokenKind::unknown);
    if (chance(30)) add("", TokenKind::unused);

    std::vector<std::string> made;
    for (const std::string& letter : letters) {
      // With scores a letter may exist inside longer pieces only.
      if (!scores || chance(85))
        add(letter, chance(95) ? TokenKind::normal : chance(50) ? TokenKind::unused : TokenKind::control);
      made.push_back(letter);
    }
    if (!scores && present == 100 && chance(15)) made.push_back("<0x62>");
    const int merges = static_cast<int>(rng() % 60);
    for (int i = 0; i < merges; ++i) {
      const std::string left = made[rng() % made.size()], right = made[rng() % made.size()];
      if (left.size() + right.size() > 40) continue;
      if (find(left + right) < 0) {
        const TokenKind kind = chance(94)   ? TokenKind::normal
                               : chance(50) ? TokenKind::user_defined
                                            : TokenKind::control;
        add(left + right, kind);
        made.push_back(left + right);
      }
      if (!scores) add_merge(left, right);
    }
    if (chance(50)) std::shuffle(source.merges.begin(), source.merges.end(), rng);
    for (const char* literal : {"<s>", "<|x|>", "<s><s>", "ab", "é<"})
      if (chance(40) && find(literal) < 0) add(literal, chance(50) ? TokenKind::control : TokenKind::user_defined);
    for (std::size_t id = 0; id < source.pieces.size(); ++id) {
      const TokenKind kind = source.kinds[id];
      if (kind == TokenKind::control || kind == TokenKind::user_defined || kind == TokenKind::unknown)
        source.special.push_back({static_cast<TokenId>(id), false});
      // Few distinct scores, so that ties happen.
      source.scores.push_back(chance(70) ? -static_cast<float>(rng() % 10) : 0.5f * static_cast<float>(rng() % 100));
    }
    words = made;
    for (const SpecialLiteral& literal : source.special)
      if (!source.pieces[static_cast<std::size_t>(literal.id)].empty())
        words.emplace_back(source.pieces[static_cast<std::size_t>(literal.id)]);
  }

  TokenId find(std::string_view piece) const {
    const auto at = std::find(source.pieces.begin(), source.pieces.end(), piece);
    return at == source.pieces.end() ? -1 : static_cast<TokenId>(at - source.pieces.begin());
  }
  TokenId add(std::string piece, TokenKind kind) {
    strings_.push_back(std::move(piece));
    source.pieces.push_back(strings_.back());
    source.kinds.push_back(kind);
    return static_cast<TokenId>(source.pieces.size() - 1);
  }
  TokenId add_byte(int byte) {
    char name[8];
    std::snprintf(name, sizeof name, "<0x%02X>", static_cast<unsigned>(byte) & 0xFF);
    return add(name, TokenKind::byte);
  }
  /// Adds the rule, and its result where the vocabulary lacks it. A pair given twice is added once: the oracle and the
  /// tokenizer agree on the last, but shuffled rules would not mean the same to the reader.
  void add_merge(const std::string& left, const std::string& right) {
    if (!seen_.insert({left, right}).second) return;
    if (find(left + right) < 0) add(left + right, TokenKind::normal);
    strings_.push_back(left);
    const std::string_view left_view = strings_.back();
    strings_.push_back(right);
    source.merges.push_back({left_view, strings_.back()});
  }

 private:
  std::deque<std::string> strings_;
  std::set<std::pair<std::string, std::string>> seen_;
};

}  // namespace carat::text
