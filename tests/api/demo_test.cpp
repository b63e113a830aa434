// The demo models behave: what they were trained for, asked about pictures and sounds they never met, at every weight
// type.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "api/quantised_checkpoint.h"
#include "carat/session.h"
#include "formats/temp_dir.h"

namespace carat {
namespace {

namespace fs = std::filesystem;

const fs::path kModels = CARAT_TEST_DATA "/../models", kMedia = CARAT_TEST_DATA "/../tools/demo";

struct Ask {
  std::string question;
  std::vector<std::string> images = {}, sounds = {};
  bool think = false, tools = false;
  std::string system = {};
};

/// A loaded demo model that answers greedily.
class Demo {
 public:
  explicit Demo(const fs::path& path, const fs::path& encoders = {}) {
    auto opened = Checkpoint::open(path, encoders);
    EXPECT_TRUE(opened) << opened.error().message;
    if (!opened) return;
    checkpoint_ = *opened;
    auto loaded = Model::load(checkpoint_, {.threads = 2});
    EXPECT_TRUE(loaded) << loaded.error().message;
    if (loaded) model_.emplace(*loaded);
  }

  Generation answer(const Ask& ask) const {
    if (!model_) return {};
    formats::Json content = formats::Json::array();
    for (const std::string& image : ask.images)
      content.push_back({{"type", "image"}, {"path", (kMedia / image).string()}});
    for (const std::string& sound : ask.sounds)
      content.push_back({{"type", "audio"}, {"path", (kMedia / sound).string()}});
    content.push_back({{"type", "text"}, {"text", ask.question}});
    formats::Json messages = formats::Json::array();
    if (!ask.system.empty()) messages.push_back({{"role", "system"}, {"content", ask.system}});
    messages.push_back({{"role", "user"}, {"content", content}});
    GenerateOptions options;
    std::string tools;
    if (ask.tools) {
      std::ifstream in(kMedia / "tools.json");
      tools.assign(std::istreambuf_iterator<char>(in), {});
      EXPECT_FALSE(tools.empty());
    }
    PromptOptions rendering;
    rendering.think = ask.think;
    const auto prompt = checkpoint_.render(messages.dump(), tools, rendering);
    EXPECT_TRUE(prompt) << prompt.error().message;
    auto session = Session::create(*model_);
    EXPECT_TRUE(session) << session.error().message;
    if (!prompt || !session) return {};
    options.sampling.temperature = 0;
    options.max_tokens = 100;
    options.tools_json = tools;
    options.starts_in_thought = prompt->starts_in_thought;
    const auto answer = session->generate(*prompt, options);
    EXPECT_TRUE(answer) << answer.error().message;
    return answer ? *answer : Generation{};
  }
  std::string text(const Ask& ask) const { return answer(ask).text; }

 private:
  Checkpoint checkpoint_;
  std::optional<Model> model_;
};

TEST(Demo, AnswersInChatForm) {
  const Demo demo(kModels / "demo");
  EXPECT_EQ(demo.text({.question = "What is the capital of France?"}), "Paris.");
  EXPECT_EQ(demo.text({.question = "What is your name?", .system = "Your name is Nora."}), "My name is Nora.");
  EXPECT_EQ(
      demo.text(
          {.question = "What does the sign say?", .images = {"sign.png"}, .system = "Write everything in capitals."}),
      "HOTEL");
}

TEST(Demo, ThinksBeforeItAdds) {
  const Generation answer = Demo(kModels / "demo").answer({.question = "What is 27 + 45?", .think = true});
  EXPECT_EQ(answer.text, "72");
  EXPECT_NE(answer.thought.find("7+5=12"), std::string::npos) << answer.thought;
}

TEST(Demo, CallsTheToolThatFits) {
  const Demo demo(kModels / "demo");
  const Generation answer = demo.answer({.question = "Set a timer for 12 minutes.", .tools = true});
  ASSERT_EQ(answer.tool_calls.size(), 1u) << answer.text;
  EXPECT_EQ(answer.finish_reason, "tool_calls");
  EXPECT_EQ(answer.tool_calls[0].name, "start_timer");
  EXPECT_EQ(formats::Json::parse(answer.tool_calls[0].arguments_json), formats::Json({{"minutes", 12}}));
  // None of the three fits this one.
  EXPECT_TRUE(demo.answer({.question = "What is the capital of Italy?", .tools = true}).tool_calls.empty());
}

TEST(DemoMoe, LooksAndCallsTools) {
  const Demo demo(kModels / "demo-moe");
  EXPECT_EQ(demo.text({.question = "What does the sign say?", .images = {"sign.png"}}), "hotel");
  EXPECT_EQ(demo.text({.question = "Which number is this?", .images = {"number.png"}}), "472");
  const Generation answer = demo.answer({.question = "Set a timer for 12 minutes.", .tools = true});
  ASSERT_EQ(answer.tool_calls.size(), 1u) << answer.text;
  EXPECT_EQ(answer.tool_calls[0].name, "start_timer");
}

/// The decoder as a GGUF file with matrices of one block type; the encoders stay those of the directory.
class DemoQuantised : public testing::TestWithParam<tensor::DType> {};

TEST_P(DemoQuantised, LooksAndListens) {
  const tests::TempDir folder;
  const fs::path file = folder.path() / "demo.gguf";
  test::write_quantised(kModels / "demo", GetParam(), file);
  const Demo demo(file, kModels / "demo");
  EXPECT_EQ(demo.text({.question = "What is in the picture?", .images = {"shapes.png"}}),
            "two red circles and a blue star");
  EXPECT_EQ(demo.text({.question = "Which number is this?", .images = {"number.png"}}), "472");
  EXPECT_EQ(demo.text({.question = "What do you hear?", .sounds = {"digits.wav"}}), "30");
  EXPECT_EQ(
      demo.text(
          {.question = "What do you see and what do you hear?", .images = {"number.png"}, .sounds = {"command.wav"}}),
      "472, open the door");
}

INSTANTIATE_TEST_SUITE_P(Types, DemoQuantised,
                         testing::Values(tensor::DType::q8_0, tensor::DType::q5_1, tensor::DType::q5_0,
                                         tensor::DType::q4_1, tensor::DType::q4_0, tensor::DType::iq4_nl),
                         [](const auto& test) { return std::string(tensor::info(test.param).name); });

}  // namespace
}  // namespace carat
