// Loading from GGUF metadata and tokenizer.json: what is read, and one clear error for each way a vocabulary can be
// wrong.
#include <gtest/gtest.h>

#include <cstring>
#include <deque>
#include <functional>

#include "formats/json.h"
#include "text/tokenizer.h"

namespace carat::text {
namespace {

using formats::GgufArray;
using formats::GgufMetadata;
using formats::GgufValue;
using formats::Json;

/// Metadata with arrays encoded as in a file, kept alive here.
class Metadata {
 public:
  Metadata& set(const std::string& key, GgufValue value) {
    metadata_.insert("tokenizer." + key, std::move(value));
    return *this;
  }
  Metadata& texts(const std::string& key, const std::vector<std::string>& values) {
    std::string bytes;
    for (const std::string& value : values) {
      const std::uint64_t size = value.size();
      bytes.append(reinterpret_cast<const char*>(&size), 8).append(value);
    }
    return array(key, 8, values.size(), std::move(bytes));
  }
  template <typename T>
  Metadata& numbers(const std::string& key, std::uint32_t type, const std::vector<T>& values) {
    return array(key, type, values.size(),
                 std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)));
  }
  Metadata& types(const std::vector<std::int32_t>& values) { return numbers("ggml.token_type", 5, values); }
  Metadata& scores(const std::vector<float>& values) { return numbers("ggml.scores", 6, values); }
  const GgufMetadata& get() const { return metadata_; }

 private:
  Metadata& array(const std::string& key, std::uint32_t type, std::uint64_t count, std::string bytes) {
    const std::string& kept = storage_.emplace_back(std::move(bytes));
    return set(key, GgufArray{type, count, std::as_bytes(std::span(kept))});
  }
  std::deque<std::string> storage_;
  GgufMetadata metadata_{"m.gguf"};
};

const std::vector<std::string> kPieces{"<pad>",    "<unk>",  "a",    "b",     "ab",   "\u2581",
                                       "\u2581ab", "<0x21>", "<go>", "<tag>", "<bos>"};
const std::vector<std::int32_t> kTypes{3, 2, 1, 1, 1, 1, 1, 6, 3, 4, 3};

void fill_merges(Metadata& m) {
  m.set("ggml.model", std::string_view("gemma4")).texts("ggml.tokens", kPieces).types(kTypes);
  m.texts("ggml.merges", {"a b", "\u2581 ab"}).set("ggml.unknown_token_id", std::uint64_t{1});
}
void fill_scores(Metadata& m) {
  m.set("ggml.model", std::string_view("llama")).texts("ggml.tokens", kPieces).types(kTypes);
  m.scores({0, 0, -9, -9, -1, -9, -2, 0, 0, 0, 0}).set("ggml.unknown_token_id", std::uint64_t{1});
}

using Ids = std::vector<TokenId>;

TEST(TokenizerGguf, ReadsMerges) {
  Metadata m;
  fill_merges(m);
  const auto tokenizer = Tokenizer::from_gguf(m.get());
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  EXPECT_EQ(tokenizer->vocab_size(), 11);
  EXPECT_EQ(tokenizer->encode("ab ab!"), (Ids{4, 6, 7}));
  EXPECT_EQ(tokenizer->encode("<go>a<tag>"), (Ids{1, 2, 1, 2, 1})) << "the letters g, o, t and < are unknown";
  EXPECT_EQ(tokenizer->encode("<go>a<tag>", {.special = true}), (Ids{8, 2, 9}));
  EXPECT_EQ(tokenizer->bos(), 10) << "found by its text";
  EXPECT_EQ(tokenizer->pad(), 0);
  EXPECT_FALSE(tokenizer->eos());
  EXPECT_EQ(tokenizer->encode("a", {.bos = true}), (Ids{10, 2}));
  m.set("ggml.bos_token_id", std::uint64_t{8});
  EXPECT_EQ(Tokenizer::from_gguf(m.get())->bos(), 8);
  m.set("ggml.add_space_prefix", true);
  EXPECT_EQ(Tokenizer::from_gguf(m.get())->encode("ab"), (Ids{6}));
}

TEST(TokenizerGguf, OlderFilesCallTheMergesLlama) {
  Metadata m;
  fill_merges(m);
  m.set("ggml.model", std::string_view("llama")).set("ggml.pre", std::string_view("gemma4"));
  const auto tokenizer = Tokenizer::from_gguf(m.get());
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  EXPECT_EQ(tokenizer->encode("ab ab"), (Ids{4, 6}));
}

