// Pictures, sound and video on the command line and in a chat.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/program.h"

namespace carat::tests {
namespace {

using Json = nlohmann::ordered_json;

std::string media(const std::string& name) { return std::string(CARAT_TEST_DATA "/media/data/") + name; }

Json answer(std::vector<std::string> options) {
  options.insert(options.begin(), {"run", chat_model(), "--image-budget", "70", "-n", "4", "--temp", "0", "--json"});
  const Finished result = run(options);
  EXPECT_EQ(result.code, 0) << result.err;
  return result.code == 0 ? Json::parse(result.out) : Json();
}

TEST(RunMedia, StandsBeforeThePromptInTheOrderGiven) {
  const std::string image = media("rgb.png"), sound = media("s16.wav");
  const Json first = answer({"--image", image, "--audio", sound, "-p", "the"});
  const Json second = answer({"--audio", sound, "--image", image, "-p", "the"});
  const Folder folder;
  const auto part = [](const char* type, const std::string& path) { return Json{{"type", type}, {"path", path}}; };
  const Json text = {{"type", "text"}, {"text", "the"}};
  for (const bool image_first : {true, false}) {
    Json parts = Json::array({part("image", image), part("audio", sound), text});
    if (!image_first) std::swap(parts[0], parts[1]);
    const std::string file =
        folder.write("messages.json", Json::array({{{"role", "user"}, {"content", parts}}}).dump());
    const Json same = answer({"--messages", file});
    EXPECT_EQ(same.at("ids"), (image_first ? first : second).at("ids"));
    EXPECT_EQ(same.at("usage"), (image_first ? first : second).at("usage"));
  }
  EXPECT_GT(first.at("usage").at("prompt_tokens").get<int>(), 63 + 10);
}

TEST(RunMedia, SaysWhatEachBecame) {
  const Finished result = run({"run", chat_model(), "--image", media("exif5.png"), "--audio", media("s16.wav"),
                               "--image-budget", "70", "-p", "the", "-n", "1"});
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_NE(result.err.find("carat: image.0: 84x108 pixels, 63 tokens (budget 70) (" + media("exif5.png") + ")\n"),
            std::string::npos)
      << result.err;
  EXPECT_NE(result.err.find("carat: audio.0: 0.40 s of sound, 10 tokens"), std::string::npos) << result.err;
  const Finished video =
      run({"run", chat_model(), "--video", media("clip.mp4"), "--video-frames", "2", "-p", "the", "-n", "1"});
  ASSERT_EQ(video.code, 0) << video.err;
  EXPECT_NE(video.err.find("carat: video.0: 2 frames of 108x84 pixels, 63 tokens (budget 70)"), std::string::npos)
      << video.err;
}

TEST(RunMedia, RefusesWhatItCannotRead) {
  const std::pair<std::vector<std::string>, const char*> cases[] = {
      {{"--image", media("none.png")}, "no such file"},
      {{"--image", media("s16.wav")}, "expected PNG, JPEG, WebP, GIF or BMP"},
      {{"--audio", media("rgb.png")}, "the file holds no sound"},
      {{"--image", media("rgb.png"), "--max-pixels", "900"}, "--max-pixels raises that"},
      {{"--image", media("rgb.png"), "--max-media-bytes", "100"}, "--max-media-bytes raises it"},
      {{"--audio", media("s16.wav"), "--max-seconds", "0.1"}, "--max-seconds raises that"},
      {{"--image", media("rgb.png"), "--mmproj", media("rgb.png")}, "rgb.png"},
  };
  for (const auto& [options, message] : cases) {
    std::vector<std::string> all = {"run", chat_model(), "-p", "the", "-n", "1"};
    all.insert(all.end(), options.begin(), options.end());
    const Finished result = run(all);
    EXPECT_EQ(result.code, 1) << message;
    EXPECT_EQ(result.out, "");
    EXPECT_NE(result.err.find(message), std::string::npos) << result.err;
    EXPECT_EQ(std::ranges::count(result.err, '\n'), 1) << result.err;
  }
}

TEST(PromptMedia, ShowsPlaceholdersAsTextAndSoftTokensAsIds) {
  const Folder folder;
  std::filesystem::copy_file(media("rgb.png"), folder / "here.png");
  const std::string file = folder.write(
      "messages.json",
      R"([{"role":"user","content":[{"type":"image_url","image_url":{"url":"here.png"},"budget":70},{"type":"text","text":"the"}]}])");
  const Finished result = run({"prompt", chat_model(), "--messages", file, "--json"});
  ASSERT_EQ(result.code, 0) << result.err;
  const Json json = Json::parse(result.out);
  EXPECT_NE(json.at("text").get<std::string>().find("<|image|>the"), std::string::npos);
  EXPECT_GT(json.at("ids").size(), 63U);
}

TEST(ChatMedia, WaitsForTheNextMessageAndIsSaved) {
  const Folder folder;
  std::filesystem::copy_file(media("s16.wav"), folder / "a sound.wav");
  const std::string saved = folder / "saved.json", e = run({"tokenize", chat_model(), "e"}).out;
  const std::vector<std::string> chat = {
      "chat", chat_model(), "-n", "2", "--image-budget", "70", "--logit-bias", e.substr(0, e.size() - 1) + "=1000"};
  std::string dropped = folder / "a sound.wav";
  dropped.insert(dropped.find(' '), "\\");
  const Finished result =
      run(chat, "/image " + media("rgb.png") + "\nthe\n" + dropped + "\n/audio\nworld\n/image\n/image " +
                    media("none.png") + "\nand\n/save " + saved + "\n");
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.out, "ee\nee\nee\n");
  EXPECT_NE(result.err.find("63 tokens (budget 70)"), std::string::npos) << result.err;
  EXPECT_NE(result.err.find("audio: " + (folder / "a sound.wav")), std::string::npos) << result.err;
  EXPECT_NE(result.err.find("Nothing is waiting for the next message."), std::string::npos) << result.err;
  EXPECT_NE(result.err.find("carat: error: " + media("none.png") + ": no such file"), std::string::npos) << result.err;
  const Json messages = Json::parse(read_whole(saved));
  ASSERT_EQ(messages.size(), 6U);
  EXPECT_EQ(messages[0].at("content")[0].at("path"), media("rgb.png"));
  EXPECT_EQ(messages[2].at("content")[0].at("type"), "audio");
  EXPECT_EQ(messages[4].at("content"), "and");
  // What was saved is a conversation with its media.
  EXPECT_EQ(run({"run", chat_model(), "--messages", saved, "--image-budget", "70", "-n", "1"}).code, 0);
}

}  // namespace
}  // namespace carat::tests
