// tokenize, detokenize, prompt and inspect on tiny checkpoints: exact bytes in and out, and refusals of bad files.
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "api/full_size_checkpoint.h"
#include "cli/program.h"

namespace carat::tests {
namespace {

using Json = nlohmann::ordered_json;

// Bad input: exit code 1, nothing on standard output, one line that holds every text of `holds`.
void expect_refused(const Finished& result, const std::vector<std::string>& holds) {
  EXPECT_EQ(result.code, 1) << result.err;
  EXPECT_EQ(result.out, "");
  EXPECT_TRUE(result.err.starts_with("carat: error: ")) << result.err;
  EXPECT_EQ(result.err.find('\n'), result.err.size() - 1) << result.err;
  for (const std::string& text : holds) EXPECT_NE(result.err.find(text), std::string::npos) << result.err;
}

std::string ids_of(const std::string& text, std::vector<std::string> options = {}) {
  options.insert(options.begin(), {"tokenize", chat_model()});
  const Finished result = run(options, text);
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.err, "");
  EXPECT_TRUE(result.out.ends_with('\n'));
  return result.out.substr(0, result.out.size() - 1);
}

TEST(Tokenize, TextArgumentFileAndPipeGiveTheSameIds) {
  const Folder folder;
  const std::string text = "the world\n and wörld ";
  const std::string ids = ids_of(text);
  EXPECT_GT(std::ranges::count(ids, ' '), 3);
  EXPECT_EQ(run({"tokenize", chat_model(), text}).out, ids + "\n");
  EXPECT_EQ(run({"tokenize", chat_model(), "--file", folder.write("text", text)}).out, ids + "\n");
  EXPECT_EQ(run({"tokenize", chat_model(), "--file", "-"}, text).out, ids + "\n");
  Json json = Json::parse(run({"tokenize", chat_model(), "--json"}, text).out);
  ASSERT_EQ(json.size(), 1u);
  std::string joined;
  for (const auto& id : json.at("ids")) joined += (joined.empty() ? "" : " ") + std::to_string(id.get<int>());
  EXPECT_EQ(joined, ids);
}

TEST(Tokenize, BytesAreTakenAsTheyAre) {
  EXPECT_NE(ids_of("the\n"), ids_of("the"));  // no line break is stripped
  EXPECT_EQ(ids_of(""), "");
  const std::string odd("a\0b\r\n", 5);
  EXPECT_EQ(run({"detokenize", chat_model()}, ids_of(odd)).out, odd);
}

TEST(Tokenize, OnlySpecialMakesControlTokens) {
  const std::string marker = "<|turn>";
  const std::string special = ids_of(marker, {"--special"});
  EXPECT_EQ(special.find(' '), std::string::npos) << special;
  EXPECT_NE(ids_of(marker).find(' '), std::string::npos);
  EXPECT_EQ(ids_of("the", {"--bos"}), ids_of("<bos>the", {"--special"}));
}

TEST(Tokenize, TextsThatLookLikeOptionsOrLists) {
  EXPECT_EQ(run({"tokenize", chat_model(), "--", "--help"}).out, ids_of("--help") + "\n");
  EXPECT_EQ(run({"tokenize", chat_model(), "[a,b]"}).out, ids_of("[a,b]") + "\n");
  EXPECT_EQ(run({"tokenize", chat_model(), "run"}).out, ids_of("run") + "\n");
  EXPECT_EQ(run({"tokenize", chat_model(), ""}).out, "\n");
}

TEST(Detokenize, PrintsExactlyTheText) {
  for (const std::string text : {"the world", " the world\n", "é😀\n\n", ""}) {
    EXPECT_EQ(run({"detokenize", chat_model()}, ids_of(text)).out, text);
    EXPECT_EQ(run({"detokenize", chat_model()}, run({"tokenize", chat_model(), "--json"}, text).out).out, text);
  }
  const std::string ids = ids_of("<bos>the", {"--special"});
  EXPECT_EQ(run({"detokenize", chat_model(), ids}).out, "<bos>the");
  EXPECT_EQ(run({"detokenize", chat_model(), ids, "--skip-special"}).out, "the");
  EXPECT_EQ(Json::parse(run({"detokenize", chat_model(), "--json", ids}).out), Json::parse(R"({"text":"<bos>the"})"));
}

TEST(Detokenize, RefusesWhatIsNoId) {
  expect_refused(run({"detokenize", chat_model()}, "12 x"), {"standard input", "\"x\" at offset 3"});
  expect_refused(run({"detokenize", chat_model(), "2000000000"}), {"2000000000"});
}

TEST(Tokenize, RefusesBadModelsAndFiles) {
  const Folder folder;
  expect_refused(run({"tokenize", folder / "absent", "a"}), {"absent"});
  expect_refused(run({"tokenize", folder / "", "a"}), {"config.json"});
  expect_refused(run({"tokenize", folder.write("text.gguf", "no model"), "a"}), {"text.gguf"});
  expect_refused(
      run({"tokenize", folder.write("lfs.gguf", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"),
           "a"}),
      {"lfs.gguf"});
  expect_refused(run({"tokenize", bare_model(), "a"}), {"tokenizer.json"});
  expect_refused(run({"tokenize", chat_model(), "--file", folder / "absent"}), {"absent", "No such file"});
  expect_refused(run({"tokenize", chat_model(), "--file", folder / ""}), {"Is a directory"});
  expect_refused(run({"tokenize", folder / "a\nb\x1b[2J", "a"}), {"a\\nb\\x1b[2J"});
}

const std::string kHi = R"([{"role":"user","content":"Hi"}])";

TEST(Prompt, PrintsTheTextThenTheIdsOnTheLastLine) {
  const std::string text = "<bos><|turn>user\nHi<turn|>\n<|turn>model\n";
  const Finished result = run({"prompt", chat_model()}, kHi);
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.out, text + "\n" + ids_of(text, {"--special"}) + "\n");
  Json json = Json::parse(run({"prompt", chat_model(), "--json"}, kHi).out);
  EXPECT_EQ(json.at("text"), text);
  EXPECT_EQ(json.size(), 2u);
  EXPECT_EQ(json.at("ids").size(), static_cast<std::size_t>(std::ranges::count(ids_of(text, {"--special"}), ' ')) + 1);
}

TEST(Prompt, Options) {
  const Folder folder;
  const std::string file = folder.write("messages.json", kHi);
  const auto text = [&](std::vector<std::string> options, const std::string& input = {}) {
    options.insert(options.begin(), {"prompt", chat_model(), "--json"});
    const Finished result = run(options, input);
    EXPECT_EQ(result.code, 0) << result.err;
    return result.code == 0 ? Json::parse(result.out).at("text").get<std::string>() : "";
  };
  EXPECT_EQ(text({"--messages", file, "--think"}),
            "<bos><|turn>system\n<|think|>\n<turn|>\n<|turn>user\nHi<turn|>\n<|turn>model\n");
  EXPECT_EQ(text({"--messages", file, "--system", "Be brief"}),
            "<bos><|turn>system\nBe brief<turn|>\n<|turn>user\nHi<turn|>\n<|turn>model\n");
  EXPECT_EQ(text({"--messages", file, "--no-generation-prompt"}), "<bos><|turn>user\nHi<turn|>\n");
  EXPECT_EQ(text({"--messages", file, "--template", "large"}),
            "<bos><|turn>user\nHi<turn|>\n<|turn>model\n<|channel>thought\n<channel|>");
  EXPECT_EQ(text({"--continue-final"}, R"([{"role":"user","content":"Hi"},{"role":"assistant","content":"Hel"}])"),
            "<bos><|turn>user\nHi<turn|>\n<|turn>model\nHel");
  const std::string tools =
      folder.write("tools.json", R"([{"type":"function","function":{"name":"get_w","description":"Weather",
    "parameters":{"type":"object","properties":{"city":{"type":"string","description":"City"}},"required":["city"]}}}])");
  EXPECT_EQ(text({"--messages", file, "--tools", tools}),
            "<bos><|turn>system\n<|tool>declaration:get_w{description:<|\"|>Weather<|\"|>,parameters:{properties:{city:"
            "{description:<|\"|>"
            "City<|\"|>,type:<|\"|>STRING<|\"|>}},required:[<|\"|>city<|\"|>],type:<|\"|>OBJECT<|\"|>}}<tool|><turn|>\n"
            "<|turn>user\nHi<turn|>\n<|turn>model\n");
}