TEST(TokenizerGguf, MergesOfNewlinesAndSplitsAtTheSpaceBehindTheFirstCharacter) {
  Metadata m;
  m.set("ggml.model", std::string_view("gemma4"));
  m.texts("ggml.tokens", {"\n", "\n\n", "\n\n\n", " ", " \n"}).types({1, 1, 1, 1, 1});
  m.texts("ggml.merges", {"\n\n \n", "\n \n", "  \n"});
  const auto tokenizer = Tokenizer::from_gguf(m.get());
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  EXPECT_EQ(tokenizer->encode("\n\n\n\n"), (Ids{2, 0}));
}

TEST(TokenizerGguf, ReadsScores) {
  Metadata m;
  fill_scores(m);
  auto tokenizer = Tokenizer::from_gguf(m.get());
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  EXPECT_EQ(tokenizer->encode("ab ab"), (Ids{6, 6})) << "SentencePiece puts a space first unless told otherwise";
  m.set("ggml.add_space_prefix", false);
  tokenizer = Tokenizer::from_gguf(m.get());
  EXPECT_EQ(tokenizer->encode("ab ab!"), (Ids{4, 6, 7}));
  EXPECT_EQ(tokenizer->encode("b<tag>a"), (Ids{3, 9, 2})) << "user-defined pieces are part of the model";
  EXPECT_EQ(tokenizer->encode("a<go>"), (Ids{2, 1})) << "control tokens never come from text";
  EXPECT_EQ(tokenizer->encode("a<go>", {.special = true}), (Ids{2, 8}));
}

TEST(TokenizerGguf, AFileWithoutATokenizerSaysSo) {
  const auto tokenizer = Tokenizer::from_gguf(GgufMetadata("m.gguf"));
  ASSERT_FALSE(tokenizer);
  EXPECT_EQ(tokenizer.error().code, ErrorCode::unsupported);
  EXPECT_NE(tokenizer.error().message.find("no tokenizer"), std::string::npos) << tokenizer.error().message;
  EXPECT_NE(tokenizer.error().message.find("m.gguf"), std::string::npos) << tokenizer.error().message;
}

struct Wrong {
  const char* name;
  std::function<void(Metadata&)> damage;
  const char* message;  ///< a part of it
};

class WrongGguf : public testing::TestWithParam<std::pair<bool, Wrong>> {};

TEST_P(WrongGguf, IsRefusedWithOneClearError) {
  const auto& [scores, wrong] = GetParam();
  Metadata m;
  if (scores)
    fill_scores(m);
  else
    fill_merges(m);
  wrong.damage(m);
  const auto tokenizer = Tokenizer::from_gguf(m.get());
  ASSERT_FALSE(tokenizer) << wrong.name;
  EXPECT_NE(tokenizer.error().message.find(wrong.message), std::string::npos) << tokenizer.error().message;
  EXPECT_NE(tokenizer.error().message.find("m.gguf"), std::string::npos) << tokenizer.error().message;
}

