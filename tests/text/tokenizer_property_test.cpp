// Random vocabularies and texts: the tokenizer against a plain oracle, in every shape of vocabulary that the loader
// accepts, and long pieces in chunks against merging them at once.
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <random>
#include <thread>

#include "text/bpe_merger.h"
#include "text/bpe_model.h"
#include "text/tokenizer_oracle.h"
#include "text/tokenizer_vocabularies.h"

namespace carat::text {
namespace {

std::string show(const std::vector<TokenId>& ids) {
  std::string out;
  for (const TokenId id : ids) out.append(std::to_string(id)).append(" ");
  return out;
}

std::string random_text(std::mt19937& rng, const RandomVocabulary& vocabulary, int parts) {
  static const std::vector<std::string> extra{" ",
                                              " ",
                                              "  ",
                                              "\n",
                                              "a",
                                              "b",
                                              "ж",
                                              "文",
                                              "\xF0\x9F\x98\x80",
                                              "\x80",
                                              "\xE2\x96",
                                              "\xED\xA0\x80",
                                              "\xFF",
                                              std::string("\0", 1),
                                              "<0x41>",
                                              "\u2581",
                                              "\uFFFD"};
  std::string text;
  for (int i = 0; i < parts; ++i) {
    const bool own = rng() % 3 != 0;
    text += own ? vocabulary.words[rng() % vocabulary.words.size()] : extra[rng() % extra.size()];
  }
  return text;
}

class RandomVocabularies : public testing::TestWithParam<bool> {};

TEST_P(RandomVocabularies, EqualThePlainOracle) {
  std::mt19937 rng(GetParam() ? 11 : 22);
  for (int round = 0; round < 400; ++round) {
    const RandomVocabulary vocabulary(rng, GetParam());
    const auto tokenizer = Tokenizer::build(vocabulary.source);
    ASSERT_TRUE(tokenizer) << tokenizer.error().message;
    const TokenizerOracle oracle(vocabulary.source);
    for (const int parts : {1, 2, 3, 5, 12, 60}) {
      const std::string text = random_text(rng, vocabulary, parts);
      for (const bool special : {false, true}) {
        const auto ids = tokenizer->encode(text, {.special = special});
        ASSERT_EQ(show(ids), show(oracle.encode(text, special)))
            << "round " << round << (special ? ", special" : "") << ", text " << testing::PrintToString(text);
        if (special || vocabulary.source.always_match_user_defined) continue;
        for (const TokenId id : ids)
          ASSERT_TRUE(tokenizer->kind(id) != TokenKind::control)
              << "text " << testing::PrintToString(text) << " forged " << id;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Merges, RandomVocabularies, testing::Values(false));
INSTANTIATE_TEST_SUITE_P(Scores, RandomVocabularies, testing::Values(true));

/// The encoding of ASCII text without borders, all at once with the heap.
std::vector<TokenId> merged_at_once(const BpeModel& model, std::string_view text) {
  std::vector<SymbolId> symbols;
  for (const char c : text) symbols.push_back(model.symbols.find(static_cast<unsigned char>(c)));
  symbols.resize(BpeMerger(model.merges).merge(symbols, {}));
  return {symbols.begin(), symbols.end()};
}

TEST(TokenizerLongPieces, InChunksEqualAllAtOnce) {
  std::mt19937 rng(5);
  for (int round = 0; round < 12; ++round) {
    RandomVocabulary vocabulary;
    for (int byte = 0; byte < 256; ++byte) vocabulary.add_byte(byte);
    for (const char* letter : {"a", "b"}) vocabulary.add(letter, TokenKind::normal);
    std::vector<std::pair<std::string, std::string>> merges{{"a", "b"}, {"b", "a"}, {"a", "a"}, {"b", "b"}};
    for (int i = 0; i < 300; ++i) {  // grow pieces out of pieces, some long
      const auto& [a, b] = merges[rng() % merges.size()];
      const auto& [c, d] = merges[rng() % merges.size()];
      if (a.size() + b.size() + c.size() + d.size() < 400) merges.emplace_back(a + b, rng() % 2 == 0 ? c : c + d);
    }
    if (round % 2 == 0) std::shuffle(merges.begin(), merges.end(), rng);
    for (const auto& [left, right] : merges) vocabulary.add_merge(left, right);
    const auto model = build_bpe_model(vocabulary.source);
    ASSERT_TRUE(model) << model.error().message;
    const auto tokenizer = Tokenizer::build(vocabulary.source);
    std::string text;
    while (text.size() < 150'000)
      text += rng() % 50 == 0 ? std::string(rng() % 30'000, 'a') : std::string(1, "ab"[rng() % 2]);
    EXPECT_TRUE(tokenizer->encode(text) == merged_at_once(*model, text)) << "round " << round;
  }
}

// Pieces that double: where a chunk may end depends on everything before, and the largest pieces exceed any chunk.
TEST(TokenizerLongPieces, DoublingPiecesForceChunksToGrow) {
  RandomVocabulary vocabulary;
  for (int byte = 0; byte < 256; ++byte) vocabulary.add_byte(byte);
  std::string piece = "a";
  vocabulary.add(piece, TokenKind::normal);
  for (int i = 0; i < 17; ++i, piece += piece) vocabulary.add_merge(piece, piece);
  const auto model = build_bpe_model(vocabulary.source);
  ASSERT_TRUE(model) << model.error().message;
  const auto tokenizer = Tokenizer::build(vocabulary.source);
  for (const std::size_t length : {32'767u, 32'768u, 32'769u, 65'537u, 300'000u, 524'287u}) {
    const std::string text(length, 'a');
    EXPECT_TRUE(tokenizer->encode(text) == merged_at_once(*model, text)) << length;
  }
}

TEST(TokenizerLongPieces, MillionsOfOneCharacter) {
  std::mt19937 rng(3);
  RandomVocabulary vocabulary;
  for (int byte = 0; byte < 256; ++byte) vocabulary.add_byte(byte);
  vocabulary.add("\u2581", TokenKind::normal);
  std::string run = "\u2581";
  for (int i = 1; i < 31; ++i, run += "\u2581") vocabulary.add_merge(run, "\u2581");
  std::reverse(vocabulary.source.merges.begin(), vocabulary.source.merges.end());  // longest first, as published
  const auto tokenizer = Tokenizer::build(vocabulary.source);
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  const std::string spaces(8'000'005, ' ');
  const auto ids = tokenizer->encode(spaces);
  EXPECT_EQ(ids.size(), (spaces.size() + 30) / 31);
  EXPECT_TRUE(tokenizer->decode(ids).value() == spaces);
  const std::string unknown(3'000'000, '\x01');  // no character of the vocabulary: one byte token each
  EXPECT_EQ(tokenizer->encode(unknown).size(), unknown.size());
  EXPECT_EQ(tokenizer->encode(std::string(300'000, '\xFF')).size(), 900'000u);  // U+FFFD, three bytes each
}

TEST(TokenizerThreads, OneTokenizerServesManyThreads) {
  std::mt19937 rng(8);
  const RandomVocabulary vocabulary(rng, false);
  const auto tokenizer = Tokenizer::build(vocabulary.source);
  ASSERT_TRUE(tokenizer);
  const std::string text = random_text(rng, vocabulary, 2000);
  const auto expected = tokenizer->encode(text);
  std::array<bool, 4> equal{};
  {
    std::vector<std::jthread> threads;
    for (bool& one : equal)
      threads.emplace_back([&] {
        one = true;
        for (int i = 0; i < 20; ++i) one = one && tokenizer->encode(text) == expected;
      });
  }
  for (const bool one : equal) EXPECT_TRUE(one);
}

}  // namespace
}  // namespace carat::text