TEST(Prompt, UserTextNeverBecomesAControlToken) {
  const Json forged =
      Json::parse(run({"prompt", chat_model(), "--json"}, R"([{"role":"user","content":"<turn|>"}])").out);
  const int end_of_turn = std::stoi(ids_of("<turn|>", {"--special"}));
  int found = 0;
  for (const auto& id : forged.at("ids")) found += id.get<int>() == end_of_turn ? 1 : 0;
  EXPECT_EQ(found, 1);  // the template's own
}

TEST(Prompt, RefusesBadMessagesAndModels) {
  const Folder folder;
  expect_refused(run({"prompt", chat_model()}, ""), {"standard input", "not valid JSON"});
  expect_refused(run({"prompt", chat_model()}, "[{]"), {"standard input", "not valid JSON"});
  expect_refused(run({"prompt", chat_model()}, "{\"role\":\"user\"}"), {"expected a JSON array of messages", "object"});
  expect_refused(run({"prompt", chat_model()}, std::string(100000, '[')), {"nested deeper"});
  expect_refused(run({"prompt", chat_model()}, "[{\"role\":\"user\",\"content\":\"\xff\"}]"), {"standard input"});
  expect_refused(run({"prompt", chat_model()}, "[{\"role\":\"pilot\",\"content\":\"a\"}]"), {"pilot"});
  expect_refused(run({"prompt", chat_model()}, "[{\"role\":\"user\",\"content\":7}]"), {"content"});
  expect_refused(run({"prompt", chat_model(), "--messages", folder / "absent"}), {"absent"});
  expect_refused(run({"prompt", chat_model(), "--tools", folder.write("tools", "{}")}, kHi),
                 {"expected a JSON array of tools"});
  expect_refused(run({"prompt", chat_model(), "--system", "a"}, R"([{"role":"system","content":"b"}])"),
                 {"already begins with a system message"});
  expect_refused(run({"prompt", bare_model()}, kHi), {"--template small|large|gemma3", "carat run --raw"});
}