const std::vector<Wrong> kWrong{
    {"OtherModel", [](Metadata& m) { m.set("ggml.model", std::string_view("gpt2")); }, "\"gpt2\"; expected \"gemma4\""},
    {"ModelIsNumber", [](Metadata& m) { m.set("ggml.model", std::uint64_t{3}); }, "tokenizer.ggml.model"},
    {"TokensAreNumbers", [](Metadata& m) { m.numbers<std::int32_t>("ggml.tokens", 5, {1, 2, 3}); },
     "tokenizer.ggml.tokens"},
    {"TokensAreOneText", [](Metadata& m) { m.set("ggml.tokens", std::string_view("abc")); }, "tokenizer.ggml.tokens"},
    {"NoTokens",
     [](Metadata& m) {
       m.texts("ggml.tokens", {}).types({}).scores({}).set("ggml.unknown_token_id", std::uint64_t{0});
     },
     "below the vocabulary size 0"},
    {"ShortTypes", [](Metadata& m) { m.types({1, 1}); }, "token_type has 2 entries; expected 11"},
    {"LongTypes", [](Metadata& m) { m.types(std::vector<std::int32_t>(12, 1)); },
     "token_type has 12 entries; expected 11"},
    {"TypesAreTexts", [](Metadata& m) { m.texts("ggml.token_type", kPieces); }, "tokenizer.ggml.token_type"},
    {"TypeOutOfRange", [](Metadata& m) { m.types({3, 2, 1, 1, 1, 1, 1, 6, 3, 4, 7}); },
     "of token 10 is 7; expected 0 to 6"},
    {"TypeNegative", [](Metadata& m) { m.types({-1, 2, 1, 1, 1, 1, 1, 6, 3, 4, 3}); }, "of token 0 is -1"},
    {"ByteTypeOfNoByte", [](Metadata& m) { m.types({3, 2, 6, 1, 1, 1, 1, 6, 3, 4, 3}); },
     "token 2 \"a\" has the type byte"},
    {"TwoEqualPieces",
     [](Metadata& m) {
       auto p = kPieces;
       p[3] = "a";
       m.texts("ggml.tokens", p);
     },
     "tokens 2 and 3 are both \"a\""},
    {"PieceIsNoUtf8",
     [](Metadata& m) {
       auto p = kPieces;
       p[3] = "b\xFF";
       m.texts("ggml.tokens", p);
     },
     "not valid UTF-8 at byte 1"},
    {"NegativeByteName",
     [](Metadata& m) {
       auto p = kPieces;
       p[7] = "<0x-1>";
       m.texts("ggml.tokens", p);
     },
     "expected \"<0x00>\" to \"<0xFF>\""},
    {"BosOutOfRange", [](Metadata& m) { m.set("ggml.bos_token_id", std::uint64_t{11}); },
     "bos_token_id is 11; expected an id below"},
    {"EosHuge", [](Metadata& m) { m.set("ggml.eos_token_id", std::uint64_t{1} << 40); },
     "eos_token_id is 1099511627776"},
    {"PadNegative", [](Metadata& m) { m.set("ggml.padding_token_id", std::int64_t{-1}); }, "padding_token_id is -1"},
    {"UnknownOutOfRange", [](Metadata& m) { m.set("ggml.unknown_token_id", std::uint64_t{4294967295}); },
     "unknown_token_id is 4294967295"},
    {"BosIsText", [](Metadata& m) { m.set("ggml.bos_token_id", std::string_view("2")); }, "bos_token_id"},
    {"PrefixIsNumber", [](Metadata& m) { m.set("ggml.add_space_prefix", std::uint64_t{1}); }, "add_space_prefix"},
    {"LongSpecial",
     [](Metadata& m) {
       auto p = kPieces;
       p[9] = std::string(5000, 'x');
       m.texts("ggml.tokens", p);
     },
     "expected at most 4096"},
};
const std::vector<Wrong> kWrongMerges{
    {"AbsentSide", [](Metadata& m) { m.texts("ggml.merges", {"a b", "a x"}); },
     "merge 1 names \"x\", which is no token"},
    {"AbsentResult", [](Metadata& m) { m.texts("ggml.merges", {"b a"}); }, "merge 0 yields \"ba\", which is no token"},
    {"NoSpace", [](Metadata& m) { m.texts("ggml.merges", {"a b", "ab"}); }, "merge 1 is \"ab\"; expected two pieces"},
    {"Empty", [](Metadata& m) { m.texts("ggml.merges", {""}); }, "merge 0 is \"\""},
    {"NothingBehindTheSpace", [](Metadata& m) { m.texts("ggml.merges", {"a "}); }, "merge 0 is \"a \""},
    {"OnlyASpace", [](Metadata& m) { m.texts("ggml.merges", {" "}); }, "merge 0 is \" \""},
    {"AreNumbers", [](Metadata& m) { m.numbers<std::int32_t>("ggml.merges", 5, {1}); }, "tokenizer.ggml.merges"},
    {"Missing", [](Metadata& m) { m.set("ggml.merges", std::uint64_t{1}); }, "tokenizer.ggml.merges"},
};
const std::vector<Wrong> kWrongScores{
    {"Short", [](Metadata& m) { m.scores({0, 0}); }, "scores has 2 entries; expected 11"},
    {"AreTexts", [](Metadata& m) { m.texts("ggml.scores", kPieces); }, "tokenizer.ggml.scores"},
    {"NotANumber", [](Metadata& m) { m.scores({0, 0, -9, -9, std::nanf(""), -9, -2, 0, 0, 0, 0}); }, "score"},
    {"Missing", [](Metadata& m) { m.set("ggml.scores", std::string_view("")); }, "tokenizer.ggml.scores"},
};

std::vector<std::pair<bool, Wrong>> with(std::initializer_list<bool> kinds, const std::vector<Wrong>& list) {
  std::vector<std::pair<bool, Wrong>> out;
  for (const bool scores : kinds)
    for (const Wrong& wrong : list) out.emplace_back(scores, wrong);
  return out;
}
const auto kName = [](const auto& info) {
  return std::string(info.param.second.name) + (info.param.first ? "WithScores" : "WithMerges");
};
INSTANTIATE_TEST_SUITE_P(Any, WrongGguf, testing::ValuesIn(with({false, true}, kWrong)), kName);
INSTANTIATE_TEST_SUITE_P(Merges, WrongGguf, testing::ValuesIn(with({false}, kWrongMerges)), kName);
INSTANTIATE_TEST_SUITE_P(Scores, WrongGguf, testing::ValuesIn(with({true}, kWrongScores)), kName);

