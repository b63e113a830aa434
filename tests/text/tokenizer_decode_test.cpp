// Ids back to text: whole and streamed, with bytes that only together make a character.
#include <gtest/gtest.h>

#include <random>

#include "text/tokenizer.h"
#include "text/tokenizer_vocabularies.h"
#include "text/unicode.h"

namespace carat::text {
namespace {

/// All bytes at their own value as id, then a few pieces.
struct ByteVocabulary : RandomVocabulary {
  TokenId letter, word, control, marker, unknown;
  ByteVocabulary() {
    for (int byte = 0; byte < 256; ++byte) add_byte(byte);
    letter = add("é", TokenKind::normal);
    word = add("\u2581the\u2581", TokenKind::normal);
    control = add("<bos>", TokenKind::control);
    marker = add("<|tool_call>", TokenKind::user_defined);
    unknown = add("<unk>", TokenKind::unknown);
    source.unknown = unknown;
  }
};

TEST(TokenizerDecode, PrintsEachKindOfToken) {
  const ByteVocabulary v;
  const auto tokenizer = Tokenizer::build(v.source);
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  const std::vector<TokenId> ids{v.control, v.word, v.letter, v.marker, v.unknown, 0xE2, 0x82, 0xAC, '!'};
  EXPECT_EQ(tokenizer->decode(ids).value(), "<bos> the é<|tool_call><unk>€!");
  EXPECT_EQ(tokenizer->decode(ids, false).value(), " the é<|tool_call>€!");
  EXPECT_EQ(tokenizer->bytes(v.word), " the ");
  EXPECT_EQ(tokenizer->piece(v.word), "\u2581the\u2581");
  EXPECT_EQ(tokenizer->bytes(0xE2), "\xE2");
  EXPECT_EQ(tokenizer->piece(0xE2), "<0xE2>");
  EXPECT_EQ(tokenizer->bytes(-1), "");
  EXPECT_EQ(tokenizer->piece(100000), "");
}

TEST(TokenizerDecode, AnIdOutsideTheVocabularyIsAnError) {
  const ByteVocabulary v;
  const auto tokenizer = Tokenizer::build(v.source);
  for (const TokenId id : {-1, tokenizer->vocab_size(), 2147483647}) {
    const auto text = tokenizer->decode(std::vector<TokenId>{1, id});
    ASSERT_FALSE(text);
    EXPECT_EQ(text.error().code, ErrorCode::invalid_argument);
    EXPECT_NE(text.error().message.find("position 1"), std::string::npos) << text.error().message;
  }
}

TEST(TokenizerDecode, InvalidBytesBecomeReplacementCharactersOneByOne) {
  const ByteVocabulary v;
  const auto tokenizer = Tokenizer::build(v.source);
  const auto decode = [&](std::vector<TokenId> ids) { return tokenizer->decode(ids).value(); };
  EXPECT_EQ(decode({0xFF, 'a'}), "\uFFFDa");
  EXPECT_EQ(decode({0xE2, 0x82}), "\uFFFD\uFFFD");
  EXPECT_EQ(decode({0xE2, 0x82, v.letter}), "\uFFFD\uFFFDé");
  EXPECT_EQ(decode({0xED, 0xA0, 0x80}), "\uFFFD\uFFFD\uFFFD") << "surrogates are no characters";
  EXPECT_EQ(decode({0xC0, 0x80}), "\uFFFD\uFFFD") << "overlong";
  EXPECT_EQ(decode({0xF4, 0x90, 0x80, 0x80}), "\uFFFD\uFFFD\uFFFD\uFFFD") << "past U+10FFFF";
  EXPECT_EQ(decode({0xC3, 0xC3, 0xA9}), "\uFFFDé");
}

TEST(TokenizerDecode, StreamsOnlyWholeCharacters) {
  const ByteVocabulary v;
  const auto tokenizer = Tokenizer::build(v.source);
  StreamDecoder stream(*tokenizer);
  EXPECT_EQ(stream.push(0xF0), "");
  EXPECT_EQ(stream.push(0x9F), "");
  EXPECT_EQ(stream.push(0x98), "");
  EXPECT_EQ(stream.push(0x80), "\xF0\x9F\x98\x80");
  EXPECT_EQ(stream.push(v.letter), "é");
  EXPECT_EQ(stream.push(0xE2), "");
  EXPECT_EQ(stream.push('a'),
            "\uFFFD"
            "a");
  EXPECT_EQ(stream.push(0xE2), "");
  EXPECT_EQ(stream.push(0x82), "");
  EXPECT_EQ(stream.finish(), "\uFFFD\uFFFD");
  EXPECT_EQ(stream.finish(), "");
  EXPECT_EQ(stream.push(0xFF), "\uFFFD") << "can never become a character";
  EXPECT_EQ(stream.push(-1), "");
  EXPECT_EQ(stream.push(1 << 30), "");
  EXPECT_EQ(stream.push(v.control), "<bos>");
  StreamDecoder plain(*tokenizer, false);
  EXPECT_EQ(plain.push(v.control), "");
  EXPECT_EQ(plain.push(v.marker), "<|tool_call>");
}

TEST(TokenizerDecode, StreamedInAnyOrderEqualsWhole) {
  const ByteVocabulary v;
  const auto tokenizer = Tokenizer::build(v.source);
  std::mt19937 rng(1);
  for (int round = 0; round < 3000; ++round) {
    std::vector<TokenId> ids;
    for (unsigned i = rng() % 12; i > 0; --i) {
      const TokenId lead[] = {0xE2, 0xF0, 0xC3, 0xED, 0xF4, 0xE0};
      ids.push_back(rng() % 3 == 0   ? static_cast<TokenId>(rng() % static_cast<unsigned>(tokenizer->vocab_size()))
                    : rng() % 2 == 0 ? static_cast<TokenId>(0x80 + rng() % 64)
                                     : lead[rng() % 6]);
    }
    for (const bool special : {false, true}) {
      StreamDecoder stream(*tokenizer, special);
      std::string text;
      for (const TokenId id : ids) {
        const std::string piece = stream.push(id);
        EXPECT_EQ(find_invalid_utf8(piece), std::string::npos);
        text += piece;
      }
      text += stream.finish();
      EXPECT_EQ(text, tokenizer->decode(ids, special).value());
    }
  }
}

TEST(TokenizerDecode, GivesBackWhatWasEncoded) {
  std::mt19937 rng(2);
  int checked = 0;
  for (int round = 0; round < 300; ++round) {
    const RandomVocabulary v(rng, round % 2 == 0);
    const auto tokenizer = Tokenizer::build(v.source);
    ASSERT_TRUE(tokenizer) << tokenizer.error().message;
    bool all_bytes = v.source.byte_fallback && !v.source.add_space_prefix && v.source.replace_spaces;
    for (int byte = 0; byte < 256 && all_bytes; ++byte) {
      char name[8];
      std::snprintf(name, sizeof name, "<0x%02X>", static_cast<unsigned>(byte));
      all_bytes = v.find(name) >= 0;
    }
    // Else some characters cannot be told apart, or a space comes back as the bytes of "▁" (in the reference as well).
    const TokenId space = v.find("\u2581");
    if (!all_bytes || space < 0 || tokenizer->kind(space) == TokenKind::control) continue;
    std::string text;
    for (int i = 0; i < 60; ++i) {
      if (rng() % 4 != 0)
        text += v.words[rng() % v.words.size()];
      else
        append_utf8(static_cast<char32_t>(rng() % 4 == 0 ? 0x10000 + rng() % 0x1000 : rng() % 0x2500), text);
    }
    std::string plain;
    append_with_spaces(text, plain);
    for (const bool special : {false, true})
      EXPECT_EQ(tokenizer->decode(tokenizer->encode(text, {.special = special})).value(), plain);
    ++checked;
  }
  EXPECT_GE(checked, 20);
}

TEST(Unicode, IllFormedStretchesFollowTheStandardRule) {
  const auto replaced = [](std::string_view text) {
    std::string out;
    const char* at = text.data();
    while (at < text.data() + text.size()) {
      const CodePoint next = next_code_point(at, text.data() + text.size());
      append_utf8(next.value, out);
      at += next.bytes;
    }
    return out;
  };
  // The example of the Unicode standard, table 3-8, and Python's own tests of errors="replace".
  EXPECT_EQ(replaced("\x61\xF1\x80\x80\xE1\x80\xC2\x62\x80\x63\x80\xBF\x64"),
            "a\uFFFD\uFFFD\uFFFDb\uFFFDc\uFFFD\uFFFDd");
  EXPECT_EQ(replaced("\xF0\x80\x80\x41"), "\uFFFD\uFFFD\uFFFDA");
  EXPECT_EQ(replaced("\xED\xA0\x80\xED\xB0\x80"), "\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(replaced("\xF4\x8F\xBF\xBF\xF4\x90\x80\x80"), "\U0010FFFF\uFFFD\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(replaced("\xE2\x82"), "\uFFFD");
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    std::string text;
    append_utf8(c, text);
    const CodePoint next = next_code_point(text.data(), text.data() + text.size());
    ASSERT_TRUE(next.valid && next.value == c && next.bytes == text.size()) << static_cast<unsigned>(c);
  }
}

}  // namespace
}  // namespace carat::text