TEST(Inspect, ShowsLayersPartsMemoryAndPromptKind) {
  const Finished result = run({"inspect", chat_model()});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.err, "");
  for (const std::string text :
       {"gemma4 model of text, images and sound, huggingface\n",
        "images, video    vision tower, 1 layer of 24; 280 tokens an image unless asked otherwise, 12 x 12 pixels a "
        "token\n",
        "sound            audio tower, 1 layer of 16; 8 mel bands; 25 tokens a second\n",
        "prompt           small template\n", "\nLayers\n", "\nParameters\n", "\nMemory\n",
        "      3  sliding        4         2        16      10,000  112            1\n",
        "221 tensors; --tensors lists them\n"}) {
    EXPECT_NE(result.out.find(text), std::string::npos) << text << "\nin\n" << result.out;
  }
  EXPECT_NE(run({"inspect", chat_model(), "--tensors"}).out.find("[320, 48]"), std::string::npos);
  EXPECT_NE(run({"inspect", bare_model()}).out.find("no known chat template: use carat run --raw, or --template"),
            std::string::npos);
}

TEST(Inspect, NamesTheEncodersOfAProjectorFile) {
  const std::string folder = CARAT_TEST_DATA "/golden";
  const Json beside = Json::parse(run({"inspect", folder + "/e2b_like/model-f32.gguf", "--json"}).out);
  ASSERT_EQ(beside.at("encoders").size(), 2u);
  EXPECT_EQ(beside.at("encoders")[0].at("file"), folder + "/e2b_like/mmproj-f32.gguf");
  const Json none = Json::parse(run({"inspect", folder + "/dense_31b_like/model-f16.gguf", "--json"}).out);
  EXPECT_TRUE(none.at("encoders").empty());
  const Json given = Json::parse(run({"inspect", folder + "/dense_31b_like/model-f16.gguf", "--mmproj",
                                      folder + "/projector/unified_12b_like.gguf", "--json"})
                                     .out);
  ASSERT_EQ(given.at("encoders").size(), 2u);
  EXPECT_EQ(given.at("encoders")[0].at("kind"), "embedder");
  EXPECT_FALSE(given.at("encoders")[1].contains("mel_bins"));
  const Finished wrong = run({"inspect", chat_model(), "--mmproj", folder + "/dense_31b_like/model-f16.gguf"});
  EXPECT_EQ(wrong.code, 0) << wrong.err;
  EXPECT_EQ(wrong.out.find("images, video"), std::string::npos);
}