// ---- tokenizer.json

Json small_json() {
  return Json::parse(R"({
    "added_tokens": [{"id": 4, "content": "<bos>", "special": true, "normalized": false},
                     {"id": 6, "content": "<tag>", "special": false, "normalized": false}],
    "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
    "pre_tokenizer": {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": false},
    "model": {"type": "BPE", "dropout": null, "unk_token": "<unk>", "continuing_subword_prefix": null,
              "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true, "ignore_merges": false,
              "vocab": {"<unk>": 0, "a": 1, "b": 2, "ab": 3, "<bos>": 4, "▁": 5}, "merges": [["a", "b"]]}})");
}

Result<Tokenizer> load(const Json& json, const Json& config = Json()) {
  return Tokenizer::from_tokenizer_json(json.dump(), config, "\"d/tokenizer.json\"");
}

TEST(TokenizerJson, ReadsTheFamilysForm) {
  const auto tokenizer = load(small_json());
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  EXPECT_EQ(tokenizer->vocab_size(), 7);
  EXPECT_EQ(tokenizer->encode("ab b<bos>"), (Ids{3, 5, 2, 0, 2, 0}));
  EXPECT_EQ(tokenizer->encode("<tag>ab<bos>", {.special = true}), (Ids{6, 3, 4}));
  EXPECT_EQ(tokenizer->kind(4), TokenKind::control);
  EXPECT_EQ(tokenizer->kind(6), TokenKind::user_defined);
  EXPECT_EQ(tokenizer->bos(), 4);
  EXPECT_FALSE(tokenizer->eos());
}

TEST(TokenizerJson, OlderMergesAndMissingOptions) {
  Json json = small_json();
  json["model"]["merges"] = {"a b"};
  for (const char* key : {"type", "dropout", "continuing_subword_prefix", "end_of_word_suffix", "ignore_merges"})
    json["model"].erase(key);
  json.erase("pre_tokenizer");
  const auto tokenizer = load(json);
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  EXPECT_EQ(tokenizer->encode("ab"), (Ids{3}));
}

TEST(TokenizerJson, TheConfigurationNamesTheTokens) {
  const auto tokenizer =
      load(small_json(), Json::parse(R"({"bos_token": {"content": "<tag>"}, "eos_token": "b", "pad_token": null})"));
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  EXPECT_EQ(tokenizer->bos(), 6);
  EXPECT_EQ(tokenizer->eos(), 2);
  EXPECT_FALSE(tokenizer->pad());
  const auto wrong = load(small_json(), Json::parse(R"({"eos_token": "<end>"})"));
  ASSERT_FALSE(wrong);
  EXPECT_NE(wrong.error().message.find("\"<end>\", which is no token"), std::string::npos) << wrong.error().message;
}

TEST(TokenizerJson, GapsAreUnusedIds) {
  Json json = small_json();
  json["model"]["vocab"]["z"] = 1000;
  const auto tokenizer = load(json);
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  EXPECT_EQ(tokenizer->vocab_size(), 1001);
  EXPECT_EQ(tokenizer->kind(500), TokenKind::unused);
  EXPECT_EQ(tokenizer->piece(500), "");
  EXPECT_EQ(tokenizer->encode("z"), (Ids{1000}));
}

struct WrongJson {
  const char* pointer;  ///< where the damage goes (JSON pointer)
  const char* value;    ///< what stands there instead; empty: the member is removed
  const char* message;
  ErrorCode code = ErrorCode::bad_file;
};

