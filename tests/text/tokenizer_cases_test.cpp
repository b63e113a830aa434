// The tokenizer against ids written by the reference library (tools/reference/tokenizer_cases.py): a cut-out of a
// published vocabulary on text in many scripts, and tiny vocabularies with every combination of options.
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "formats/json.h"
#include "text/tokenizer.h"

namespace carat::text {
namespace {

using formats::Json;

constexpr const char* kFolder = CARAT_TEST_DATA "/text/cases/tokenizer/";

std::string read(const std::string& name) {
  std::ifstream in(kFolder + name, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

Tokenizer load(std::string_view json) {
  auto tokenizer = Tokenizer::from_tokenizer_json(json, Json(), "test");
  EXPECT_TRUE(tokenizer) << tokenizer.error().message;
  return tokenizer ? std::move(*tokenizer) : Tokenizer();
}

TEST(TokenizerCases, IdsOfACutOutVocabulary) {
  const Tokenizer tokenizer = load(read("tokenizer.json"));
  std::ifstream in(kFolder + std::string("cases.jsonl"));
  std::string line;
  int count = 0;
  while (std::getline(in, line)) {
    const Json c = Json::parse(line);
    const std::string text = c["text"];
    const std::vector<TokenId> ids = c["ids"];
    const std::vector<TokenId> special_ids = c.value("special_ids", ids);
    EXPECT_EQ(tokenizer.encode(text), ids) << line;
    EXPECT_EQ(tokenizer.encode(text, {.special = true}), special_ids) << line;

    std::string plain = text;  // what decoding gives back: "▁" is a space to the vocabulary
    for (std::size_t at; (at = plain.find("\u2581")) != plain.npos;)
      plain = plain.substr(0, at).append(" ").append(plain, at + 3);
    EXPECT_EQ(tokenizer.decode(ids).value(), plain) << line;
    EXPECT_EQ(tokenizer.decode(special_ids).value(), plain) << line;
    const std::string without_control = c.value("without_control", plain);
    // The library's special tokens are our control tokens: both leave them out on request, and print the rest.
    EXPECT_EQ(tokenizer.decode(special_ids, false).value(), without_control) << line;
    ++count;
  }
  EXPECT_GE(count, 600);
}

TEST(TokenizerCases, IdsOfTinyVocabulariesWithEveryOption) {
  std::ifstream in(kFolder + std::string("variants.jsonl"));
  std::string line;
  int count = 0;
  while (std::getline(in, line)) {
    const Json variant = Json::parse(line);
    const Tokenizer tokenizer = load(variant["tokenizer"].dump());
    for (const Json& c : variant["cases"]) {
      const std::string text = c["text"];
      EXPECT_EQ(tokenizer.encode(text), c["ids"].get<std::vector<TokenId>>()) << "line " << count << ": " << c.dump();
      EXPECT_EQ(tokenizer.encode(text, {.special = true}), c["special_ids"].get<std::vector<TokenId>>())
          << "line " << count << ": " << c.dump();
    }
    ++count;
  }
  EXPECT_GE(count, 30);
}

TEST(TokenizerCases, SpecialTokensAreFoundByTextWhateverTheirIds) {
  const Tokenizer tokenizer = load(read("tokenizer.json"));
  for (const char* literal :
       {"<bos>", "<eos>", "<pad>", "<|turn>", "<turn|>", "<|tool_call>", "<|channel>", "<|image|>"}) {
    const auto id = tokenizer.find_special(literal);
    ASSERT_TRUE(id) << literal;
    EXPECT_EQ(tokenizer.piece(*id), literal);
    EXPECT_EQ(tokenizer.encode(literal, {.special = true}), std::vector<TokenId>{*id});
    for (const TokenId text_id : tokenizer.encode(literal)) EXPECT_NE(text_id, *id) << literal << " was forged by text";
  }
  EXPECT_EQ(tokenizer.bos(), tokenizer.find_special("<bos>"));
  EXPECT_EQ(tokenizer.eos(), tokenizer.find_special("<eos>"));
  EXPECT_EQ(tokenizer.pad(), tokenizer.find_special("<pad>"));
  EXPECT_FALSE(tokenizer.find_special("the"));
  EXPECT_FALSE(tokenizer.find_special(""));
  EXPECT_EQ(tokenizer.kind(*tokenizer.find_special("<|turn>")), TokenKind::control);
  EXPECT_EQ(tokenizer.kind(*tokenizer.find_special("<|tool_call>")), TokenKind::user_defined);

  std::vector<TokenId> with_bos = tokenizer.encode("Hello");
  with_bos.insert(with_bos.begin(), *tokenizer.bos());
  EXPECT_EQ(tokenizer.encode("Hello", {.bos = true}), with_bos);
  std::vector<TokenId> appended{1, 2};
  tokenizer.encode("Hello", {.bos = true}, appended);
  with_bos.insert(with_bos.begin(), {1, 2});
  EXPECT_EQ(appended, with_bos);
}

}  // namespace
}  // namespace carat::text
