#include "cli/media_options.h"

#include <filesystem>
#include <limits>
#include <system_error>

#include "cli/number_text.h"
#include "cli/option_values.h"
#include "cli/terminal.h"

namespace carat::cli {

Json media_part(const std::string& kind, const std::string& path) { return {{"type", kind}, {"path", path}}; }

void add_media_files(CLI::App& app, MediaArguments& arguments, const std::string& group) {
  const auto add = [&](const char* name, const char* kind, const char* help) {
    app.add_option_function<std::string>(
           name, [&arguments, kind](const std::string& path) { arguments.parts.push_back(media_part(kind, path)); },
           help)
        ->type_name("FILE")
        ->allow_extra_args(false)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast)
        ->trigger_on_parse()  // each as it is met: their order is that of the prompt
        ->group(group);
  };
  add("--image", "image", "A picture to show before the prompt (PNG, JPEG, WebP, GIF, BMP); may be repeated");
  add("--audio", "audio", "A sound to let it hear (WAV, MP3, FLAC, OGG, M4A, …); may be repeated");
  add("--video", "video", "A video to show; may be repeated. Media stand in the order given");
}

CLI::Option* add_projector(CLI::App& app, std::string& projector) {
  return app
      .add_option("--mmproj", projector,
                  "Projector file with a GGUF model's media encoders (default: the one *mmproj*.gguf beside it)")
      ->type_name("FILE");
}

void add_media_options(CLI::App& app, MediaArguments& arguments) {
  MediaOptions& options = arguments.options;
  constexpr const char* kGroup = "Media";
  add_projector(app, arguments.projector)->group(kGroup);
  app.add_option_function<std::string>(
         "--image-budget",
         [&options](const std::string& text) {
           if (text == "auto") {
             options.image_budget = 0;
             return;
           }
           for (const char* budget : {"70", "140", "280", "560", "1120"}) {
             if (text != budget) continue;
             options.image_budget = parse_integer(text, "--image-budget", 70, 1120);
             return;
           }
           throw CLI::ValidationError("--image-budget", "\"" + text + "\" is none of 70, 140, 280, 560, 1120, auto");
         },
         "Most tokens of a picture: 70, 140, 280, 560, 1120, or auto for the fewest that keep its resolution (default: "
         "the model's own, 280 as released)")
      ->type_name("N")
      ->group(kGroup);
  app.add_option_function<std::string>(
         "--alpha",
         [&options](const std::string& text) {
           if (text != "drop" && text != "white") {
             throw CLI::ValidationError("--alpha", "\"" + text + "\" is neither drop nor white");
           }
           options.white_background = text == "white";
         },
         "Transparency of pictures: drop (default), or white to put them on white")
      ->type_name("HOW")
      ->group(kGroup);
  auto* frames = add_integer(app, "--video-frames", options.video_frames, 1, 100000,
                             "Frames of a video, evenly spread (default: 32; shorter ones give all they have)")
                     ->group(kGroup);
  add_number(app, "--video-fps", options.video_fps, 0.001, 1000, "Instead, so many frames a second")
      ->excludes(frames)
      ->group(kGroup);
  app.add_flag("--video-sound", options.video_sound, "Let the model hear a video's sound between its frames")
      ->group(kGroup);
  app.add_flag("--audio-split", options.split_sound,
               "Cut sound longer than the model hears at once (30 s) at pauses, instead of refusing it")
      ->group(kGroup);
  constexpr std::int64_t kLarge = std::numeric_limits<std::int64_t>::max() / 16;
  add_integer(app, "--max-pixels", options.max_pixels, 1, kLarge, "Refuse pictures of more pixels (default: 100000000)")
      ->group(kGroup);
  add_integer(app, "--max-media-bytes", options.max_bytes, 1, kLarge, "Refuse larger files (default: 536870912)")
      ->group(kGroup);
  add_number(app, "--max-seconds", options.max_seconds, 0, kAnyNumber,
             "Refuse longer sounds and videos (default: 3600)")
      ->group(kGroup);
  add_integer(app, "--max-frames", options.max_frames, 1, 1000000, "Refuse to take more frames (default: 3600)")
      ->group(kGroup);
}

std::vector<std::string> media_report(const std::vector<MediumSummary>& media) {
  std::vector<std::string> out;
  for (std::size_t i = 0; i < media.size(); ++i) {
    const MediumSummary& first = media[i];
    std::string line = first.name + ": ";
    if (first.kind == "sound") {
      line += duration_text(first.seconds) + " of sound, " + grouped(first.tokens) + " tokens";
    } else {
      const std::string size = std::to_string(first.width) + "x" + std::to_string(first.height) + " pixels, " +
                               grouped(first.tokens) + " tokens (budget " + grouped(first.budget) + ")";
      if (first.kind == "image") {
        line += size;
      } else {
        // Frames of one video on one line.
        const std::string video = first.name.substr(0, first.name.find(".frame."));
        std::size_t frames = 0;
        for (; i + 1 < media.size(); ++i) {
          const MediumSummary& next = media[i + 1];
          if (next.kind == "frame" && !next.name.starts_with(video + ".")) break;
          if (next.kind == "image" || (next.kind == "sound" && next.source != first.source)) break;
          frames += next.kind == "frame" ? 1 : 0;
        }
        line = video + ": " + grouped(static_cast<std::int64_t>(frames + 1)) + " frames of " + size;
      }
    }
    out.push_back(line + " (" + displayable(first.source) + ")");
  }
  return out;
}

std::string unquoted_path(const std::string& text) {
  if (text.size() >= 2 && (text.front() == '\'' || text.front() == '"') && text.back() == text.front()) {
    return text.substr(1, text.size() - 2);
  }
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 1 < text.size()) ++i;
    out += text[i];
  }
  return out;
}

std::optional<DroppedFile> dropped_file(const std::string& line) {
  const auto begin = line.find_first_not_of(" \t"), end = line.find_last_not_of(" \t\r\n");
  if (begin == std::string::npos) return std::nullopt;
  std::string path = unquoted_path(line.substr(begin, end - begin + 1));
  if (path.starts_with("file://")) path = path.substr(7);
  // Only whole paths: a line that is one word may well be the name of some file.
  std::error_code code;
  if (!path.starts_with('/') || !std::filesystem::is_regular_file(path, code)) return std::nullopt;
  std::string suffix = std::filesystem::path(path).extension();
  for (char& c : suffix) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  struct Known {
    const char *suffix, *kind;
  };
  constexpr Known known[] = {{".png", "image"},  {".jpg", "image"}, {".jpeg", "image"}, {".webp", "image"},
                             {".gif", "image"},  {".bmp", "image"}, {".wav", "audio"},  {".mp3", "audio"},
                             {".flac", "audio"}, {".ogg", "audio"}, {".opus", "audio"}, {".m4a", "audio"},
                             {".aac", "audio"},  {".mp4", "video"}, {".mkv", "video"},  {".webm", "video"},
                             {".mov", "video"},  {".avi", "video"}, {".mpeg", "video"}, {".mpg", "video"}};
  for (const Known& each : known) {
    if (suffix == each.suffix) return DroppedFile{each.kind, path};
  }
  return std::nullopt;
}

}  // namespace carat::cli
