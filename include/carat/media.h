// Pictures, sound and video in a prompt: how they are taken, and what became of them.
//
//   carat::PromptOptions options;
//   options.media.image_budget = 70;  // coarser than the default of 280 tokens, and quicker
//   auto prompt = checkpoint->render(R"([{"role":"user","content":[
//       {"type":"image_url","image_url":{"url":"receipt.png"}},
//       {"type":"text","text":"What does it add up to?"}]}])", "", options);
//   if (!prompt) {
//     std::cerr << prompt.error().message << '\n';
//     return 1;
//   }
//   for (const auto& medium : prompt->media) std::cout << medium.name << ": " << medium.tokens << " tokens\n";
//   auto answer = session->generate(*prompt, {});
//   if (answer) std::cout << answer->text << '\n';
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "carat/progress.h"

namespace carat {

/// How media become soft tokens, and the limits of what is read. A content part's own "budget" beats image_budget and
/// frame_budget.
struct MediaOptions {
  /// Most soft tokens of an image: 70, 140, 280, 560, 1120; 0 = by its resolution. Empty: what the checkpoint's
  /// processor_config.json says, 280 where it says nothing.
  std::optional<std::int64_t> image_budget;
  std::int64_t frame_budget = 70;   ///< the same for each frame of a video
  bool white_background = false;    ///< compose transparent pictures over white instead of dropping their alpha
  std::int64_t video_frames = 32;   ///< frames of a video, evenly spread; a shorter clip gives all it has
  std::optional<double> video_fps;  ///< instead, so many frames a second
  bool video_sound = false;         ///< let the model hear a video's sound, between the frames it belongs to
  bool split_sound = false;  ///< cut sound longer than the model hears (30 s) at pauses; otherwise it is an error
  std::int64_t max_pixels = 100'000'000;             ///< of a picture or frame
  std::int64_t max_bytes = std::int64_t{512} << 20;  ///< of one file or data URL
  double max_seconds = 3600;                         ///< of a sound or video
  std::int64_t max_frames = 3600;                    ///< chosen from one video
  std::filesystem::path folder;                      ///< what relative paths start from; empty = the working folder
  /// Told while a sound or video is read, in milliseconds of it; a total of 0 is one the file does not tell.
  Progress progress;
};

/// One image, frame or stretch of sound in a prompt.
struct MediumSummary {
  std::string kind;                    ///< "image", "frame" or "sound"
  std::string name;                    ///< as trace files name it: "image.0", "video.0.frame.3", "audio.1"
  std::string source;                  ///< the file, or "data" when it came inside the message
  std::int64_t tokens = 0;             ///< soft tokens, the markers around them not counted
  std::int64_t begin = 0;              ///< index of the first among the prompt's ids
  std::int64_t width = 0, height = 0;  ///< pixels the model sees, after resizing
  std::int64_t budget = 0;             ///< chosen or asked for
  double seconds = 0;                  ///< length of a sound; time of a frame
};

}  // namespace carat
