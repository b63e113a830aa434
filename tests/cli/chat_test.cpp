// carat chat, scripted through a pipe and typed at a terminal.
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/program.h"

namespace carat::tests {
namespace {

using Json = nlohmann::ordered_json;

// Answers of five times "e", so that they are known.
std::vector<std::string> chat_arguments() {
  const std::string e = run({"tokenize", chat_model(), "e"}).out;
  return {"chat", chat_model(), "-n", "5", "--logit-bias", e.substr(0, e.size() - 1) + "=1000"};
}

TEST(Chat, AnswersEveryLineOfAPipe) {
  const Folder folder;
  const std::string saved = folder / "saved.json";
  const Finished result =
      run(chat_arguments(), "the\n/system Be brief\nworld \\\nand\n\"\"\"\n/on\n\n two\"\"\"\n/save " + saved + "\n");
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.out, "eeeee\neeeee\neeeee\n");
  EXPECT_EQ(
      Json::parse(read_whole(saved)),
      Json::parse(
          R"([{"role":"system","content":"Be brief"},{"role":"user","content":"the"},{"role":"assistant","content":"eeeee"},
              {"role":"user","content":"world \nand"},{"role":"assistant","content":"eeeee"},
              {"role":"user","content":"/on\n\n two"},{"role":"assistant","content":"eeeee"}])"));
  // What was saved is a conversation for the other commands, and for another chat.
  EXPECT_EQ(run({"run", chat_model(), "--messages", saved, "-n", "2"}).code, 0);
  std::vector<std::string> again = chat_arguments();
  again.insert(again.end(), {"--messages", saved});
  const Finished resumed = run(again, "the\n/save " + saved + "\n/save! " + saved + "\n/quit\nnever read\n");
  EXPECT_EQ(resumed.out, "eeeee\n");
  EXPECT_NE(resumed.err.find("exists already; /save! FILE overwrites it"), std::string::npos) << resumed.err;
  EXPECT_EQ(Json::parse(read_whole(saved)).size(), 9u);
}

TEST(Chat, CommandsAreCheckedAndResetForgets) {
  const Folder folder;
  const std::string saved = folder / "saved.json";
  const Finished result =
      run(chat_arguments(), "the\n/reset\n/dance\n/think maybe\n/think\n/think off\n/save\n /a\n/save " + saved + "\n");
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_NE(result.err.find("carat: error: /dance: no such command"), std::string::npos) << result.err;
  EXPECT_NE(result.err.find("carat: error: /think: \"maybe\" is neither on nor off"), std::string::npos) << result.err;
  EXPECT_NE(result.err.find("The model thinks before it answers."), std::string::npos) << result.err;
  EXPECT_NE(result.err.find("/save: give a file name"), std::string::npos) << result.err;
  EXPECT_EQ(Json::parse(read_whole(saved)),
            Json::parse(R"([{"role":"user","content":" /a"},{"role":"assistant","content":"eeeee"}])"));
}

TEST(Chat, ThinkIsRefusedWhereThePromptFormatHasNone) {
  std::vector<std::string> arguments = chat_arguments();
  arguments.insert(arguments.end(), {"--template", "gemma3"});
  const Finished result = run(arguments, "/think on\nthe\n");
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.out, "eeeee\n");
  EXPECT_NE(result.err.find("the Gemma 3 prompt format has no thinking mode"), std::string::npos) << result.err;
  EXPECT_EQ(result.err.find("The model thinks"), std::string::npos) << result.err;
}

TEST(Chat, AScriptEndsAtTheFirstFailure) {
  std::vector<std::string> arguments = chat_arguments();
  arguments.insert(arguments.end(), {"--ctx", "40"});
  const Finished result = run(arguments, "the\n" + std::string(300, 'e') + "\nthe\n");
  EXPECT_EQ(result.code, 1);
  EXPECT_EQ(result.out, "eeeee\n");
  EXPECT_TRUE(result.err.starts_with("carat: error: ")) << result.err;
  EXPECT_EQ(run(chat_arguments(), "a\xff\n").code, 1);
}

TEST(Chat, AtATerminal) {
  Start start;
  start.arguments = chat_arguments();
  const std::string interrupt = "\x03", end = "\x04";
  const Finished result = run_in_terminal(start, {{"> ", "the\r"},
                                                  {"5 tokens", ""},
                                                  {"> ", "dropped" + interrupt},
                                                  {"> ", "\x1b[200~first\nsecond\x1b[201~\r"},
                                                  {" reused", ""},
                                                  {"> ", "/help\r"},
                                                  {"/save FILE", ""},
                                                  {"> ", end}});
  EXPECT_FALSE(result.hung) << result.out;
  EXPECT_EQ(result.code, 0) << result.out;
  // Two messages were answered: the dropped line was none, the paste was one.
  std::size_t answers = 0;
  for (auto at = result.out.find("eeeee\r\n"); at != std::string::npos; at = result.out.find("eeeee\r\n", at + 1))
    ++answers;
  EXPECT_EQ(answers, 2u) << result.out;
}

TEST(Chat, WithoutAPromptToTypeATerminalIsTold) {
  Start start;
  start.arguments = {"run", chat_model()};
  const Finished result = run_in_terminal(start);
  EXPECT_EQ(result.code, 2);
  EXPECT_NE(result.out.find("nothing to answer: give -p PROMPT"), std::string::npos) << result.out;
}

}  // namespace
}  // namespace carat::tests