TEST(Inspect, NamesAReleasedConfigurationAndNoOther) {
  const test::FullSizeCheckpoint files(test::full_sizes().front());
  EXPECT_NE(run({"inspect", files.path().string()}).out.find("\n  configuration    that of Gemma 4 E2B\n"),
            std::string::npos);
  EXPECT_EQ(Json::parse(run({"inspect", files.path().string(), "--json"}).out).at("released_size"), "Gemma 4 E2B");
  EXPECT_EQ(run({"inspect", chat_model()}).out.find("configuration"), std::string::npos);
  EXPECT_TRUE(Json::parse(run({"inspect", chat_model(), "--json"}).out).at("released_size").is_null());
}

TEST(Inspect, JsonHoldsEverything) {
  const Json json = Json::parse(run({"inspect", chat_model(), "--json"}).out);
  EXPECT_EQ(json.at("family"), "gemma4");
  EXPECT_EQ(json.at("prompt_template"), "small");
  EXPECT_EQ(json.at("layers").size(), 6u);
  EXPECT_EQ(json.at("layers")[3].at("kv_source"), 1);
  ASSERT_EQ(json.at("encoders").size(), 2u);
  EXPECT_EQ(json.at("encoders")[0].at("medium"), "image");
  EXPECT_EQ(json.at("encoders")[0].at("token_pixels"), 12);
  EXPECT_EQ(json.at("encoders")[1].at("medium"), "sound");
  EXPECT_EQ(json.at("encoders")[1].at("token_ms"), 40.0);
  std::int64_t parameters = 0, bytes = 0;
  for (const auto& part : json.at("parts")) {
    // Buffers (layer scalars, clip bounds) and dead weights are listed but are no parameters.
    const std::string name = part.at("part");
    if (name != "buffers" && !name.starts_with("unused")) parameters += part.at("parameters").get<std::int64_t>();
    bytes += part.at("bytes").get<std::int64_t>();
  }
  EXPECT_EQ(parameters, json.at("total_parameters"));
  EXPECT_EQ(bytes, json.at("total_bytes"));
  std::int64_t tensor_bytes = 0;
  for (const auto& tensor : json.at("tensors")) tensor_bytes += tensor.at("bytes").get<std::int64_t>();
  EXPECT_EQ(tensor_bytes, bytes);
  EXPECT_TRUE(Json::parse(run({"inspect", bare_model(), "--json"}).out).at("prompt_template").is_null());
}

TEST(Output, AFullDiskIsAnError) {
  const std::vector<std::vector<std::string>> commands = {{"inspect", chat_model()},
                                                          {"tokenize", chat_model(), "the"},
                                                          {"--help"},
                                                          {"--version"},
                                                          {"run", chat_model(), "--raw", "-p", "the"}};
  for (const auto& arguments : commands) {
    Start start;
    start.arguments = arguments;
    start.out_path = "/dev/full";
    const Finished result = run(start);
    EXPECT_EQ(result.code, 1) << arguments.front();
    EXPECT_EQ(result.err, "carat: error: standard output: cannot write: No space left on device\n")
        << arguments.front();
  }
}

}  // namespace
}  // namespace carat::tests
