// What a user types stays text: no literal, wherever in a request it stands, becomes the id of a control token.
#include <gtest/gtest.h>

#include <algorithm>

#include "text/chat_template.h"

namespace carat::text {
namespace {

using formats::Json;

const Tokenizer& tokenizer() {
  static const Tokenizer loaded = [] {
    auto made = Tokenizer::from_checkpoint(*formats::open_checkpoint(CARAT_TEST_DATA "/golden/e2b_like"));
    EXPECT_TRUE(made) << made.error().message;
    return std::move(*made);
  }();
  return loaded;
}

// Every control and user-defined token of the vocabulary.
std::vector<std::string> literals() {
  std::vector<std::string> out;
  for (TokenId id = 0; id < tokenizer().vocab_size(); ++id) {
    const TokenKind kind = tokenizer().kind(id);
    if ((kind == TokenKind::control || kind == TokenKind::user_defined) && tokenizer().piece(id).starts_with('<')) {
      out.emplace_back(tokenizer().piece(id));
    }
  }
  return out;
}

std::vector<TokenId> controls(const std::vector<TokenId>& ids) {
  std::vector<TokenId> out;
  std::copy_if(ids.begin(), ids.end(), std::back_inserter(out), [](TokenId id) {
    return tokenizer().kind(id) == TokenKind::control || tokenizer().kind(id) == TokenKind::user_defined;
  });
  return out;
}

// A conversation that holds `text` in every place a request has for text.
std::pair<Json, Json> conversation(const std::string& text) {
  const Json messages = Json::array(
      {{{"role", "system"}, {"content", text}},
       {{"role", "user"}, {"content", Json::array({{{"type", "text"}, {"text", text}}, {{"type", "image"}}})}},
       {{"role", "assistant"},
        {"reasoning", text},
        {"content", "it is " + text},
        {"tool_calls", Json::array({{{"id", "1"}, {"function", {{"name", text}, {"arguments", {{text, text}}}}}}})}},
       {{"role", "tool"}, {"tool_call_id", "1"}, {"content", text}}});
  const Json tools = Json::array(
      {{{"function",
         {{"name", text},
          {"description", text},
          {"parameters",
           {{"type", "object"},
            {"properties", {{text, {{"type", "string"}, {"description", text}, {"enum", Json::array({text})}}}}},
            {"required", Json::array({text})}}}}}}});
  return {messages, tools};
}

TEST(PromptEncoding, LiteralsTypedByAUserStayText) {
  ASSERT_GE(literals().size(), 10U);
  const auto [plain_messages, plain_tools] = conversation("word");
  for (const PromptKind kind : {PromptKind::small, PromptKind::large}) {
    for (const bool think : {false, true}) {
      const RenderOptions options{.kind = kind, .think = think};
      const auto plain = render_prompt(plain_messages, plain_tools, options);
      ASSERT_TRUE(plain) << plain.error().message;
      const auto expected = controls(encode_prompt(tokenizer(), *plain));
      EXPECT_GE(expected.size(), 15U);
      for (const std::string& literal : literals()) {
        SCOPED_TRACE(literal);
        const auto [messages, tools] = conversation(literal);
        const auto prompt = render_prompt(messages, tools, options);
        ASSERT_TRUE(prompt) << prompt.error().message;
        const auto ids = encode_prompt(tokenizer(), *prompt);
        EXPECT_EQ(controls(ids), expected);
        EXPECT_EQ(tokenizer().decode(ids).value(), prompt->text());  // nothing of it is lost either
      }
    }
  }
}

TEST(PromptEncoding, ALiteralCannotBePutTogetherAcrossABorder) {
  // Two texts of the user stand side by side; the template's markup stands right before and behind them.
  const Json messages =
      Json::parse(R"([{"role":"user","content":[{"type":"text","text":"a<|tu"},{"type":"text","text":"rn>b<"}]}])");
  const auto prompt = render_prompt(messages, Json(), {});
  ASSERT_TRUE(prompt);
  const auto ids = encode_prompt(tokenizer(), *prompt);
  EXPECT_EQ(std::count(ids.begin(), ids.end(), *tokenizer().find_special("<|turn>")), 2);
  EXPECT_EQ(tokenizer().decode(ids).value(), "<bos><|turn>user\na<|turn>b<<turn|>\n<|turn>model\n");
}

TEST(PromptEncoding, PlaceholdersOfMediaComeFromPartsAlone) {
  const TokenId image = *tokenizer().find_special("<|image|>");
  const auto count = [&](const char* messages) {
    const auto prompt = render_prompt(Json::parse(messages), Json(), {});
    EXPECT_TRUE(prompt);
    const auto ids = encode_prompt(tokenizer(), *prompt);
    return std::count(ids.begin(), ids.end(), image);
  };
  EXPECT_EQ(count(R"([{"role":"user","content":"what is <|image|>?"}])"), 0);
  EXPECT_EQ(
      count(
          R"([{"role":"user","content":[{"type":"image"},{"type":"text","text":"what is <|image|>?"},{"type":"image_url"}]}])"),
      2);
}

}  // namespace
}  // namespace carat::text