TEST(TokenizerJson, EachWrongPartIsRefusedByName) {
  const std::vector<WrongJson> all{
      {"/model", "", "no object \"model\""},
      {"/model", "3", "no object \"model\""},
      {"/model/type", "\"Unigram\"", "model.type is \"Unigram\"", ErrorCode::unsupported},
      {"/model/dropout", "0.5", "model.dropout is the number 0.5", ErrorCode::unsupported},
      {"/model/ignore_merges", "true", "model.ignore_merges", ErrorCode::unsupported},
      {"/model/byte_fallback", "\"yes\"", "\"byte_fallback\" \"yes\"; expected true or false"},
      {"/model/end_of_word_suffix", "\"</w>\"", "model.end_of_word_suffix is \"</w>\"", ErrorCode::unsupported},
      {"/model/unk_token", "\"<none>\"", "\"<none>\" is not in model.vocab"},
      {"/model/unk_token", "7", "model.unk_token is the number 7"},
      {"/model/vocab", "", "no object model.vocab"},
      {"/model/vocab", "[]", "no object model.vocab"},
      {"/model/vocab/a", "\"x\"", "gives \"a\" the id \"x\""},
      {"/model/vocab/a", "-1", "gives \"a\" the id the number -1"},
      {"/model/vocab/a", "1.5", "gives \"a\" the id the number 1.5"},
      {"/model/vocab/a", "18446744073709551615", "gives \"a\" the id"},
      {"/model/vocab/a", "2000000000", "without large gaps"},
      {"/model/vocab/a", "2", "the same id 2"},
      {"/model/merges", "", "no array model.merges"},
      {"/model/merges", "{}", "no array model.merges"},
      {"/model/merges/0", "[\"a\"]", "model.merges[0] is an array"},
      {"/model/merges/0", "[\"a\", 2]", "model.merges[0] is an array"},
      {"/model/merges/0", "\"ab\"", "model.merges[0] is \"ab\""},
      {"/model/merges/0", "null", "model.merges[0] is null"},
      {"/model/merges/0", "[\"a\", \"\"]", "merge 0 has an empty side"},
      {"/model/merges/0", "[\"a\", \"c\"]", "names \"c\", which is no token"},
      {"/added_tokens", "{}", "added_tokens is an object"},
      {"/added_tokens/0", "5", "added_tokens[0] is the number 5"},
      {"/added_tokens/0/id", "1", "\"<bos>\" has the id 1 of \"a\""},
      {"/added_tokens/0/id", "9", "are both \"<bos>\""},
      {"/added_tokens/0/id", "99999999", "has the id the number 99999999"},
      {"/added_tokens/0/id", "\"4\"", "has the id \"4\""},
      {"/added_tokens/0/content", "4", "expected an object with \"id\" and \"content\""},
      {"/added_tokens/0/special", "1", "\"special\" the number 1; expected true or false"},
      {"/added_tokens/0/lstrip", "true", "sets \"lstrip\"", ErrorCode::unsupported},
      {"/normalizer", "{\"type\": \"NFKC\"}", "normalizer {\"type\":\"NFKC\"}", ErrorCode::unsupported},
      {"/normalizer", "{\"type\": \"Sequence\"}", "no array \"normalizers\""},
      {"/normalizer", "{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"Sequence\", \"normalizers\": []}]}",
       "Sequence in a Sequence", ErrorCode::unsupported},
      {"/normalizer/pattern", "{\"Regex\": \" \"}", "normalizer", ErrorCode::unsupported},
      {"/normalizer", "null", "pre_tokenizer", ErrorCode::unsupported},
      {"/pre_tokenizer", "{\"type\": \"ByteLevel\"}", "pre_tokenizer {\"type\":\"ByteLevel\"}", ErrorCode::unsupported},
  };
  for (const WrongJson& wrong : all) {
    Json json = small_json();
    const Json::json_pointer pointer(wrong.pointer);
    if (*wrong.value != '\0')
      json[pointer] = Json::parse(wrong.value);
    else
      json[pointer.parent_pointer()].erase(pointer.back());
    const auto tokenizer = load(json);
    ASSERT_FALSE(tokenizer) << wrong.pointer << " = " << wrong.value;
    EXPECT_EQ(tokenizer.error().code, wrong.code) << tokenizer.error().message;
    EXPECT_NE(tokenizer.error().message.find(wrong.message), std::string::npos)
        << wrong.pointer << " = " << wrong.value << ": " << tokenizer.error().message;
    EXPECT_NE(tokenizer.error().message.find("d/tokenizer.json"), std::string::npos) << tokenizer.error().message;
  }
  const auto cut = Tokenizer::from_tokenizer_json(small_json().dump().substr(0, 300), Json(), "\"d/tokenizer.json\"");
  ASSERT_FALSE(cut);
  EXPECT_NE(cut.error().message.find("d/tokenizer.json"), std::string::npos) << cut.error().message;
}

TEST(TokenizerJson, AMergeToAControlTokenNeverHappensInText) {
  Json json = small_json();
  json["model"]["vocab"]["<"] = 7;
  json["model"]["vocab"]["bos>"] = 8;
  json["model"]["vocab"]["<b"] = 9;
  json["model"]["merges"] = Json::parse(R"([["a", "b"], ["<", "bos>"], ["<", "b"]])");
  const auto tokenizer = load(json);
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  for (const TokenId id : tokenizer->encode("<bos>")) EXPECT_NE(id, 4);
}

}  // namespace
}  // namespace carat::text
